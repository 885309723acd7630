import { type CanActivate, type ExecutionContext, Inject, Injectable, SetMetadata } from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import { unitOfRequest } from '../context/unit-context.js';
import type { UnitOfWork } from '../context/unit-of-work.js';
import type { Caller } from '../session/caller.js';
import { ContextMissingError, InvalidOptionsError } from '../surreal.errors.js';
import { isPromiseLike } from '../tenant/tenant-resolver.js';
import { httpRequestOf } from '../tenant/tenant-strategy.js';
import type { SystemRole } from '../tenant/tenant-credentials.js';
import { AUTH_RESOURCES, type AuthResources } from './auth-resources.js';
import { bearerTokenOf } from './bearer-token.js';
import { missingToken } from './callers.js';
import { assertRecordUser, assertSystemRole } from './requirements.js';

const SKIP_RECORD_USER = 'nestjs-surreal:skip-record-user';
const SYSTEM_ROLES = 'nestjs-surreal:system-roles';

/**
 * Opts a handler, or all handlers of a controller, out of `RecordUserGuard`: they are for everybody, and their session is the
 * tenant's own, which PERMISSIONS do not bind.
 */
export const SkipRecordUser = (): MethodDecorator & ClassDecorator => SetMetadata(SKIP_RECORD_USER, true);

/**
 * Gives a handler, or all handlers of a controller, to system users of the tenant's database who have one of the roles,
 * instead of record users: an administration. Their token is one of `signin({ username, password })`, or of an access method
 * `TYPE JWT`. PERMISSIONS do not bind them; their role does.
 */
export const SystemRoles = (...roles: [SystemRole, ...SystemRole[]]): MethodDecorator & ClassDecorator =>
  SetMetadata(SYSTEM_ROLES, roles);

/**
 * Makes the bearer of a request's token its principal, so that PERMISSIONS with `$auth` hold for all that the request does.
 * Use it after `TenantGuard`: `@UseGuards(TenantGuard, RecordUserGuard)`, or as a second `APP_GUARD`. Requests with the same
 * token share a session, so that only the first of them costs more than its queries.
 */
@Injectable()
export class RecordUserGuard implements CanActivate {
  readonly #resources: AuthResources;
  readonly #reflector = new Reflector();

  constructor(@Inject(AUTH_RESOURCES) resources: AuthResources) {
    this.#resources = resources;
  }

  /**
   * @throws UnauthenticatedError no token, or one that does not hold: malformed, forged, expired, of a user who is gone or
   * has signed out, or of an access method that is not among `recordUsers.access`
   * @throws TenantMismatchError the token of another tenant
   * @throws NotAllowedError a token without the role of `@SystemRoles()`
   * @throws InvalidOptionsError for a handler that is for everybody and for some at once
   * @throws ContextMissingError before `TenantGuard`, and for transports without a unit of work
   */
  canActivate(context: ExecutionContext): Promise<boolean> | boolean {
    const admitted = this.#admittedBy(context);
    if (admitted === 'everybody') return true;
    const unit = unitOfRequest(httpRequestOf(context));
    if (unit?.tenant === undefined) throw noTenant(context);
    const { callers, options } = this.#resources;
    const token = bearerTokenOf(context, options.cookie);
    if (token === undefined) throw missingToken();
    // No promise where none is needed: every request of a user passes here.
    const caller = callers.find(unit.tenant, token);
    return isPromiseLike(caller)
      ? caller.then((found) => this.#enter(unit, found, admitted))
      : this.#enter(unit, caller, admitted);
  }

  /** Whom the decorators let in; undefined for record users. What is on the handler goes before what is on its controller. */
  #admittedBy(context: ExecutionContext): SystemRole[] | 'everybody' | undefined {
    for (const target of [context.getHandler(), context.getClass()]) {
      const isSkipped = this.#reflector.get<boolean | undefined>(SKIP_RECORD_USER, target) === true;
      const roles = this.#reflector.get<SystemRole[] | undefined>(SYSTEM_ROLES, target);
      if (isSkipped && roles !== undefined) throw contradiction(target.name);
      if (isSkipped) return 'everybody';
      if (roles !== undefined) return roles;
    }
    return undefined;
  }

  #enter(unit: UnitOfWork, caller: Caller, roles: SystemRole[] | undefined): Promise<boolean> | boolean {
    const entering = unit.becomeCaller(caller);
    return entering === undefined ? this.#admit(unit, roles) : entering.then(() => this.#admit(unit, roles));
  }

  #admit({ session }: UnitOfWork, roles: SystemRole[] | undefined): Promise<boolean> | boolean {
    if (roles !== undefined) return assertSystemRole(session, roles).then(() => true);
    assertRecordUser(session.identity, this.#resources.options.access);
    return true;
  }
}

function contradiction(name: string): InvalidOptionsError {
  return new InvalidOptionsError(
    `${name} has both @SkipRecordUser(), for everybody, and @SystemRoles(), for those who have a role. Remove one of them.`,
  );
}

function noTenant(context: ExecutionContext): ContextMissingError {
  return new ContextMissingError(
    `RecordUserGuard does not know which tenant this "${context.getType()}" request is for. Put it after TenantGuard: ` +
      '@UseGuards(TenantGuard, RecordUserGuard). A handler with @SkipTenant() needs @SkipRecordUser() too.',
  );
}
