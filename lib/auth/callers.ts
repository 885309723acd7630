import type { RecordId } from 'surrealdb';
import { Caller } from '../session/caller.js';
import type { ServerSession } from '../session/server-session.js';
import type { SessionPool } from '../session/session-pool.js';
import { UnauthenticatedError } from '../surreal.errors.js';
import type { RecordUsersOptions, TokenRevocations } from '../surreal.options.js';
import { isPromiseLike } from '../tenant/tenant-resolver.js';
import type { Tenant } from '../tenant/tenant.js';
import { RevokedTokens } from './revoked-tokens.js';

/** The callers of all tenants: whose token is whose, and who has signed out. */
export class Callers {
  readonly #pool: SessionPool<ServerSession>;
  /** Those who signed out here, whatever the shared ones say or how long they take to say it. */
  readonly #revoked = new RevokedTokens();
  readonly #shared: TokenRevocations | undefined;

  constructor(pool: SessionPool<ServerSession>, { revocations }: Pick<RecordUsersOptions, 'revocations'>) {
    this.#pool = pool;
    this.#shared = revocations;
  }

  /**
   * The caller behind a token; the database is not asked.
   * @throws UnauthenticatedError when it is malformed, has ended, or its bearer has signed out
   * @throws TenantMismatchError when it says that it leads elsewhere
   */
  find(tenant: Tenant, token: string): Caller | Promise<Caller> {
    const key = Caller.keyOf(tenant, token);
    // The session that others with the same token have knows what the token says.
    const known = this.#pool.peek(key)?.state.principal;
    const caller = known?.type === 'caller' ? known : new Caller(tenant, token, key, this.#revoked);
    caller.assertValid();
    const isRevoked = this.#shared?.has(caller.revocationId) ?? false;
    if (isPromiseLike(isRevoked)) return isRevoked.then((revoked) => this.#admit(caller, revoked));
    return this.#admit(caller, isRevoked);
  }

  /**
   * Nothing runs in its name from now on, and its token is refused, in all processes that share the revocations. Its
   * sessions here are closed.
   */
  async revoke(caller: Caller): Promise<void> {
    const { revocationId, expiresAt } = caller;
    this.#revoked.add(revocationId, expiresAt);
    await Promise.all([this.#shared?.add(revocationId, expiresAt), this.#close(caller)]);
  }

  /** Closes the sessions of a user, whatever tokens they were signed in with; those that are being signed in look again. */
  async closeUser(tenantId: string, user: RecordId): Promise<void> {
    for (const session of this.#pool.sessions) {
      // Who it is going to be is not known yet. Given up in the middle, it signs in anew, and looks.
      if (session.tenant?.id === tenantId && session.identity === undefined) void session.rebuild(session.id);
    }
    const isOf = ({ tenant, identity }: ServerSession) =>
      tenant?.id === tenantId && identity?.record !== undefined && String(identity.record) === String(user);
    await this.#pool.closeWhere(isOf, 'The sessions of this user were closed.');
  }

  /** Also what a handle has signed in by itself with the same token. */
  async #close({ revocationId }: Caller): Promise<void> {
    const idOf = ({ tenant, state: { principal } }: ServerSession) => {
      if (principal.type === 'caller') return principal.revocationId;
      return principal.type === 'bearer' && tenant !== undefined
        ? Caller.revocationIdOf(tenant, principal.token)
        : undefined;
    };
    await this.#pool.closeWhere((session) => idOf(session) === revocationId, 'The user has signed out.');
  }

  #admit(caller: Caller, isRevoked: boolean): Caller {
    // Signed out by another process.
    if (isRevoked && !caller.isRevoked) {
      this.#revoked.add(caller.revocationId, caller.expiresAt);
      void this.#close(caller);
    }
    caller.assertValid();
    return caller;
  }
}

/** What a request without a token is told. */
export function missingToken(): UnauthenticatedError {
  return new UnauthenticatedError(
    'The request has no bearer token. Send Authorization: Bearer …, or mark the handler with @SkipRecordUser() when it is for ' +
      'everybody.',
  );
}
