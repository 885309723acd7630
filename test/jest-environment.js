import { TestEnvironment } from 'jest-environment-node';

// Jest gives each test file a realm with typed arrays of its own. Bytes that come from outside (sockets, the native
// engine) are of the outer realm, and the CBOR codec tells bytes by `instanceof`: share one set of classes.
const SHARED = [
  'BigInt64Array', 'BigUint64Array', 'DataView', 'Float32Array', 'Float64Array', 'Int8Array', 'Int16Array', 'Int32Array',
  'SharedArrayBuffer', 'Uint16Array', 'Uint32Array', 'Uint8ClampedArray',
]; // prettier-ignore

export default class SharedBytesEnvironment extends TestEnvironment {
  async setup() {
    await super.setup();
    for (const name of SHARED) this.global[name] = globalThis[name];
  }
}
