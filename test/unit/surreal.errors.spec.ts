import { describe, expect, it } from '@jest/globals';
import * as library from 'nestjs-surreal';
import {
  ConnectionLostError,
  InvalidValueError,
  PoolExhaustedError,
  SurrealModuleError,
  TenantNotFoundError,
} from 'nestjs-surreal';

describe('errors', () => {
  it('have the code and status of the table', () => {
    const table = Object.values(library)
      .filter((one): one is typeof TenantNotFoundError => typeof one === 'function' && one.prototype instanceof Error)
      .filter((one) => one.prototype instanceof SurrealModuleError || 'code' in one)
      .filter((one) => (one as unknown) !== SurrealModuleError && one.code !== undefined)
      .map((ErrorClass) => new ErrorClass('what happened', { outcome: 'unknown' } as never))
      .map(({ code, status, name }) => `${code} ${status} ${name}`);
    expect(table.sort()).toEqual([
      'ALREADY_EXISTS 409 AlreadyExistsError',
      'CONNECTION_LOST 503 ConnectionLostError',
      'CONTEXT_MISSING 500 ContextMissingError',
      'INVALID_OPTIONS 500 InvalidOptionsError',
      'INVALID_VALUE 422 InvalidValueError',
      'NOT_ALLOWED 403 NotAllowedError',
      'POOL_EXHAUSTED 503 PoolExhaustedError',
      'REQUEST_TIMEOUT 504 RequestTimeoutError',
      'SESSIONS_UNSUPPORTED 500 SessionsUnsupportedError',
      'SESSION_CLOSED 500 SessionClosedError',
      'SESSION_EXPIRED 401 SessionExpiredError',
      'SHUTTING_DOWN 503 ShuttingDownError',
      'TENANT_INVALID 400 TenantInvalidError',
      'TENANT_MISMATCH 403 TenantMismatchError',
      'TENANT_NOT_FOUND 404 TenantNotFoundError',
      'TENANT_NOT_IDENTIFIED 400 TenantNotIdentifiedError',
      'TENANT_SIGNIN_FAILED 503 TenantSigninFailedError',
      'TENANT_SUSPENDED 403 TenantSuspendedError',
      'TRANSACTION_CLOSED 500 TransactionClosedError',
      'TRANSACTION_CONFLICT 409 TransactionConflictError',
      'TRANSACTION_UNSUPPORTED 500 TransactionUnsupportedError',
      'UNAUTHENTICATED 401 UnauthenticatedError',
    ]);
  });

  it('tell their classes apart, also those of another copy of the package', () => {
    const error = new TenantNotFoundError('x');
    const copy: object = Object.assign(new Error('x'), {
      code: 'TENANT_NOT_FOUND',
      [Symbol.for('nestjs-surreal.error')]: true,
    });
    for (const one of [error, copy]) {
      expect(one).toBeInstanceOf(TenantNotFoundError);
      expect(one).toBeInstanceOf(SurrealModuleError);
      expect(one).not.toBeInstanceOf(PoolExhaustedError);
    }
    expect(Object.assign(new Error('x'), { code: 'TENANT_NOT_FOUND' })).not.toBeInstanceOf(TenantNotFoundError);
  });

  it('keep their cause, and give a client nothing of it', () => {
    const cause = new Error('Database index `email` already contains secret@example.com');
    const error = new InvalidValueError('of tenant acme', { cause, field: 'email' });
    expect(error.cause).toBe(cause);
    expect(error.toPublic()).toEqual({
      statusCode: 422,
      code: 'INVALID_VALUE',
      message: 'The value of "email" is not valid.',
      field: 'email',
    });
  });

  it('say whether trying again can help, and after how long', () => {
    const lost = new ConnectionLostError('x', { outcome: 'unknown' });
    expect([lost.retryable, lost.retryAfterSeconds]).toEqual([true, 1]);
    const unknown = new TenantNotFoundError('x');
    expect([unknown.retryable, unknown.retryAfterSeconds]).toEqual([false, undefined]);
  });
});
