import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { SURREAL, type Surreal, Table, Tenancy, type Tenant, type TenantSession } from 'nestjs-surreal';
import { createContext, moduleOptions, TenantMap } from '../support/application.js';
import { type BackendName, startBackend } from '../support/backend.js';
import { connect } from '../support/raw-client.js';
import {
  asRoot,
  type Database,
  defineTenant,
  faultsOf,
  hasFaults,
  itWithFaults,
  startDatabase,
  dropConnections,
} from '../support/surreal.js';

/** Ways by which one tenant's session was once led to another tenant, and by which something was once left behind. */

let database: Database;
let app: Awaited<ReturnType<typeof createContext>>;
let tenancy: Tenancy;
let acme: Tenant;
let globex: Tenant;

const SECRETS = 'SELECT VALUE text FROM note';

beforeAll(async () => {
  database = await startDatabase();
  acme = await defineTenant(database.admin, { schema: `CREATE note:a SET text = 'of acme'` });
  globex = await defineTenant(database.admin, { schema: `CREATE note:g SET text = 'SECRET OF GLOBEX'` });
  const store = new TenantMap(acme, globex);
  app = await createContext(moduleOptions(database, store, { requestTimeoutMillis: 1_000 }));
  tenancy = app.get(Tenancy);
});
afterAll(async () => {
  await app?.close();
  await database?.stop();
});

/** Cuts every socket; by the time the test's own root client is back, everybody has noticed. */
const drop = () => dropConnections(database);

async function tokenOf({ namespace, database: db, credentials }: Tenant): Promise<string> {
  const { username: user, password: pass } = credentials as { username: string; password: string };
  const client = await connect(database.url);
  const token = await client.call<string>('signin', [{ ns: namespace, db, user, pass }]);
  await client.close();
  return token;
}

itWithFaults('R1: a transaction stays with who began it when a sign-in of its handle gets no answer', async () => {
  const token = await tokenOf(globex);
  await tenancy.run(acme, async (db) => {
    await db.set('x', 1);
    const transaction = await db.begin();
    const hold = await faultsOf(database).holdAnswers({ method: 'authenticate' });
    await expect(db.authenticate(token)).rejects.toMatchObject({ code: 'REQUEST_TIMEOUT' });
    expect(await transaction.query(SECRETS)).toEqual([['of acme']]);
    expect(await db.query(SECRETS)).toEqual([['of acme']]);
    await hold.release();
    expect(await transaction.query(SECRETS)).toEqual([['of acme']]);
    expect(await db.query('RETURN [$x, session::ns()]')).toEqual([[1, acme.namespace]]);
  });
});

it('R1: queries and transactions in flight stay with who sent them when their handle signs in elsewhere', async () => {
  const token = await tokenOf(globex);
  for (let round = 0; round < 5; round++) {
    await tenancy.run(acme, async (db) => {
      await db.set('x', 1);
      const transaction = await db.begin();
      const entering = db.authenticate(token).catch((error: unknown) => error);
      const seen: unknown[] = [];
      for (let turn = 0; turn < 6; turn++) {
        const both = await Promise.allSettled([transaction.query(SECRETS), db.query(SECRETS)]);
        seen.push(...both.map((one) => (one.status === 'fulfilled' ? one.value : undefined)));
      }
      expect(await entering).toMatchObject({ code: 'TENANT_MISMATCH' });
      expect(JSON.stringify(seen)).not.toContain('GLOBEX');
    });
  }
});

it.each<BackendName>(['ws://', 'mem://'])(
  'R1: no transaction runs as nobody after invalidate() on %s',
  async (name) => {
    const backend = await startBackend(name);
    const tenant = await defineTenant(backend.admin, { schema: `CREATE note:a SET text = 'mine'` });
    await backend.tenancy.run(tenant, async (db) => {
      await db.set('x', 1);
      const transaction = await db.begin();
      await db.invalidate();
      await expect(db.authenticate('bad.token.x')).rejects.toMatchObject({ code: 'UNAUTHENTICATED' });
      await expect(Promise.resolve(transaction.query('INFO FOR ROOT'))).rejects.toMatchObject({ code: 'NOT_ALLOWED' });
      expect(await transaction.query(SECRETS)).toEqual([['mine']]);
      await expect(Promise.resolve(db.query('INFO FOR ROOT'))).rejects.toMatchObject({ code: 'UNAUTHENTICATED' });
    });
    await backend.stop();
  },
);

it('R1: a name and password alone never make a tenant’s handle root', async () => {
  await tenancy.run(acme, async (db) => {
    await expect(db.signin(database.root)).rejects.toMatchObject({ code: 'UNAUTHENTICATED' });
    expect(await db.query('RETURN session::ns()')).toEqual([acme.namespace]);
  });
});

it('R1: nor does a token of a user above the databases', async () => {
  const client = await connect(database.url);
  const token = await client.call<string>('signin', [{ user: database.root.username, pass: database.root.password }]);
  await client.close();
  await tenancy.run(acme, async (db) => {
    await expect(db.authenticate(token)).rejects.toMatchObject({ code: 'TENANT_MISMATCH' });
    expect(db.isClosed).toBe(true);
  });
});

itWithFaults('R2: variables are there again after a preparation that failed halfway', async () => {
  await tenancy.run(acme, async (db) => {
    await db.set('owner', 'me');
    const hold = await faultsOf(database).holdAnswers({ method: 'authenticate' });
    await drop();
    await expect(Promise.resolve(db.query('RETURN $owner'))).rejects.toMatchObject({ code: 'REQUEST_TIMEOUT' });
    await hold.release();
    expect(await db.query('RETURN $owner')).toEqual(['me']);
  });
});

itWithFaults('R2: a set() that gets no answer is as if it had not been tried', async () => {
  await tenancy.run(acme, async (db) => {
    await db.set('a', 1);
    const hold = await faultsOf(database).holdAnswers({ method: 'let' });
    await expect(db.set('a', 2)).rejects.toMatchObject({ code: 'REQUEST_TIMEOUT' });
    await hold.release();
    expect(await db.query('RETURN $a')).toEqual([1]);
  });
});

it('evict() cancels what is open: nothing of it can be committed afterwards', async () => {
  await tenancy.run(acme, async (db) => {
    const transaction = await db.begin();
    await transaction.query(`CREATE note:evicted SET text = 'too late'`);
    await tenancy.evict(acme.id);
    if (hasFaults) expect(await faultsOf(database).openTransactions()).toBe(0);
    await expect(transaction.commit()).rejects.toMatchObject({ code: 'SESSION_CLOSED' });
  });
  expect(await asRoot(database.admin, acme, 'SELECT * FROM note:evicted')).toEqual([[]]);
});

itWithFaults('R8: a live query whose start is answered after the end of its unit of work is killed', async () => {
  const hold = await faultsOf(database).holdAnswers({ method: 'query', match: 'LIVE' });
  let starting: Promise<unknown> | undefined;
  await tenancy.run(acme, async (db) => {
    await db.query('RETURN 1');
    starting = Promise.resolve(db.query('LIVE SELECT * FROM note')).catch(() => undefined);
    await sleep(100);
  });
  await hold.release();
  await starting;
  await settlesAtNoLiveQuery();
});

itWithFaults('R8: so is one that is answered after its timeout', async () => {
  const hold = await faultsOf(database).holdAnswers({ method: 'query', match: 'LIVE' });
  await tenancy.run(acme, async (db) => {
    await expect(Promise.resolve(db.query('LIVE SELECT * FROM note'))).rejects.toMatchObject({
      code: 'REQUEST_TIMEOUT',
    });
  });
  await hold.release();
  await settlesAtNoLiveQuery();
});

it('R3: live() on a closed handle is SESSION_CLOSED', async () => {
  let kept: TenantSession | undefined;
  await tenancy.run(acme, (db) => {
    kept = db;
  });
  await expect(Promise.resolve(kept?.live(new Table('note')))).rejects.toMatchObject({ code: 'SESSION_CLOSED' });
});

it('live queries end when their handle signs in as somebody else', async () => {
  const tenant = await defineTenant(database.admin, {
    schema: `DEFINE USER second ON DATABASE PASSWORD '2' ROLES VIEWER`,
  });
  await tenancy.run(tenant, async (db) => {
    const heard: unknown[] = [];
    const subscription = await db.live(new Table('note'));
    subscription.subscribe(({ action }) => heard.push(action));
    for (let tries = 0; tries < 100 && subscription.id === undefined; tries++) await sleep(10);
    await db.signin({ username: 'second', password: '2' });
    await asRoot(database.admin, tenant, 'CREATE note');
    await sleep(50);
    expect(heard).toEqual(['KILLED']);
  });
});

itWithFaults(
  'the central connection comes back when its user, removed before a reconnect, is there again',
  async () => {
    const name = 'passing';
    await database.admin.query(`DEFINE USER ${name} ON ROOT PASSWORD 'p' ROLES OWNER`);
    const options = moduleOptions(database, new TenantMap(), { authentication: { username: name, password: 'p' } });
    const own = await createContext(options);
    const surreal = own.get<Surreal>(SURREAL);
    await database.admin.query(`REMOVE USER ${name} ON ROOT`);
    await drop();
    await sleep(300);
    await database.admin.query(`DEFINE USER ${name} ON ROOT PASSWORD 'p' ROLES OWNER`);
    let answer: unknown;
    for (let tries = 0; tries < 100 && answer === undefined; tries++) {
      await sleep(50);
      answer = await surreal
        .query('RETURN 1')
        .collect()
        .catch(() => undefined);
    }
    expect(answer).toEqual([1]);
    await own.close();
  },
);

async function settlesAtNoLiveQuery(): Promise<void> {
  const server = faultsOf(database);
  for (let tries = 0; tries < 100 && (await server.liveQueries()) > 0; tries++) await sleep(20);
  expect(await server.liveQueries()).toBe(0);
}
