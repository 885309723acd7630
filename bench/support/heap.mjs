import { setTimeout } from 'node:timers/promises';

/** Bytes of the heap that are in use once what is garbage is gone. Needs --expose-gc. */
export async function settledHeap() {
  let bytes = Infinity;
  for (let round = 0; round < 5; round++) {
    // Finalizers and weak maps let go of some things only in the turn after.
    await setTimeout(10);
    globalThis.gc();
    bytes = Math.min(bytes, process.memoryUsage().heapUsed);
  }
  return bytes;
}
