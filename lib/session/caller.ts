import { createHash } from 'node:crypto';
import { inspect } from 'node:util';
import { TenantMismatchError, UnauthenticatedError } from '../surreal.errors.js';
import type { Tenant } from '../tenant/tenant.js';
import { readTokenClaims } from './token-claims.js';

interface Revoked {
  has(id: string): boolean;
}

/**
 * The bearer of a token that came with a request: as a principal, all sessions of which are signed in by that token. Shows
 * nothing of the token in JSON and `inspect()` (R7).
 */
export class Caller {
  readonly type = 'caller';
  /** Names the token in the pool of its tenant, and tells nothing of it. */
  readonly key: string;
  /** Names what the token says, however it is signed, among those that were signed out. */
  readonly revocationId: string;
  /** When the token ends, in milliseconds since 1970. */
  readonly expiresAt: number;
  readonly #token: string;
  readonly #revoked: Revoked;

  /** What {@link Caller.key} is of a token. */
  static keyOf(tenant: Tenant, token: string): string {
    return digest(tenant, token);
  }

  /**
   * What {@link Caller.revocationId} is of a token: of what was signed, without the signature. To one that everybody has
   * seen another that holds as well can be made (of ECDSA signatures without the key), which is not to come in after a logout.
   */
  static revocationIdOf(tenant: Tenant, token: string): string {
    return digest(tenant, token.slice(0, token.lastIndexOf('.')));
  }

  /**
   * Looks at what the token says, and asks nobody.
   * @param key what `keyOf` answers
   * @param revoked knows, by their revocation ids, the tokens whose bearers have signed out
   * @throws UnauthenticatedError when it is malformed
   * @throws TenantMismatchError when it says that it leads elsewhere
   */
  constructor(tenant: Tenant, token: string, key: string, revoked: Revoked) {
    const { namespace, database, expiresAt } = readTokenClaims(token);
    if (namespace === undefined || database === undefined) {
      throw new UnauthenticatedError('The bearer token is not one of a namespace and database.');
    }
    if (namespace !== tenant.namespace || database !== tenant.database) {
      throw new TenantMismatchError(
        `The bearer token is for another namespace or database than those of tenant "${tenant.id}". Nothing was sent.`,
      );
    }
    this.key = key;
    this.revocationId = Caller.revocationIdOf(tenant, token);
    this.expiresAt = expiresAt;
    this.#token = token;
    this.#revoked = revoked;
  }

  /** Whether its bearer has signed out: nothing runs in its name from then on. */
  get isRevoked(): boolean {
    return this.#revoked.has(this.revocationId);
  }

  get token(): string {
    return this.#token;
  }

  /** @throws UnauthenticatedError when the token has ended or its bearer has signed out */
  assertValid(): void {
    if (this.isRevoked) throw new UnauthenticatedError('The bearer of this token has signed out.');
    if (Date.now() >= this.expiresAt) throw new UnauthenticatedError('The bearer token has expired. Sign in again.');
  }

  toJSON(): string {
    return '[redacted]';
  }

  [inspect.custom](): string {
    return 'Caller [redacted]';
  }
}

function digest({ id, namespace, database }: Tenant, text: string): string {
  // With the place: a tenant that has moved must not be served from a look at where it was.
  const hash = createHash('sha256')
    .update(JSON.stringify([namespace, database]))
    .update(text);
  return `${id}\u0000${hash.digest('base64url')}`;
}
