export {
  SurrealModule,
  InjectSurreal,
  InjectRequestSession,
  SURREAL,
  type SurrealOptionsFactory,
} from './surreal.module.js';
export type {
  SurrealModuleOptions,
  TenantsOptions,
  SessionsOptions,
  RecordUsersOptions,
  TokenRevocations,
  CallsOptions,
  TelemetryOptions,
} from './surreal.options.js';
export {
  AlreadyExistsError,
  ConnectionLostError,
  ContextMissingError,
  InvalidOptionsError,
  InvalidValueError,
  NotAllowedError,
  PoolExhaustedError,
  RequestTimeoutError,
  SessionClosedError,
  SessionExpiredError,
  SessionsUnsupportedError,
  ShuttingDownError,
  SurrealModuleError,
  type SurrealErrorCode,
  TenantInvalidError,
  TenantMismatchError,
  TenantNotFoundError,
  TenantNotIdentifiedError,
  TenantSigninFailedError,
  TenantSuspendedError,
  TransactionClosedError,
  TransactionConflictError,
  TransactionUnsupportedError,
  UnauthenticatedError,
} from './surreal.errors.js';

export type { Tenant } from './tenant/tenant.js';
export type {
  BearerCredentials,
  JwtAlgorithm,
  JwtCredentials,
  JwtKey,
  NoCredentials,
  SystemRole,
  TenantCredentials,
  TokenCredentials,
  UserCredentials,
} from './tenant/tenant-credentials.js';
export {
  fromHeader,
  fromSubdomain,
  fromHost,
  fromPath,
  fromQuery,
  fromUser,
  fromTenantId,
  type TenantStrategy,
  type TenantStrategyFunction,
  type TenantStrategyInput,
} from './tenant/tenant-strategy.js';
export { fromToken, type TokenStrategyOptions } from './tenant/token-strategy.js';
export { TenantStore, InMemoryTenantStore } from './tenant/tenant-store.js';
export type { TenantCacheOptions } from './tenant/cached-tenant-store.js';

export { TenantSession, CurrentTenant } from './context/tenant-session.js';
export { isLiveGap, type LiveGap } from './session/live-subscriptions.js';
export type { SigninAuth } from './session/rpc-auth.js';
export type { TenantTransaction } from './session/tenant-transaction.js';
export { TenantGuard, SkipTenant, CallTimeout } from './context/tenant.guard.js';
export { RecordUserGuard, SkipRecordUser, SystemRoles } from './auth/record-user.guard.js';
export { RecordUser } from './auth/record-user.js';
export { TenantAuth, type AccessOptions } from './auth/tenant-auth.js';
export { Tenancy } from './context/tenancy.js';
export type { CallOptions } from './session/call.js';
export type { CallStats, SessionStats, SigninStats, SocketStats, TenancyStats, TenantStats } from './context/stats.js';
export { SurrealExceptionFilter } from './context/surreal-exception.filter.js';

// What applications need of the SDK, of the copy that this library uses (the SDK ships an ESM and a CommonJS one).
export { BoundQuery, DateTime, Decimal, Duration, RecordId, RecordIdRange, ServerError, StringRecordId, surql, Surreal, Table, Uuid } from 'surrealdb'; // prettier-ignore
export type { AccessRecordAuth, Tokens } from 'surrealdb';
