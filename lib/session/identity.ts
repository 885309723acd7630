import type { Uuid } from 'surrealdb';
import type { RpcTransport } from '../connection/rpc-transport.js';
import { NotAllowedError, TenantMismatchError, TenantSigninFailedError } from '../surreal.errors.js';
import type { Tenant } from '../tenant/tenant.js';

/** Who and where a session is, as the server sees it. */
export interface Identity {
  namespace: string | undefined;
  database: string | undefined;
  /** The access method it came in by; undefined for a user with a password. */
  access: string | undefined;
  /** Name of the system user; undefined for other principals. */
  user: string | undefined;
}

// The variables as a whole: reading a field of one needs a selected namespace.
const IDENTITY = 'RETURN { ns: session::ns(), db: session::db(), session: $session, token: $token }';

interface IdentityRow {
  ns?: string;
  db?: string;
  session?: { ac?: string; rd?: unknown };
  token?: { ID?: string };
}

/** Asks the server. One message. */
export async function readIdentity(transport: RpcTransport, session: Uuid): Promise<Identity> {
  const { ns, db, session: { ac, rd } = {}, token } = await runStatement<IdentityRow>(transport, session, IDENTITY);
  const isSystemUser = ac === undefined && rd === undefined;
  return { namespace: ns, database: db, access: ac, user: isSystemUser ? token?.ID : undefined };
}

/**
 * @throws TenantSigninFailedError when the session is not the tenant's own principal in the tenant's database
 */
export function assertTenantPrincipal(tenant: Tenant, identity: Identity): void {
  const { credentials } = tenant;
  const isPrincipal =
    credentials.type === 'user' ? identity.user === credentials.username : identity.access === credentials.access;
  if (isPrincipal && identity.namespace === tenant.namespace && identity.database === tenant.database) return;
  throw new TenantSigninFailedError(
    `Tenant "${tenant.id}" signed in, but the server does not show the session as its own principal in its own ` +
      'namespace and database. No query was sent. Check namespace, database and credentials in the tenant store.',
  );
}

/** @throws TenantMismatchError when a sign-in led anywhere but into the tenant's own namespace and database */
export function assertInside(tenant: Tenant, namespace: string | undefined, database: string | undefined): void {
  if (namespace === tenant.namespace && database === tenant.database) return;
  throw new TenantMismatchError(
    `The sign-in ends outside the namespace and database of tenant "${tenant.id}". The session was closed.`,
  );
}

/**
 * Selects the namespace and database for a principal that is defined above them. `use` creates whatever is missing, even
 * for a VIEWER, so each is looked up first. Two to four messages.
 * @throws NotAllowedError when one does not exist, or the principal may not look
 */
export async function enterDatabase(
  transport: RpcTransport,
  session: Uuid,
  target: { namespace: string; database: string },
): Promise<void> {
  const { namespace } = await readIdentity(transport, session);
  if (namespace !== target.namespace) {
    const root = await runStatement<{ namespaces: object }>(transport, session, 'INFO FOR ROOT');
    if (!Object.hasOwn(root.namespaces, target.namespace)) throw missing('namespace', target.namespace);
    await transport.send({ method: 'use', params: [target.namespace, null], session });
  }
  const info = await runStatement<{ databases: object }>(transport, session, 'INFO FOR NS');
  if (!Object.hasOwn(info.databases, target.database)) throw missing('database', target.database);
  await transport.send({ method: 'use', params: [target.namespace, target.database], session });
}

function missing(what: 'namespace' | 'database', name: string): NotAllowedError {
  return new NotAllowedError(
    `The ${what} ${JSON.stringify(name)} does not exist. It was not created; define it first.`,
  );
}

async function runStatement<Result>(transport: RpcTransport, session: Uuid, sql: string): Promise<Result> {
  const [answer] = await transport.send<[{ status: string; result: Result }]>({
    method: 'query',
    params: [sql, {}],
    session,
  });
  if (answer.status !== 'OK') throw new NotAllowedError(`The server refused ${sql}: ${String(answer.result)}`);
  return answer.result;
}
