import { Inject, Injectable } from '@nestjs/common';
import type { RecordId, Tokens } from 'surrealdb';
import type { UnitOfWork } from '../context/unit-of-work.js';
import type { SessionHandle } from '../session/session-handle.js';
import { assertPresentForm } from '../session/rpc-auth.js';
import { refusedSignin } from '../session/signin-errors.js';
import { readTokenClaims } from '../session/token-claims.js';
import {
  ContextMissingError,
  InvalidOptionsError,
  TenantMismatchError,
  UnauthenticatedError,
} from '../surreal.errors.js';
import type { Tenant } from '../tenant/tenant.js';
import { AUTH_RESOURCES, type AuthResources } from './auth-resources.js';

/** By which access method users sign up and in. */
export interface AccessOptions {
  /** The name in `DEFINE ACCESS name ON DATABASE TYPE RECORD`. */
  access: string;
}

/**
 * Sign-up, sign-in and sign-out of end users (SurrealDB record access) at the tenant of the running unit of work. It gives
 * tokens and changes nobody's session: the client sends the token with its next requests, where `RecordUserGuard` takes it.
 */
@Injectable()
export class TenantAuth {
  readonly #resources: AuthResources;

  constructor(@Inject(AUTH_RESOURCES) resources: AuthResources) {
    this.#resources = resources;
  }

  /**
   * Runs the access method's SIGNUP clause.
   * @param variables what the clause knows as `$email`, `$password`, …
   * @returns the new user's tokens; `refresh` where the access method is defined `WITH REFRESH`
   * @throws AlreadyExistsError, InvalidValueError when the clause says so: `THROW 'ALREADY_EXISTS'`, `THROW 'INVALID_VALUE email'`
   * @throws NotAllowedError whatever else it was that failed: the database does not tell
   * @throws InvalidValueError for a variable whose name is the protocol's own (`NS`, `DB`, …)
   */
  async signup(variables: Record<string, unknown>, options: AccessOptions): Promise<Tokens> {
    return await this.#enter('signup', variables, options);
  }

  /**
   * Runs the access method's SIGNIN clause.
   * @throws UnauthenticatedError for a wrong password, a user or access method that does not exist, and all else that the
   * database refuses, in the same words
   */
  async signin(variables: Record<string, unknown>, options: AccessOptions): Promise<Tokens> {
    return await this.#enter('signin', variables, options);
  }

  /**
   * New tokens for a refresh token, which works once. The access token that came with it may have ended.
   * @throws UnauthenticatedError when it was used already, was revoked, has ended or is none
   * @throws TenantMismatchError when the tokens are of another tenant; nothing is sent
   */
  async refresh(tokens: { access: string; refresh: string }): Promise<Tokens> {
    const { access, refresh } = tokens;
    if (typeof access !== 'string' || typeof refresh !== 'string') {
      throw new UnauthenticatedError('refresh() takes { access, refresh }, both as strings.');
    }
    const unit = this.#unit();
    const tenant = unit.requireTenant();
    assertOfTenant(tenant, access);
    const renewed = await unit.session.ask('refresh', { access, refresh }, refusedSignin);
    assertOfTenant(tenant, renewed.access);
    return renewed;
  }

  /**
   * Signs the caller of the running unit of work out, at once: the access token is refused from now on, and the sessions of
   * it are closed; the unit's own queries fail with UNAUTHENTICATED.
   * @param tokens the refresh token, which would otherwise give new access tokens until it ends
   * @throws ContextMissingError where no `RecordUserGuard` has run
   * @throws ConnectionLostError, RequestTimeoutError when the refresh token could not be revoked; the access token is
   * @throws what `recordUsers.revocations` throws when it could not keep the sign-out: it holds in this process alone
   */
  async invalidate({ refresh }: { refresh?: string | undefined } = {}): Promise<void> {
    const { caller, session } = this.#unit();
    if (caller === undefined) {
      throw new ContextMissingError(
        'Nobody is signed in here that could be signed out: put RecordUserGuard on the handler.',
      );
    }
    const revoked = this.#resources.callers.revoke(caller);
    // Each whatever becomes of the other: one that fails must not keep the other token alive.
    const [kept, refused] = await Promise.allSettled([revoked, this.#revokeRefresh(session, caller.token, refresh)]);
    for (const outcome of [kept, refused]) if (outcome.status === 'rejected') throw outcome.reason;
  }

  /**
   * Closes a user's sessions in this process, so that the next request of each signs in again: after the user was deleted or
   * locked out, which is noticed without this within `recordUsers.recheckMillis`.
   */
  async evict(user: RecordId): Promise<void> {
    const { id } = this.#unit().requireTenant();
    await this.#resources.callers.closeUser(id, user);
  }

  async #revokeRefresh(session: SessionHandle, access: string, refresh: string | undefined): Promise<void> {
    if (refresh === undefined) return;
    // One that does not hold (any more) needs no revoking.
    await session.ask('revoke', { access, refresh }, refusedSignin).catch((error: unknown) => {
      if (!(error instanceof UnauthenticatedError)) throw error;
    });
  }

  async #enter(
    method: 'signin' | 'signup',
    variables: Record<string, unknown>,
    options: AccessOptions,
  ): Promise<Tokens> {
    const { access } = this.#checked(options);
    const unit = this.#unit();
    const tokens = await unit.session.askForTokens(method, { access, variables });
    // Wherever the variables came from: what leaves here opens this tenant's database and no other.
    assertOfTenant(unit.requireTenant(), tokens.access);
    return tokens;
  }

  #checked(options: AccessOptions): AccessOptions {
    assertPresentForm(options);
    const { access } = options;
    if (typeof access !== 'string' || access === '') {
      throw new InvalidOptionsError("Say by which access method: signin(variables, { access: 'account' }).");
    }
    const { access: allowed } = this.#resources.options;
    if (allowed === undefined || allowed.includes(access)) return options;
    throw new InvalidOptionsError(`Access method "${access}" is not among the option recordUsers.access, so its tokens would be refused.`); // prettier-ignore
  }

  #unit(): UnitOfWork {
    return this.#resources.context.require();
  }
}

function assertOfTenant(tenant: Tenant, token: string): void {
  const { namespace, database } = readTokenClaims(token);
  if (namespace === tenant.namespace && database === tenant.database) return;
  throw new TenantMismatchError(`The tokens are not of tenant "${tenant.id}".`);
}
