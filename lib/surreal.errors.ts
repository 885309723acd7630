/**
 * What a caller over HTTP learns of each error: a status and a sentence that is the same for everybody. The sentence
 * is all of the text that leaves the server, so no message can carry another tenant's data or a secret (R7).
 */
const ERRORS = {
  TENANT_NOT_IDENTIFIED: { status: 400, publicMessage: 'The request does not say which tenant it is for.' },
  TENANT_INVALID: { status: 400, publicMessage: 'The tenant identifier is malformed.' },
  TENANT_NOT_FOUND: { status: 404, publicMessage: 'There is no such tenant.' },
  TENANT_SUSPENDED: { status: 403, publicMessage: 'The tenant is suspended.' },
  TENANT_MISMATCH: { status: 403, publicMessage: 'The request names more than one tenant.' },
  UNAUTHENTICATED: { status: 401, publicMessage: 'Sign in first: the credentials are missing, wrong or expired.' },
  SESSION_EXPIRED: { status: 401, publicMessage: 'The session has expired. Sign in again.' },
  TENANT_SIGNIN_FAILED: { status: 503, publicMessage: "The tenant's database cannot be reached at the moment." },
  NOT_ALLOWED: { status: 403, publicMessage: 'Not allowed.' },
  ALREADY_EXISTS: { status: 409, publicMessage: 'It exists already.' },
  INVALID_VALUE: { status: 422, publicMessage: 'A value is not valid.' },
  TRANSACTION_CONFLICT: { status: 409, publicMessage: 'Somebody else changed the same data. Try again.' },
  SESSIONS_UNSUPPORTED: { status: 500, publicMessage: 'Internal server error' },
  SESSION_CLOSED: { status: 500, publicMessage: 'Internal server error' },
  TRANSACTION_CLOSED: { status: 500, publicMessage: 'Internal server error' },
  TRANSACTION_UNSUPPORTED: { status: 500, publicMessage: 'Internal server error' },
  CONTEXT_MISSING: { status: 500, publicMessage: 'Internal server error' },
  SHUTTING_DOWN: { status: 503, publicMessage: 'Shutting down. Try again in a moment.', retryAfterSeconds: 1 },
  POOL_EXHAUSTED: { status: 503, publicMessage: 'Too busy. Try again in a moment.', retryAfterSeconds: 1 },
  CONNECTION_LOST: { status: 503, publicMessage: 'The database is away. Try again in a moment.', retryAfterSeconds: 1 },
  REQUEST_TIMEOUT: { status: 504, publicMessage: 'The database took too long to answer.' },
  INVALID_OPTIONS: { status: 500, publicMessage: 'Internal server error' },
} as const satisfies Record<string, PublicError>;

interface PublicError {
  status: number;
  publicMessage: string;
  retryAfterSeconds?: number;
}

/** The stable codes; branch on these, never on a message. */
export type SurrealErrorCode = keyof typeof ERRORS;

/** Codes of conditions that pass by themselves: the same call can succeed later. */
const RETRYABLE: ReadonlySet<SurrealErrorCode> = new Set([
  'TENANT_SIGNIN_FAILED',
  'TRANSACTION_CONFLICT',
  'SHUTTING_DOWN',
  'POOL_EXHAUSTED',
  'CONNECTION_LOST',
  'REQUEST_TIMEOUT',
]);

const BRAND = Symbol.for('nestjs-surreal.error');

/**
 * Base of every error this library throws. `instanceof` works across copies of the package (each subclass answers for
 * its `code`), so an ESM application and a CommonJS plug-in agree.
 */
export class SurrealModuleError extends Error {
  /** The code that a subclass stands for; the base stands for all. */
  static readonly code: SurrealErrorCode | undefined = undefined;

  static override [Symbol.hasInstance](value: unknown): boolean {
    if (typeof value !== 'object' || value === null || !(BRAND in value)) return false;
    return this.code === undefined || (value as { code?: unknown }).code === this.code;
  }

  readonly code: SurrealErrorCode;

  /** True when the same call may succeed later. Says nothing of whether it has had an effect: see `outcome`. */
  readonly retryable: boolean;

  /** HTTP status that {@link SurrealExceptionFilter} answers with. */
  readonly status: number;

  constructor(code: SurrealErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options?.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.retryable = RETRYABLE.has(code);
    this.status = ERRORS[code].status;
    Object.defineProperty(this, BRAND, { value: true });
    Object.defineProperty(this, 'name', { value: new.target.name, configurable: true });
  }

  /** The body for a client: nothing in it comes from the database, the tenant store or the request. */
  toPublic(): { statusCode: number; code: SurrealErrorCode; message: string } {
    return { statusCode: this.status, code: this.code, message: ERRORS[this.code].publicMessage };
  }

  /** Seconds for a `Retry-After` header, where a short wait can help. */
  get retryAfterSeconds(): number | undefined {
    return (ERRORS[this.code] as PublicError).retryAfterSeconds;
  }
}

/** An error of one code. */
interface CodedError<Code extends SurrealErrorCode> extends SurrealModuleError {
  readonly code: Code;
}

/** In so many words: of an anonymous class the compiler's declaration would not say that it is an `Error`. */
type CodedErrorClass<Code extends SurrealErrorCode> = Omit<typeof SurrealModuleError, 'code' | 'prototype'> & {
  readonly code: SurrealErrorCode;
  readonly prototype: CodedError<Code>;
  new (message: string, options?: { cause?: unknown }): CodedError<Code>;
};

/** Makes the subclass of one code. The class is named at its declaration, so stack traces read well. */
function errorOf<Code extends SurrealErrorCode>(errorCode: Code): CodedErrorClass<Code> {
  return class extends SurrealModuleError {
    static override readonly code: SurrealErrorCode = errorCode;
    declare readonly code: Code;

    constructor(message: string, options?: { cause?: unknown }) {
      super(errorCode, message, options);
    }
  };
}

/** No strategy found an identifier in the request. */
export class TenantNotIdentifiedError extends errorOf('TENANT_NOT_IDENTIFIED') {}
/** The identifier has a form that no tenant can have; nothing was looked up. */
export class TenantInvalidError extends errorOf('TENANT_INVALID') {}
/** The store knows no tenant of that identifier. */
export class TenantNotFoundError extends errorOf('TENANT_NOT_FOUND') {}
/** The store knows the tenant and says that it is suspended. */
export class TenantSuspendedError extends errorOf('TENANT_SUSPENDED') {}
/** Two strategies name different tenants, or a session would leave its tenant's namespace and database. */
export class TenantMismatchError extends errorOf('TENANT_MISMATCH') {}
/** An end user's token or password is missing, malformed, forged or wrong, or a session is not signed in. */
export class UnauthenticatedError extends errorOf('UNAUTHENTICATED') {}
/** The server says that the session's time is over. */
export class SessionExpiredError extends errorOf('SESSION_EXPIRED') {}
/** The tenant's own credentials do not open its database: the operator's matter, not the caller's. */
export class TenantSigninFailedError extends errorOf('TENANT_SIGNIN_FAILED') {}
/** The database refused: the principal's role or PERMISSIONS do not allow it. */
export class NotAllowedError extends errorOf('NOT_ALLOWED') {}
/** A record of that id, or a value of a unique index, is there already. */
export class AlreadyExistsError extends errorOf('ALREADY_EXISTS') {}
/** Another transaction changed the same records first; run the whole unit again. */
export class TransactionConflictError extends errorOf('TRANSACTION_CONFLICT') {}
/** The url or the server cannot carry sessions: they need `ws(s)://` or an embedded engine, and SurrealDB 3. */
export class SessionsUnsupportedError extends errorOf('SESSIONS_UNSUPPORTED') {}
/** A session was used after its unit of work, its `detach()`, or its tenant's eviction. */
export class SessionClosedError extends errorOf('SESSION_CLOSED') {}
/** A transaction was used after its commit or cancel. */
export class TransactionClosedError extends errorOf('TRANSACTION_CLOSED') {}
/** A record user's transaction on a server before 3.1, where it would lose `$auth`, and with it the PERMISSIONS. */
export class TransactionUnsupportedError extends errorOf('TRANSACTION_UNSUPPORTED') {}
/** A `TenantSession` was used where no unit of work is running. */
export class ContextMissingError extends errorOf('CONTEXT_MISSING') {}
/** A limit of sessions or calls is reached; nothing was sent. */
export class PoolExhaustedError extends errorOf('POOL_EXHAUSTED') {
  /** The option that names the limit, such as `sessions.max` or `calls.maxWaitingPerTenant`; or `sign-ins`, which have none. */
  readonly limit: string;

  constructor(message: string, options: { cause?: unknown; limit: string }) {
    super(message, options);
    this.limit = options.limit;
  }
}

/** The application is shutting down and takes no new units of work. */
export class ShuttingDownError extends errorOf('SHUTTING_DOWN') {}
/** No answer within the call's timeout. The call may still have an effect on the server. */
export class RequestTimeoutError extends errorOf('REQUEST_TIMEOUT') {}
/** An option of the module is missing, unknown or of the wrong form; the message names it. */
export class InvalidOptionsError extends errorOf('INVALID_OPTIONS') {}

/** A field's ASSERT or TYPE refused a value. */
export class InvalidValueError extends errorOf('INVALID_VALUE') {
  /** The field as the schema names it, where the database said so. */
  readonly field: string | undefined;

  constructor(message: string, options?: { cause?: unknown; field?: string | undefined }) {
    super(message, options);
    this.field = options?.field;
  }

  override toPublic(): ReturnType<SurrealModuleError['toPublic']> & { field?: string } {
    if (this.field === undefined) return super.toPublic();
    return { ...super.toPublic(), message: `The value of "${this.field}" is not valid.`, field: this.field };
  }
}

/** The connection to the database is gone. */
export class ConnectionLostError extends errorOf('CONNECTION_LOST') {
  /** `not-sent`: the server has not seen the call. `unknown`: it may have run; this library never sends it again (R4). */
  readonly outcome: 'not-sent' | 'unknown';

  constructor(message: string, options: { cause?: unknown; outcome: 'not-sent' | 'unknown' }) {
    super(message, options);
    this.outcome = options.outcome;
  }
}

/** Whether a call failed before it left: it may be sent again without the risk of running twice. */
export function isNotSent(error: unknown): boolean {
  return error instanceof ConnectionLostError && (error as ConnectionLostError).outcome === 'not-sent';
}
