import { createParamDecorator, type ExecutionContext } from '@nestjs/common';
import type { AccessRecordAuth, SurrealQueryable, Tokens, Uuid } from 'surrealdb';
import { ContextMissingError } from '../surreal.errors.js';
import type { CallOptions } from '../session/call.js';
import type { SigninAuth } from '../session/rpc-auth.js';
import type { TenantTransaction } from '../session/tenant-transaction.js';
import { httpRequestOf } from '../tenant/tenant-strategy.js';
import type { Tenant } from '../tenant/tenant.js';
import { unitOfRequest } from './unit-context.js';
import type { UnitOfWork } from './unit-of-work.js';

/**
 * The session of this unit of work: signed in as its tenant, and able to reach nothing else. All of the SDK's queries
 * (`select`, `create`, `query`, …) are here; nothing is sent before the first of them. Units of work of one tenant share
 * a session on the server until one of them changes it: that one gets a session of its own, so no other sees the change.
 *
 * It is given back by itself when the unit of work ends, and throws SESSION_CLOSED from then on.
 */
export interface TenantSession extends SurrealQueryable {
  /** The session's id on the server, once there is one. It changes when the session moves to one of its own. */
  readonly id: Uuid | undefined;
  /** @throws ContextMissingError for a session from `attach()` without a tenant, or before the tenant is known */
  readonly tenant: Tenant;
  /** Undefined only for a session from `attach()` without a tenant, before `use()` or a sign-in. */
  readonly namespace: string | undefined;
  readonly database: string | undefined;
  readonly isClosed: boolean;
  /** Sets `$name` for the queries of this handle. A query's own variables go before it. */
  set(name: string, value: unknown): Promise<void>;
  unset(name: string): Promise<void>;
  /**
   * Signs this handle in as somebody else of the same tenant: a user of its database, a record user, or the holder of a grant's
   * key. Transactions that
   * are open go on as who began them; live queries end.
   * @throws UnauthenticatedError when the database refuses; the handle stays signed in as before
   * @throws TenantMismatchError when it would end outside the tenant's namespace and database; the handle is closed
   */
  signin(auth: SigninAuth): Promise<Tokens>;
  /** Signs a record user up, and this handle in as that user. Throws as `signin` does. */
  signup(auth: AccessRecordAuth): Promise<Tokens>;
  /** Signs this handle in as the bearer of a token. Throws as `signin` does. */
  authenticate(token: string | Tokens): Promise<void>;
  /** Signs this handle out; its queries are refused with UNAUTHENTICATED until it is signed in again. */
  invalidate(): Promise<void>;
  /**
   * Selects a namespace and database; a tenant's session may select its own only. They must exist: none is created.
   * @throws TenantMismatchError outside the tenant's own; nothing is sent
   */
  use(target: { namespace: string; database: string }): Promise<void>;
  /**
   * The queries of this session with bounds of their own, such as `db.withOptions({ signal }).select(…)`, or held to
   * `strictWrites`. What is not given stays as it is for the unit of work.
   * @throws InvalidOptionsError
   */
  withOptions(options: CallOptions): SurrealQueryable;
  /** Begins a transaction; it is cancelled with the unit of work unless it was committed. */
  begin(): Promise<TenantTransaction>;
  /**
   * Removes the session from the server and closes the handle: for sessions from `Tenancy.attach()`.
   * @throws SessionClosedError the second time
   */
  detach(): Promise<void>;
  /** `await using db = await tenancy.attach(…)`: detaches it unless that was done. */
  [Symbol.asyncDispose](): Promise<void>;
}

const paramDecorator = createParamDecorator((_data: unknown, context: ExecutionContext) => unitOf(context).session);

/**
 * One name for three things: the parameter decorator (`@TenantSession() db`), the injection token
 * (`constructor(private readonly db: TenantSession)`, singletons stay singletons), and the type.
 */
// The construct signature makes tsc emit the name itself, not `Object`, as the type of a constructor parameter.
export const TenantSession = paramDecorator as unknown as (() => ParameterDecorator) &
  (abstract new (...args: never[]) => TenantSession);

/** Parameter decorator: the tenant of this request. Its credentials do not show in JSON or logs. */
export const CurrentTenant: () => ParameterDecorator = createParamDecorator(
  (_data: unknown, context: ExecutionContext) => unitOf(context).session.tenant,
);

function unitOf(context: ExecutionContext): UnitOfWork {
  const unit = unitOfRequest(httpRequestOf(context));
  if (unit?.tenant !== undefined) return unit;
  throw new ContextMissingError(
    'This handler asks for its tenant, but no TenantGuard has run for it. Add @UseGuards(TenantGuard), or register it as ' +
      'APP_GUARD; a handler with @SkipTenant() has no tenant.',
  );
}
