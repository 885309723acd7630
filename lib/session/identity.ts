import type { RecordId, Uuid } from 'surrealdb';
import type { RpcTransport } from '../connection/rpc-transport.js';
import { NotAllowedError, TenantMismatchError, TenantSigninFailedError } from '../surreal.errors.js';
import type { Tenant } from '../tenant/tenant.js';

/** Who and where a session is, as the server sees it. */
export interface Identity {
  readonly namespace: string | undefined;
  readonly database: string | undefined;
  /** The access method it came in by; undefined for a user with a password. */
  readonly access: string | undefined;
  /** Name of the system user; undefined for other principals. */
  readonly user: string | undefined;
  /** The record that is signed in; undefined for system users. */
  readonly record: RecordId | undefined;
  /** Whether that record is there, as far as it may see itself: a table that its users cannot select says no. */
  readonly seesItself: boolean;
  /** What the token says, as the server has read it. */
  readonly claims: Readonly<Record<string, unknown>>;
  /** What was left of the session's time (DURATION FOR SESSION), in milliseconds; Infinity when it never ends. */
  readonly lifeMillis: number;
}

// The variables as a whole: reading a field of one needs a selected namespace. The second statement fails for whoever is no
// record user.
const IDENTITY =
  'RETURN { ns: session::ns(), db: session::db(), session: $session, token: $token, now: time::unix() };' +
  'RETURN record::exists($auth)';

interface IdentityRow {
  ns?: string;
  db?: string;
  session?: { ac?: string; rd?: RecordId; exp?: number | bigint };
  token?: Record<string, unknown>;
  /** The server's clock, which need not be this machine's. */
  now: number | bigint;
}

/** Asks the server. One message. */
export async function readIdentity(transport: RpcTransport, session: Uuid): Promise<Identity> {
  const [row, sees] = await send<[IdentityRow, boolean]>(transport, session, IDENTITY);
  const { ns, db, session: { ac, rd, exp } = {}, token = {}, now } = resultOf(row, IDENTITY);
  const user = ac === undefined && rd === undefined ? token.ID : undefined;
  return {
    namespace: ns,
    database: db,
    access: ac,
    user: typeof user === 'string' ? user : undefined,
    record: rd,
    seesItself: sees.status === 'OK' && sees.result,
    claims: token,
    lifeMillis: exp === undefined ? Infinity : (Number(exp) - Number(now)) * 1000,
  };
}

/**
 * @throws TenantSigninFailedError when the session is not the tenant's own principal in the tenant's database
 */
export function assertTenantPrincipal(tenant: Tenant, identity: Identity): void {
  const { namespace, database } = identity;
  const isInside = namespace === tenant.namespace && database === tenant.database;
  if (isInside && isPrincipalOf(tenant, identity)) return;
  throw new TenantSigninFailedError(
    `Tenant "${tenant.id}" signed in, but the server does not show the session as its own principal in its own ` +
      'namespace and database. No query was sent. Check namespace, database and credentials in the tenant store.',
  );
}

function isPrincipalOf({ credentials }: Tenant, { user, access, record }: Identity): boolean {
  switch (credentials.type) {
    case 'user':
      return user === credentials.username;
    case 'jwt':
      return access === credentials.access && record === undefined;
    case 'bearer':
      return access === credentials.access;
    case 'token':
      // Whoever it is: the issuer says who, by the token.
      return user !== undefined || access !== undefined;
    case 'none':
      return false;
  }
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

/** Whether a record is there, as whoever the session is signed in as may see. One message. */
export async function recordExists(transport: RpcTransport, session: Uuid, record: RecordId): Promise<boolean> {
  return await runStatement<boolean>(transport, session, 'RETURN record::exists($record)', { record });
}

function missing(what: 'namespace' | 'database', name: string): NotAllowedError {
  return new NotAllowedError(
    `The ${what} ${JSON.stringify(name)} does not exist. It was not created; define it first.`,
  );
}

async function runStatement<Result>(
  transport: RpcTransport,
  session: Uuid,
  sql: string,
  bindings?: Record<string, unknown>,
): Promise<Result> {
  const [answer] = await send<[Result]>(transport, session, sql, bindings);
  return resultOf(answer, sql);
}

type Answers<Results extends unknown[]> = { [Index in keyof Results]: { status: string; result: Results[Index] } };

async function send<Results extends unknown[]>(
  transport: RpcTransport,
  session: Uuid,
  sql: string,
  bindings: Record<string, unknown> = {},
): Promise<Answers<Results>> {
  return await transport.send<Answers<Results>>({ method: 'query', params: [sql, bindings], session });
}

/** @throws NotAllowedError for a statement that failed */
function resultOf<Result>({ status, result }: { status: string; result: Result }, sql: string): Result {
  if (status !== 'OK') throw new NotAllowedError(`The server refused ${sql}: ${String(result)}`);
  return result;
}
