import { it } from '@jest/globals';
import { randomBytes } from 'node:crypto';
import { SurrealTestServer } from 'nestjs-surreal/testing';
import type { Tenant } from 'nestjs-surreal';
import { connect, type RawClient } from './raw-client.js';

/** A SurrealDB to test against: the engine in a process of its own, or the server that SURREAL_URL names. */
export interface Database {
  url: string;
  root: { username: string; password: string };
  /** Counters and fault switches; only the test server has them. */
  server: SurrealTestServer | undefined;
  /** Signed in as root. */
  admin: RawClient;
  stop(): Promise<void>;
}

const { SURREAL_URL, SURREAL_USER = 'root', SURREAL_PASS = 'root' } = process.env;

/** Whether tests with fault switches can run: they need the test server. */
export const hasFaults = SURREAL_URL === undefined;

/** A test that counts messages or cuts sockets; skipped against a real server. */
export const itWithFaults = hasFaults ? it : it.skip;

export async function startDatabase(): Promise<Database> {
  const server = hasFaults ? await SurrealTestServer.start() : undefined;
  const url = server?.url ?? (SURREAL_URL as string);
  const root = server?.root ?? { username: SURREAL_USER, password: SURREAL_PASS };
  const admin = await connect(url);
  await admin.call('signin', [{ user: root.username, pass: root.password }]);
  const stop = async () => {
    await admin.close();
    await server?.stop();
  };
  return { url, root, server, admin, stop };
}

/** The test server of a database, for tests that `hasFaults` guards. */
export function faultsOf(database: Database): SurrealTestServer {
  if (database.server === undefined) throw new Error('This test needs the test server');
  return database.server;
}

/** Signs the root client in again, on a new socket: after a drop, or a restart. */
export async function reconnectAdmin(database: Database): Promise<void> {
  database.admin = await connect(database.url);
  await database.admin.call('signin', [{ user: database.root.username, pass: database.root.password }]);
}

/** Cuts every socket of the test server, the root client of the test included, and signs that one in again. */
export async function dropConnections(database: Database): Promise<void> {
  await faultsOf(database).dropConnections();
  await reconnectAdmin(database);
}

const JWT_KEY = randomBytes(64).toString('hex');

/** A name that no other run uses, also on a shared server. */
function uniqueName(prefix = 't'): string {
  return `${prefix}_${randomBytes(6).toString('hex')}`;
}

/** Whoever runs SurrealQL as root: a raw client, or the central connection of an embedded engine. */
export interface Admin {
  query<Result = unknown[]>(sql: string): PromiseLike<Result>;
}

export interface TenantSetup {
  id?: string;
  type?: 'user' | 'jwt';
  level?: 'database' | 'namespace' | 'root';
  role?: 'OWNER' | 'EDITOR' | 'VIEWER';
  /** More SurrealQL to run in the tenant's database. */
  schema?: string;
}

/** Makes a namespace and database with a way in, and returns the tenant record. */
export async function defineTenant(admin: Admin, setup: TenantSetup = {}): Promise<Tenant> {
  const { id = uniqueName('tenant'), type = 'user', level = 'database', role = 'EDITOR', schema = '' } = setup;
  const namespace = uniqueName('ns');
  const username = uniqueName('u');
  const on = level === 'root' ? 'ROOT' : level.toUpperCase();
  const access =
    type === 'user'
      ? `DEFINE USER ${username} ON ${on} PASSWORD 'secret of ${id}' ROLES ${role}`
      : `DEFINE ACCESS app ON DATABASE TYPE JWT ALGORITHM HS512 KEY '${JWT_KEY}'`;
  await admin.query(
    `DEFINE NAMESPACE ${namespace}; USE NS ${namespace}; DEFINE DATABASE main; USE DB main;
     DEFINE TABLE note SCHEMALESS; DEFINE TABLE person SCHEMALESS; DEFINE TABLE knows SCHEMALESS; ${access}; ${schema}`,
  );
  return {
    id,
    namespace,
    database: 'main',
    credentials:
      type === 'user'
        ? { type, username, password: `secret of ${id}`, level }
        : { type, access: 'app', key: JWT_KEY, algorithm: 'HS512', roles: ['Editor'] },
  };
}

/** Runs SurrealQL as root inside a tenant's database: what is really there. */
export async function asRoot<Result = unknown[]>(admin: Admin, tenant: Tenant, sql: string): Promise<Result> {
  const results = await admin.query<unknown[]>(`USE NS ${tenant.namespace} DB ${tenant.database}; ${sql}`);
  return results.slice(1) as Result;
}
