import { LRUCache } from 'lru-cache';
import type { TokenRevocations } from '../surreal.options.js';

/** Tokens of SurrealDB end after an hour by default; each of these is one sign-out of that hour. */
const MAX_REVOKED = 100_000;
/** How long a token that never ends is remembered. */
const FOREVER_MILLIS = 365 * 24 * 3_600_000;

/** The tokens of those who signed out, in this process. Bounded; no timers. */
export class RevokedTokens implements TokenRevocations {
  readonly #ids = new LRUCache<string, true>({ max: MAX_REVOKED });

  add(id: string, expiresAt: number): void {
    const ttl = Math.min(expiresAt - Date.now(), FOREVER_MILLIS);
    if (ttl > 0) this.#ids.set(id, true, { ttl });
  }

  has(id: string): boolean {
    return this.#ids.has(id);
  }
}
