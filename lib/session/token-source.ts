import { LRUCache } from 'lru-cache';
import { type Backoff, backoffDelay } from '../connection/backoff.js';
import type { SigninChannel } from '../connection/signin-channel.js';
import { describeCause } from '../connection/socket-transport.js';
import { SurrealModuleError, TenantSigninFailedError, UnauthenticatedError } from '../surreal.errors.js';
import { principalKey, type Tenant } from '../tenant/tenant.js';
import { obtainToken, type TokenisedCredentials } from './credentials.js';
import type { Identity } from './identity.js';
import { readTokenClaims } from './token-claims.js';

export interface SessionToken {
  readonly value: string;
  /** Milliseconds since 1970; Infinity when it never ends. */
  readonly expiresAt: number;
  /** From when on it is replaced at its next use, in milliseconds since 1970. */
  readonly renewAt: number;
  /** As whom a session that it signed in was seen on the server, once it was where, and who, it should be (R1). */
  verified: Identity | undefined;
}

interface Entry {
  token?: SessionToken;
  pending?: Promise<SessionToken>;
  /** The last sign-in was refused; until then nobody tries again (R6: argon2 is everybody's time). */
  refused?: { error: TenantSigninFailedError; until: number; attempts: number };
}

/** How many principals' tokens are kept; the least recently used goes first and costs a sign-in when it comes back. */
const MAX_TOKENS = 10_000;
const REFUSED_BACKOFF: Backoff = { firstMillis: 500, maxMillis: 30_000 };
/** A token is replaced this long before it ends, or at nine tenths of its life, whichever is later. */
const RENEW_MARGIN_MILLIS = 60_000;

/** The tokens of tenants: one sign-in per principal and token life, however many ask at once. No timers. */
export class TokenSource {
  readonly #signins: SigninChannel;
  readonly #limitMillis: number;
  #refusals = 0;
  readonly #entries = new LRUCache<string, Entry>({ max: MAX_TOKENS });

  /** @param limitMillis how long a function in a tenant's credentials may take for its token */
  constructor(signins: SigninChannel, limitMillis: number) {
    this.#signins = signins;
    this.#limitMillis = limitMillis;
  }

  /** How often credentials did not work, since the start. */
  get refusals(): number {
    return this.#refusals;
  }

  /**
   * @throws TenantSigninFailedError when the credentials do not work, without asking the server again for a while
   * @throws ConnectionLostError, RequestTimeoutError, PoolExhaustedError when the server could not be asked
   */
  async get(tenant: Tenant): Promise<SessionToken> {
    const key = principalKey(tenant);
    let entry = this.#entries.get(key);
    if (entry === undefined) this.#entries.set(key, (entry = {}));
    if (entry.token !== undefined && Date.now() < entry.token.renewAt) return entry.token;
    assertNoPause(entry);
    return await (entry.pending ??= this.#obtain(tenant, entry));
  }

  /** @throws TenantSigninFailedError while nobody tries again after a refusal */
  assertNotRefused(tenant: Tenant): void {
    assertNoPause(this.#entries.get(principalKey(tenant)));
  }

  /** Forgets a token that the server refused; one that has been replaced meanwhile stays. */
  discard(tenant: Tenant, token: SessionToken): void {
    const entry = this.#entries.get(principalKey(tenant));
    if (entry?.token === token) delete entry.token;
  }

  /** Forgets a principal's token, unless its sign-in is under way or was refused. */
  forget(tenant: Tenant): void {
    const entry = this.#entries.get(principalKey(tenant));
    if (entry?.pending === undefined && entry?.refused === undefined) this.#entries.delete(principalKey(tenant));
  }

  /**
   * Takes note that the server refused a token fresh from a sign-in (or from the key): as with a refused sign-in, nobody
   * tries again for a while.
   * @returns the error to throw
   */
  refuse(tenant: Tenant, token: SessionToken | undefined, cause: Error): TenantSigninFailedError {
    if (token !== undefined) this.discard(tenant, token);
    const key = principalKey(tenant);
    let entry = this.#entries.get(key);
    if (entry === undefined) this.#entries.set(key, (entry = {}));
    return this.#refused(tenant, entry, cause);
  }

  /** Takes note that the server let the token (or the grant's key) in, where and as whom it should. */
  accept(tenant: Tenant, token?: SessionToken, identity?: Identity): void {
    if (token !== undefined) token.verified = identity;
    delete this.#entries.get(principalKey(tenant))?.refused;
  }

  /** Forgets all tokens of a tenant, and whoever waits for one gets it but leaves no trace. */
  evict(tenantId: string): void {
    for (const key of [...this.#entries.keys()]) if (key.startsWith(`${tenantId}\u0000`)) this.#entries.delete(key);
  }

  async #obtain(tenant: Tenant, entry: Entry): Promise<SessionToken> {
    try {
      // The other kinds never get here: they have no token.
      const credentials = tenant.credentials as TokenisedCredentials;
      const value = await obtainToken(tenant, credentials, this.#signins, this.#limitMillis);
      const { expiresAt } = readTokenClaims(value);
      const life = expiresAt - Date.now();
      const renewAt = expiresAt === Infinity ? Infinity : expiresAt - Math.min(RENEW_MARGIN_MILLIS, life / 10);
      return (entry.token = { value, expiresAt, renewAt, verified: undefined });
    } catch (cause) {
      // The server was not asked, or has not said: that tells nothing of the credentials.
      if (cause instanceof SurrealModuleError && !(cause instanceof UnauthenticatedError)) throw cause;
      throw this.#refused(tenant, entry, cause);
    } finally {
      delete entry.pending;
    }
  }

  #refused(tenant: Tenant, entry: Entry, cause: unknown): TenantSigninFailedError {
    this.#refusals++;
    const attempts = (entry.refused?.attempts ?? 0) + 1;
    const error = new TenantSigninFailedError(refusalOf(tenant, cause), { cause });
    entry.refused = { error, attempts, until: Date.now() + backoffDelay(REFUSED_BACKOFF, attempts) };
    return error;
  }
}

function assertNoPause(entry: Entry | undefined): void {
  if (entry?.refused !== undefined && Date.now() < entry.refused.until) throw entry.refused.error;
}

const REMEDIES: Record<Tenant['credentials']['type'], string> = {
  user: 'the user is defined there, with this password',
  jwt: 'the access method is defined there, with this key and algorithm',
  token: 'the token is one of the tenant and has not ended; a function in credentials.token is asked for the next one',
  bearer: 'the access method is defined there, and the grant is neither revoked nor expired',
  none: 'the tenant has credentials',
};

function refusalOf({ id, namespace, database, credentials: { type } }: Tenant, cause: unknown): string {
  return (
    `The credentials of tenant "${id}" do not open namespace "${namespace}", database "${database}" ` +
    `(${describeCause(cause)}). Check that ${REMEDIES[type]}.`
  );
}
