import { type RecordId, ServerError, type Uuid } from 'surrealdb';
import type { RpcTransport } from '../connection/rpc-transport.js';
import type { SessionSockets } from '../connection/session-sockets.js';
import {
  NotAllowedError,
  SurrealModuleError,
  TenantSigninFailedError,
  UnauthenticatedError,
} from '../surreal.errors.js';
import type { Tenant } from '../tenant/tenant.js';
import type { BearerCredentials } from '../tenant/tenant-credentials.js';
import type { Caller } from './caller.js';
import { isUnknownSession, translateDatabaseError } from './database-errors.js';
import { assertInside, assertTenantPrincipal, enterDatabase, type Identity, readIdentity } from './identity.js';
import type { SessionState } from './server-session.js';
import { anotherUser } from './session-errors.js';
import { readTokenClaims } from './token-claims.js';
import type { TokenSource } from './token-source.js';

/** What sessions are made with. */
export interface SessionResources {
  sockets: SessionSockets;
  tokens: TokenSource;
  /**
   * Whether a record is there, as the tenant itself sees it: for users that cannot see their own record.
   * @throws UnauthenticatedError when the tenant has no sign-in of its own
   */
  recordExists: (tenant: Tenant, record: RecordId) => Promise<boolean>;
  /** How long a session may take to be attached and signed in, waiting for a reconnect included. */
  prepareTimeoutMillis: number;
  /** After this time a session signs in again before its next query, so that rights that were taken away end. */
  maxLifetimeMillis: number;
  /** The same for the sessions of callers. */
  recheckMillis: number;
}

/**
 * Signs an attached session in as a principal, and looks where and as whom the server sees it.
 * @param before as whom the server saw it when it was signed in before
 * @returns undefined for nobody, whom nothing signs in
 * @throws TenantSigninFailedError when a tenant's own credentials do not open its database
 * @throws TenantMismatchError when somebody's sign-in leads out of the tenant
 * @throws UnauthenticatedError when a caller's token does not hold, or its user is gone
 * @throws the SDK's ServerError when the server refuses what a handle's own sign-in has given
 */
export async function signIn(
  resources: SessionResources,
  transport: RpcTransport,
  session: Uuid,
  state: SessionState,
  before: Identity | undefined,
): Promise<Identity | undefined> {
  const { principal, tenant } = state;
  switch (principal.type) {
    case 'tenant':
      return await signInTenant(transport, resources.tokens, session, tenant as Tenant);
    case 'caller':
      return await signInCaller(resources, transport, session, { tenant: tenant as Tenant, caller: principal, before });
    case 'bearer':
      await transport.send({ method: 'authenticate', params: [principal.token], session });
      return await lookInside(resources, transport, session, state);
    case 'grant':
      await transport.send({ method: 'signin', params: [principal.params], session });
      return await lookInside(resources, transport, session, state);
    case 'nobody':
      return undefined;
  }
}

/** A token that was seen to lead into the tenant once leads there always, so the look is taken once per token. */
async function signInTenant(
  transport: RpcTransport,
  tokens: TokenSource,
  session: Uuid,
  tenant: Tenant,
): Promise<Identity> {
  const { credentials } = tenant;
  if (credentials.type === 'bearer') return await signInByGrant(transport, tokens, session, tenant, credentials);
  const authenticate = (token: string) => transport.send({ method: 'authenticate', params: [token], session });
  let token = await tokens.get(tenant);
  try {
    await authenticate(token.value);
  } catch (error) {
    if (!isRefusal(error)) throw error;
    // Refused: the key was rotated, the user redefined, the clock is off. One fresh token may do.
    tokens.discard(tenant, token);
    token = await tokens.get(tenant);
    await authenticate(token.value).catch((cause: unknown) => {
      throw isRefusal(cause) ? tokens.refuse(tenant, token, cause) : cause;
    });
  }
  if (isAboveDatabases(tenant, token.value)) {
    await enterDatabase(transport, session, tenant).catch((cause: unknown) => {
      throw cause instanceof NotAllowedError ? cannotEnter(tenant, cause) : cause;
    });
  } else if (token.verified !== undefined) return token.verified;
  const identity = await readIdentity(transport, session);
  assertTenantPrincipal(tenant, identity);
  tokens.accept(tenant, token, identity);
  return identity;
}

/** The token that a grant gives cannot be presented again: each session signs in with the key itself. */
async function signInByGrant(
  transport: RpcTransport,
  tokens: TokenSource,
  session: Uuid,
  tenant: Tenant,
  { access, key }: BearerCredentials,
): Promise<Identity> {
  tokens.assertNotRefused(tenant);
  const params = { ns: tenant.namespace, db: tenant.database, ac: access, key };
  await transport.send({ method: 'signin', params: [params], session }).catch((cause: unknown) => {
    throw isRefusal(cause) ? tokens.refuse(tenant, undefined, cause) : cause;
  });
  const identity = await readIdentity(transport, session);
  assertTenantPrincipal(tenant, identity);
  tokens.accept(tenant);
  return identity;
}

async function signInCaller(
  resources: SessionResources,
  transport: RpcTransport,
  session: Uuid,
  { tenant, caller, before }: { tenant: Tenant; caller: Caller; before: Identity | undefined },
): Promise<Identity> {
  caller.assertValid();
  await transport.send({ method: 'authenticate', params: [caller.token], session }).catch((cause: unknown) => {
    // A conflict or a timeout inside AUTHENTICATE says nothing of the token: nobody is to be signed out for it.
    if (!isRefusal(cause) || isPassing(cause)) throw cause;
    throw new UnauthenticatedError('The database did not accept the bearer token.', { cause });
  });
  const identity = await lookInside(resources, transport, session, { tenant, target: undefined });
  // By AUTHENTICATE one token can be another user's by now. What has begun as the one must not go on as the other.
  if (before !== undefined && String(before.record) !== String(identity.record)) {
    throw anotherUser();
  }
  return identity;
}

/**
 * Looks where a sign-in has led. A tenant's session must be in the tenant's own database by it: a principal that is defined
 * above databases is outside.
 */
async function lookInside(
  resources: SessionResources,
  transport: RpcTransport,
  session: Uuid,
  state: Pick<SessionState, 'tenant' | 'target'>,
): Promise<Identity> {
  const identity = await readIdentity(transport, session);
  const { namespace, database, record, seesItself } = identity;
  const { tenant } = state;
  if (tenant !== undefined) {
    assertInside(tenant, namespace, database);
    // The server lets tokens of deleted users in.
    if (record !== undefined && !seesItself && !(await resources.recordExists(tenant, record))) throw userIsGone();
    return identity;
  }
  // A token of a database says itself where it leads; one of a higher level goes where use() said.
  if (namespace !== undefined && database !== undefined) state.target = { namespace, database };
  else if (state.target !== undefined) await enterDatabase(transport, session, state.target);
  return identity;
}

function isAboveDatabases({ credentials }: Tenant, token: string): boolean {
  if (credentials.type === 'user') return (credentials.level ?? 'database') !== 'database';
  return credentials.type === 'token' && readTokenClaims(token).database === undefined;
}

/** Whether it is the token that the server objects to. */
function isRefusal(error: unknown): error is ServerError {
  return error instanceof ServerError && !isUnknownSession(error);
}

function isPassing(cause: ServerError): boolean {
  const told = translateDatabaseError(cause);
  return told instanceof SurrealModuleError && told.retryable;
}

function userIsGone(): UnauthenticatedError {
  return new UnauthenticatedError('The user of this token does not exist any more.');
}

function cannotEnter(tenant: Tenant, cause: NotAllowedError): TenantSigninFailedError {
  return new TenantSigninFailedError(
    `Tenant "${tenant.id}" signed in but cannot enter its database. ${cause.message}`,
    {
      cause,
    },
  );
}
