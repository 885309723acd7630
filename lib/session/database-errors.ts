import { ConnectionUnavailableError, LiveSubscriptionError, ServerError } from 'surrealdb';
import {
  AlreadyExistsError,
  ConnectionLostError,
  InvalidValueError,
  NotAllowedError,
  RequestTimeoutError,
  SessionClosedError,
  SessionExpiredError,
  type SurrealModuleError,
  TransactionConflictError,
  UnauthenticatedError,
} from '../surreal.errors.js';

/**
 * Messages of errors that SurrealDB 3.0 sends without a structured kind (`Internal`). The texts were read off the engine;
 * `test/integration/database-errors.spec.ts` fails when one changes.
 */
const UNIQUE_INDEX = /Database index `(.+?)` already contains/;
const FIELD_VALUE =
  /^(?:Found .* for field `(.+?)`, with record|Couldn't coerce value for field `(.+?)` of|Found field '(.+?)', but no such field)/s;
const CONFLICT = /This transaction can be retried|Transaction conflict/;

/**
 * Gives a database error the code of this library, with the original as `cause`. Errors of the application's own making
 * (a parse error, THROW, a missing table) and anything that is no database error come back as they are.
 */
export function translateDatabaseError(error: unknown): unknown {
  if (error instanceof ConnectionUnavailableError) {
    return new ConnectionLostError('The central connection to SurrealDB is down. The call was not sent.', {
      outcome: 'not-sent',
      cause: error,
    });
  }
  // What kept a live query from starting is what it has to say.
  if (error instanceof LiveSubscriptionError && error.cause !== undefined) return translateDatabaseError(error.cause);
  if (!(error instanceof ServerError)) return error;
  return structured(error) ?? byMessage(error) ?? error;
}

/** Whether the server refused a call because it does not know the session (any more): it was not run. */
export function isUnknownSession(error: unknown): boolean {
  return error instanceof ServerError && error.kind === 'NotFound' && error.details?.kind === 'Session';
}

/** Whether the server refused a whole call, before running any of it, because the session's time is over. */
export function isExpiredSession(error: unknown): boolean {
  return error instanceof ServerError && authDetail(error) === 'SessionExpired';
}

function structured(error: ServerError): SurrealModuleError | undefined {
  if (isUnknownSession(error)) {
    return new SessionClosedError('The server does not know this session any more: it was closed meanwhile.', {
      cause: error,
    });
  }
  switch (error.kind) {
    case 'AlreadyExists':
      return new AlreadyExistsError('The database has such a record already.', { cause: error });
    case 'NotAllowed':
      return notAllowed(error);
    case 'Query':
      if (error.details?.kind === 'TransactionConflict') return conflict(error);
      if (error.details?.kind === 'TimedOut') {
        return new RequestTimeoutError('The query ran into its TIMEOUT on the server.', { cause: error });
      }
      return undefined;
    default:
      return undefined;
  }
}

function notAllowed(error: ServerError): SurrealModuleError {
  switch (authDetail(error)) {
    case 'SessionExpired':
      return new SessionExpiredError('The session has expired on the server. Sign in again.', { cause: error });
    case 'TokenExpired':
    case 'InvalidAuth':
      return new UnauthenticatedError('The database did not accept the token or password.', { cause: error });
    default:
      return new NotAllowedError("The database refused: the session's role or PERMISSIONS do not allow it.", {
        cause: error,
      });
  }
}

function byMessage(error: ServerError): SurrealModuleError | undefined {
  if (error.kind !== 'Internal') return undefined;
  const index = UNIQUE_INDEX.exec(error.message);
  if (index) return new AlreadyExistsError(`The unique index "${index[1]}" has this value already.`, { cause: error });
  const field = FIELD_VALUE.exec(error.message);
  if (field) {
    const name = field[1] ?? field[2] ?? field[3];
    return new InvalidValueError(`The schema does not accept the value of field "${name}".`, {
      cause: error,
      field: name,
    });
  }
  return CONFLICT.test(error.message) ? conflict(error) : undefined;
}

function conflict(error: ServerError): SurrealModuleError {
  return new TransactionConflictError(
    'Another transaction changed the same records first. Run the unit of work again.',
    {
      cause: error,
    },
  );
}

/** The reason inside `NotAllowed → Auth → { kind }`. */
function authDetail(error: ServerError): string | undefined {
  if (error.kind !== 'NotAllowed' || error.details?.kind !== 'Auth') return undefined;
  return (error.details.details as { kind?: string } | undefined)?.kind;
}
