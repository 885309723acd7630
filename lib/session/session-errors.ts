import { ConnectionLostError, isNotSent, UnauthenticatedError } from '../surreal.errors.js';
import type { Tenant } from '../tenant/tenant.js';
import { isUnknownSession } from './database-errors.js';

/** What a query on nobody's session is told. */
export function signedOut(tenant?: Tenant): UnauthenticatedError {
  return new UnauthenticatedError(
    tenant?.credentials.type === 'none'
      ? `Tenant "${tenant.id}" has no sign-in of its own (credentials of type "none"): only its record users may enter. Put ` +
          'RecordUserGuard on the handler, or call signin() or authenticate() on the session first.'
      : 'This session is not signed in. Call signin() or authenticate() on it first.',
  );
}

/** What is told of a token that AUTHENTICATE has given to another user. */
export function anotherUser(): UnauthenticatedError {
  return new UnauthenticatedError('The bearer token has become the token of another user.');
}

/** What is told of a session that its socket took along while it was being signed in. */
export function droppedMeanwhile(): ConnectionLostError {
  return new ConnectionLostError('The connection dropped while a session was being signed in', { outcome: 'not-sent' });
}

/** Whatever was lost while a session was prepared: the caller's own call had not left yet. */
export function asNotSent(error: unknown): unknown {
  // It was attached on a socket that dropped before its sign-in was through.
  if (isUnknownSession(error)) return droppedMeanwhile();
  if (!(error instanceof ConnectionLostError) || isNotSent(error)) return error;
  return new ConnectionLostError('The connection dropped while a session was being signed in. The call was not sent.', {
    outcome: 'not-sent',
    cause: error,
  });
}
