import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, expect, it } from '@jest/globals';
import type { INestApplicationContext } from '@nestjs/common';
import { RecordId, SURREAL, type Surreal, Table, Tenancy, type Tenant, type Uuid } from 'nestjs-surreal';
import { createContext, moduleOptions, TenantMap } from '../support/application.js';
import {
  asRoot,
  type Database,
  defineTenant,
  faultsOf,
  itWithFaults,
  startDatabase,
  dropConnections,
} from '../support/surreal.js';

/** What happens to queries, live queries and waits when the session under them is changed, evicted or closed. */

let database: Database;
let acme: Tenant;
let globex: Tenant;
const apps: INestApplicationContext[] = [];

beforeAll(async () => {
  database = await startDatabase();
  const schema = `DEFINE USER second ON DATABASE PASSWORD '2' ROLES VIEWER`;
  [acme, globex] = [await defineTenant(database.admin, { schema }), await defineTenant(database.admin)];
});
afterAll(() => database?.stop());
afterEach(async () => {
  for (const app of apps.splice(0)) await app.close();
});

async function start(sessions: object = {}): Promise<Tenancy> {
  const options = { requestTimeoutMillis: 1_500, sessions: { acquireTimeoutMillis: 1_000, ...sessions } };
  const app = await createContext(moduleOptions(database, new TenantMap(acme, globex), options));
  apps.push(app);
  return app.get(Tenancy);
}

/** Cuts every socket; by the time the test's own root client is back, everybody has noticed. */
const drop = () => dropConnections(database);

const second = { username: 'second', password: '2' };
const liveQueries = async () => (await database.server?.liveQueries()) ?? 0;
const settle = async (read: () => Promise<number>, expected: number) => {
  for (let tries = 0; tries < 100 && (await read()) !== expected; tries++) await sleep(20);
  expect(await read()).toBe(expected);
};

it('R1: nobody listens to a live query of another tenant, though he knows its id', async () => {
  const tenancy = await start();
  await using a = await tenancy.attach(acme);
  await using g = await tenancy.attach(globex);
  const [id] = await a.query<[Uuid]>('LIVE SELECT * FROM note');
  const heard: unknown[] = [];
  (await g.liveOf(id)).subscribe(({ action, value }) => heard.push([action, value]));
  await a.create(new Table('note')).content({ text: 'ACME PRIVATE' });
  await sleep(100);
  expect(JSON.stringify(heard)).not.toContain('PRIVATE');
});

itWithFaults.each(['invalidate', 'signin'] as const)(
  'R1: a live query that is being started when its handle changes by %s() does not go on',
  async (change) => {
    const tenancy = await start();
    await tenancy.run(acme, async (db) => {
      await db.query('RETURN 1');
      const hold = await faultsOf(database).holdAnswers({ method: 'query', match: 'LIVE' });
      const starting = Promise.resolve(db.query('LIVE SELECT * FROM note')).catch(() => undefined);
      await sleep(50);
      if (change === 'invalidate') await db.invalidate();
      else await db.signin(second);
      await hold.release();
      await starting;
      await settle(liveQueries, 0);
    });
  },
);

it.each([1, 2])('a handle signs in as somebody else with sessions.max: %i', async (max) => {
  const tenancy = await start({ max });
  await tenancy.run(acme, async (db) => {
    await db.query('RETURN 1');
    await db.signin(second);
    await db.signin(second);
    expect(await db.query('RETURN $token.ID')).toEqual(['second']);
  });
  await using free = await tenancy.attach();
  await free.signin({ namespace: acme.namespace, database: acme.database, ...second });
  expect(await free.query('RETURN session::ns()')).toEqual([acme.namespace]);
});

it('a query beside a sign-in waits for it rather than for room of its own', async () => {
  const tenancy = await start({ max: 1 });
  await tenancy.run(acme, async (db) => {
    const [, answer] = await Promise.all([db.signin(second), db.query('RETURN 1')]);
    expect(answer).toEqual([1]);
  });
});

it('evict() ends units of work that are running: no change brings their session back', async () => {
  const tenancy = await start();
  const closed = { code: 'SESSION_CLOSED' };
  await tenancy.run(acme, async (db) => {
    await db.query('RETURN 1');
    await tenancy.evict(acme.id);
    await expect(Promise.resolve(db.query('RETURN 1'))).rejects.toMatchObject(closed);
    await expect(db.set('x', 1)).rejects.toMatchObject(closed);
    await expect(db.signin(second)).rejects.toMatchObject(closed);
    await expect(Promise.resolve(db.query('RETURN 1'))).rejects.toMatchObject(closed);
    await tenancy.run(acme, async (fresh) => expect(await fresh.query('RETURN 1')).toEqual([1]));
  });
});

it('evict() also ends those that wait for a session, and those that have not queried yet', async () => {
  const tenancy = await start({ max: 1 });
  const held = await tenancy.attach(globex);
  const waiting = tenancy.run(acme, (db) => db.query('RETURN 1')).catch((error: unknown) => error);
  await tenancy.run(acme, async (db) => {
    await sleep(50);
    await tenancy.evict(acme.id);
    await held.detach();
    await expect(Promise.resolve(db.query('RETURN 1'))).rejects.toMatchObject({ code: 'SESSION_CLOSED' });
  });
  expect(await waiting).toMatchObject({ code: 'SESSION_CLOSED' });
});

itWithFaults('what lives on a session ends when the session is given up', async () => {
  const tenancy = await start();
  await tenancy.run(acme, async (db) => {
    await db.set('a', 1);
    await db.begin();
    const heard: unknown[] = [];
    const subscription = await db.live(new Table('note'));
    subscription.subscribe(({ action }) => heard.push(action));
    for (let tries = 0; tries < 100 && subscription.id === undefined; tries++) await sleep(10);
    const hold = await faultsOf(database).holdAnswers({ method: 'let' });
    await expect(db.set('a', 2)).rejects.toMatchObject({ code: 'REQUEST_TIMEOUT' });
    await hold.release();
    await settle(() => faultsOf(database).openTransactions(), 0);
    await settle(liveQueries, 0);
    expect(heard).toEqual(['KILLED']);
    expect(await db.query('RETURN $a')).toEqual([1]);
  });
});

itWithFaults('a query that waits for its session to come back is not lost by a change of its own handle', async () => {
  const tenancy = await start({ max: 1 });
  const hold = await faultsOf(database).holdAnswers({ method: 'authenticate' });
  await tenancy.run(acme, async (db) => {
    const query = Promise.resolve(db.query('RETURN 1'));
    await sleep(50);
    const change = db.set('x', 1);
    await hold.release();
    expect(await query).toEqual([1]);
    await change;
    expect(await db.query('RETURN $x')).toEqual([1]);
  });
});

itWithFaults('two live queries of which one text kills one: both are gone at the end', async () => {
  const tenancy = await start();
  await tenancy.run(acme, async (db) => {
    const [first] = await db.query<[Uuid]>('LIVE SELECT * FROM note');
    const [other] = await db.query<[Uuid]>('LIVE SELECT * FROM person');
    await db.query('KILL $first; RETURN $other', { first, other });
  });
  await settle(liveQueries, 0);
});

itWithFaults(
  'R6: a listener of the application that throws does not keep the connection from coming back',
  async () => {
    const app = await createContext(moduleOptions(database, new TenantMap(acme), { requestTimeoutMillis: 3_000 }));
    apps.push(app);
    const surreal = app.get<Surreal>(SURREAL);
    surreal.subscribe('reconnecting', () => {
      throw new Error('of the application');
    });
    await drop();
    expect(await surreal.query('RETURN 1')).toEqual([1]);
    expect(await app.get(Tenancy).run(acme, (db) => db.query('RETURN 1'))).toEqual([1]);
  },
);

it('a handle that is signed out takes no session', async () => {
  const tenancy = await start({ max: 1 });
  await tenancy.run(acme, async (db) => {
    await db.invalidate();
    await expect(Promise.resolve(db.query('RETURN 1'))).rejects.toMatchObject({ code: 'UNAUTHENTICATED' });
    await tenancy.run(globex, async (other) => expect(await other.query('RETURN 1')).toEqual([1]));
  });
});

itWithFaults('set() keeps a copy: a reconnect brings back what was set', async () => {
  const tenancy = await start();
  await tenancy.run(acme, async (db) => {
    const value = { list: [1], record: new RecordId('note', 1) };
    await db.set('v', value);
    value.list.push(2);
    await drop();
    expect(await db.query('RETURN $v.list')).toEqual([[1]]);
    expect(String((await db.query<[RecordId]>('RETURN $v.record'))[0])).toBe('note:1');
  });
});

it('the end of a unit of work does not wait for a session that it will not use', async () => {
  const tenancy = await start({ max: 1, acquireTimeoutMillis: 5_000 });
  const held = await tenancy.attach(globex);
  const begin = Date.now();
  await tenancy.run(acme, (db) => {
    void Promise.resolve(db.query('RETURN 1')).catch(() => undefined);
  });
  expect(Date.now() - begin).toBeLessThan(2_000);
  await held.detach();
  expect(await asRoot(database.admin, acme, 'RETURN 1')).toEqual([1]);
});
