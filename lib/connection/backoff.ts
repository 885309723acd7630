/** Delays between attempts, in milliseconds. */
export interface Backoff {
  firstMillis: number;
  maxMillis: number;
}

/**
 * The wait before attempt `attempt` (from 1): doubles up to `maxMillis`, with full jitter in its upper half, so that
 * many clients cut off at once do not come back at once.
 */
export function backoffDelay({ firstMillis, maxMillis }: Backoff, attempt: number, random = Math.random): number {
  const ceiling = Math.min(maxMillis, firstMillis * 2 ** Math.min(attempt - 1, 30));
  return ceiling / 2 + (ceiling / 2) * random();
}
