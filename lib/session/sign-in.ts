import { ServerError, type Uuid } from 'surrealdb';
import type { RpcTransport } from '../connection/rpc-transport.js';
import type { SessionSockets } from '../connection/session-sockets.js';
import { NotAllowedError, TenantSigninFailedError } from '../surreal.errors.js';
import type { Tenant } from '../tenant/tenant.js';
import { isUnknownSession } from './database-errors.js';
import { assertInside, assertTenantPrincipal, enterDatabase, readIdentity } from './identity.js';
import type { SessionState } from './server-session.js';
import type { TokenSource } from './token-source.js';

/** What sessions are made with. */
export interface SessionResources {
  sockets: SessionSockets;
  tokens: TokenSource;
  /** How long a session may take to be attached and signed in, waiting for a reconnect included. */
  prepareTimeoutMillis: number;
  /** After this time a session signs in again before its next query, so that rights that were taken away end. */
  maxLifetimeMillis: number;
}

/**
 * Signs an attached session in as its tenant, and looks where and as whom the server sees it. A token that was seen to
 * lead there once leads there always, so the look is taken once per token.
 * @throws TenantSigninFailedError when the tenant's credentials do not open its database
 */
export async function signInTenant(
  transport: RpcTransport,
  tokens: TokenSource,
  session: Uuid,
  tenant: Tenant,
): Promise<void> {
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
  const { credentials } = tenant;
  if (credentials.type === 'user' && (credentials.level ?? 'database') !== 'database') {
    await enterDatabase(transport, session, tenant).catch((cause: unknown) => {
      throw cause instanceof NotAllowedError ? cannotEnter(tenant, cause) : cause;
    });
  } else if (token.verified) return;
  assertTenantPrincipal(tenant, await readIdentity(transport, session));
  tokens.accept(tenant, token);
}

/**
 * Signs an attached session in as the bearer of a token, and looks where that led. A tenant's session must be in the
 * tenant's own database by it: a principal that is defined above databases is outside.
 * @throws TenantMismatchError when it leads out of the tenant
 * @throws the SDK's ServerError when the server refuses the token
 */
export async function signInBearer(
  transport: RpcTransport,
  session: Uuid,
  token: string,
  state: Pick<SessionState, 'tenant' | 'target'>,
): Promise<void> {
  await transport.send({ method: 'authenticate', params: [token], session });
  const { namespace, database } = await readIdentity(transport, session);
  if (state.tenant !== undefined) return assertInside(state.tenant, namespace, database);
  // A token of a database says itself where it leads; one of a higher level goes where use() said.
  if (namespace !== undefined && database !== undefined) state.target = { namespace, database };
  else if (state.target !== undefined) await enterDatabase(transport, session, state.target);
}

/** Whether it is the token that the server objects to. */
function isRefusal(error: unknown): error is ServerError {
  return error instanceof ServerError && !isUnknownSession(error);
}

function cannotEnter(tenant: Tenant, cause: NotAllowedError): TenantSigninFailedError {
  return new TenantSigninFailedError(
    `Tenant "${tenant.id}" signed in but cannot enter its database. ${cause.message}`,
    {
      cause,
    },
  );
}
