import { ServerError } from 'surrealdb';
import {
  AlreadyExistsError,
  InvalidValueError,
  NotAllowedError,
  SessionExpiredError,
  UnauthenticatedError,
} from '../surreal.errors.js';

/** What a THROW in a SIGNUP clause can say that the caller may know: a code, and for a value the field. */
const THROWN = /^An error occurred: (ALREADY_EXISTS|INVALID_VALUE)(?: (\w{1,64}))?$/;

/** One sentence for whatever was wrong, so that nobody learns which users, accesses or namespaces there are. */
export function refusedSignin(error: unknown): unknown {
  if (!isRefusal(error)) return error;
  return new UnauthenticatedError('The database did not accept the credentials or token.', { cause: error });
}

/**
 * SurrealDB says of a sign-up no more than that it failed, unless its clause has thrown: `THROW 'ALREADY_EXISTS'` and
 * `THROW 'INVALID_VALUE email'` become the errors of these codes, anything else NOT_ALLOWED.
 */
export function refusedSignup(error: unknown): unknown {
  if (!isRefusal(error)) return error;
  const [, code, field] = (error instanceof ServerError ? THROWN.exec(error.message) : undefined) ?? [];
  if (code === 'ALREADY_EXISTS') return new AlreadyExistsError('There is such a user already.', { cause: error });
  if (code === 'INVALID_VALUE') {
    const what = field === undefined ? 'A value' : `The value of "${field}"`;
    return new InvalidValueError(`${what} is not valid, says the SIGNUP clause.`, { cause: error, field });
  }
  return new NotAllowedError(
    'The database did not accept the sign-up. It does not say why, unless its SIGNUP clause throws: ' +
      "THROW 'ALREADY_EXISTS', THROW 'INVALID_VALUE email'.",
    { cause: error },
  );
}

function isRefusal(error: unknown): error is Error {
  return error instanceof ServerError || error instanceof NotAllowedError || error instanceof SessionExpiredError;
}
