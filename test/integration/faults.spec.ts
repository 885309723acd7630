import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { isLiveGap, RecordId, SURREAL, type Surreal, Table, Tenancy, type Tenant } from 'nestjs-surreal';
import { createContext, moduleOptions, TenantMap } from '../support/application.js';
import {
  asRoot,
  type Database,
  defineTenant,
  faultsOf,
  hasFaults,
  startDatabase,
  dropConnections,
  reconnectAdmin,
} from '../support/surreal.js';

(hasFaults ? describe : describe.skip)('when the connection fails', () => {
  let database: Database;
  let acme: Tenant;
  let globex: Tenant;
  let app: Awaited<ReturnType<typeof createContext>>;
  let tenancy: Tenancy;
  let surreal: Surreal;

  beforeAll(async () => {
    database = await startDatabase();
    [acme, globex] = [await defineTenant(database.admin), await defineTenant(database.admin, { type: 'jwt' })];
    app = await createContext(
      moduleOptions(database, new TenantMap(acme, globex), {
        requestTimeoutMillis: 3_000,
        calls: { maxInFlightPerTenant: 16 },
      }),
    );
    tenancy = app.get(Tenancy);
    surreal = app.get<Surreal>(SURREAL);
  });
  afterAll(async () => {
    await app?.close();
    await database?.stop();
  });
  beforeEach(async () => {
    await tenancy.run(acme, (db) => db.query('RETURN 1'));
    await tenancy.run(globex, (db) => db.query('RETURN 1'));
  });

  /** Cuts every socket, the root client of the test included, and signs that one in again. */
  const drop = () => dropConnections(database);
  const count = (id: RecordId) => asRoot<[number[]]>(database.admin, acme, `SELECT VALUE n FROM ${id}`);

  it('R1: sessions come back signed in as before, each when it is next used, with three messages', async () => {
    await drop();
    await surreal.query('RETURN 1');
    faultsOf(database).clearRequests();
    const [seen] = await tenancy.run(acme, (db) => db.query('RETURN [session::ns(), $token.ID]'));
    expect(seen).toEqual([acme.namespace, (acme.credentials as { username: string }).username]);
    expect(faultsOf(database).requests.map(({ method }) => method)).toEqual(['attach', 'authenticate', 'query']);
  });

  it('R2: a session of one’s own comes back with its variables', async () => {
    await tenancy.run(acme, async (db) => {
      await db.set('color', 'red');
      await drop();
      expect(await db.query('RETURN [$color, session::ns()]')).toEqual([['red', acme.namespace]]);
    });
  });

  it('R4: a write whose answer is lost fails as unknown, and is not sent again', async () => {
    const id = new RecordId('note', 'once');
    await faultsOf(database).loseAnswer({ method: 'query', match: 'UPSERT' });
    const write = tenancy.run(acme, (db) => db.query('UPSERT $id SET n += 1', { id }));
    await expect(write).rejects.toMatchObject({ code: 'CONNECTION_LOST', outcome: 'unknown', retryable: true });
    await tenancy.run(acme, (db) => db.query('RETURN 1'));
    expect(await count(id)).toEqual([[1]]);
  });

  it('R4: all calls in flight fail as unknown, and nothing hangs', async () => {
    const hold = await faultsOf(database).holdAnswers({ method: 'query', match: 'held' });
    const calls = Array.from({ length: 16 }, () => tenancy.run(globex, (db) => db.query("RETURN 'held'")));
    const outcomes = Promise.allSettled(calls);
    await sleep(100);
    await drop();
    for (const outcome of await outcomes) {
      expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'CONNECTION_LOST', outcome: 'unknown' } });
    }
    await hold.release();
  });

  it('R4: a call that has not been sent waits for the connection', async () => {
    await faultsOf(database).stop();
    const waiting = tenancy.run(globex, (db) => db.query('RETURN 1')).catch((error: unknown) => error);
    await sleep(200);
    await faultsOf(database).restart();
    // The datastore was in memory: the tenant is gone with it, so that what comes back is the refusal of its sign-in.
    expect(await waiting).toMatchObject({ code: 'TENANT_SIGNIN_FAILED' });
    await reconnectAdmin(database);
    [acme, globex] = [await defineTenant(database.admin), await defineTenant(database.admin, { type: 'jwt' })];
    await tenancy.run(globex, async (db) => expect(await db.query('RETURN 1')).toEqual([1]));
  });

  it('and says so when the connection does not come back in time', async () => {
    await faultsOf(database).stop();
    const started = Date.now();
    const error: unknown = await tenancy.run(globex, (db) => db.query('RETURN 1')).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({
      code: 'CONNECTION_LOST',
      outcome: 'not-sent',
      message: expect.stringContaining(database.url),
    });
    expect(Date.now() - started).toBeLessThan(10_000);
    await faultsOf(database).restart();
    await reconnectAdmin(database);
    [acme, globex] = [await defineTenant(database.admin), await defineTenant(database.admin, { type: 'jwt' })];
  });

  it('a transaction is lost with its socket, says so, and nothing of it is kept', async () => {
    const id = new RecordId('note', 'lost');
    await tenancy.run(acme, async (db) => {
      const transaction = await db.begin();
      await transaction.create(id).content({ n: 1 });
      await drop();
      await db.query('RETURN 1');
      await expect(Promise.resolve(transaction.query('RETURN 1'))).rejects.toMatchObject({ code: 'CONNECTION_LOST' });
      await expect(transaction.commit()).rejects.toMatchObject({ code: 'CONNECTION_LOST', outcome: 'not-sent' });
      expect(await db.select(id)).toBeUndefined();
    });
  });

  it('a call that gets no answer is REQUEST_TIMEOUT; the connection lives on', async () => {
    const hold = await faultsOf(database).holdAnswers({ method: 'query', match: 'held' });
    await expect(tenancy.run(acme, (db) => db.query("RETURN 'held'"))).rejects.toMatchObject({
      code: 'REQUEST_TIMEOUT',
    });
    expect(await tenancy.run(acme, (db) => db.query('RETURN 1'))).toEqual([1]);
    await hold.release();
  });

  it('a transaction whose begin is answered too late is cancelled', async () => {
    const hold = await faultsOf(database).holdAnswers({ method: 'begin' });
    await expect(tenancy.run(acme, (db) => db.begin())).rejects.toMatchObject({ code: 'REQUEST_TIMEOUT' });
    await hold.release();
    for (let tries = 0; tries < 100 && (await faultsOf(database).openTransactions()) > 0; tries++) await sleep(20);
    expect(await faultsOf(database).openTransactions()).toBe(0);
  });

  it('R6: a tenant whose user was removed cannot come back, and nobody else notices', async () => {
    const gone = await defineTenant(database.admin);
    await tenancy.run(gone, (db) => db.query('RETURN 1'));
    const { username } = gone.credentials as { username: string };
    await asRoot(database.admin, gone, `REMOVE USER ${username} ON DATABASE`);
    await drop();
    await expect(tenancy.run(gone, (db) => db.query('RETURN 1'))).rejects.toMatchObject({
      code: 'TENANT_SIGNIN_FAILED',
    });
    expect(await tenancy.run(acme, (db) => db.query('RETURN session::ns()'))).toEqual([acme.namespace]);
  });

  it('the central connection comes back signed in, and sessions that the application opened on it do not become root', async () => {
    await using session = await surreal.newSession();
    await drop();
    expect((await surreal.query<[{ users: object }]>('INFO FOR ROOT'))[0].users).toBeDefined();
    await expect(Promise.resolve(session.query('INFO FOR ROOT'))).rejects.toThrow(/[Aa]nonymous/);
  });

  it('a live query goes on for longer than what bounded its start', async () => {
    await tenancy.run(acme, async (db) => {
      const heard: string[] = [];
      const subscription = await db.withOptions({ signal: AbortSignal.timeout(300) }).live(new Table('note'));
      subscription.subscribe((message) => heard.push(isLiveGap(message) ? 'GAP' : message.action));
      expect(subscription.isAlive).toBe(true);
      await sleep(400);
      await drop();
      for (let tries = 0; tries < 200 && heard.length === 0; tries++) await sleep(10);
      await db.create(new Table('note')).content({ text: 'after' });
      for (let tries = 0; tries < 200 && heard.length < 2; tries++) await sleep(10);
      expect(heard).toEqual(['GAP', 'CREATE']);
    });
  });

  it('ending a live query gives its session back, and is no error after a drop', async () => {
    await using db = await tenancy.attach(acme);
    const start = () => db.live(new Table('note'));
    const uses = () => tenancy.stats({ tenants: true }).tenants?.[acme.id];
    faultsOf(database).clearRequests();
    await (await start()).kill();
    await (await start()).kill();
    expect(faultsOf(database).requests.filter(({ sql }) => sql?.startsWith('KILL'))).toHaveLength(2);
    const [third, fourth] = [await start(), await start()];
    await drop();
    faultsOf(database).clearRequests();
    await third.kill();
    for (let tries = 0; tries < 200 && (await faultsOf(database).liveQueries()) < 1; tries++) await sleep(10);
    await sleep(100);
    expect(await faultsOf(database).liveQueries()).toBe(1);
    await fourth.kill();
    expect(await faultsOf(database).liveQueries()).toBe(0);
    expect(faultsOf(database).requests.filter(({ sql }) => sql?.startsWith('KILL')).length).toBeLessThanOrEqual(2);
    expect(uses()).toMatchObject({ own: 1, inUse: 1 });
  });

  it('live queries start again on the new socket, and say that there was a gap', async () => {
    await tenancy.run(acme, async (db) => {
      const heard: unknown[] = [];
      const subscription = await db.live(new Table('note'));
      subscription.subscribe((message) => heard.push(isLiveGap(message) ? 'gap' : message.value?.text));
      for (let tries = 0; tries < 100 && subscription.id === undefined; tries++) await sleep(10);
      await db.create(new Table('note')).content({ text: 'before the drop' });
      for (let tries = 0; tries < 100 && heard.length === 0; tries++) await sleep(10);
      const first = String(subscription.id);
      await drop();
      for (let tries = 0; tries < 200 && String(subscription.id) === first; tries++) await sleep(10);
      await db.create(new Table('note')).content({ text: 'after the drop' });
      for (let tries = 0; tries < 100 && heard.length < 3; tries++) await sleep(10);
      expect(heard).toEqual(['before the drop', 'gap', 'after the drop']);
      // One that is started now has missed nothing.
      const second = await db.live(new Table('note'));
      second.subscribe((message) => heard.push(['second', message.action]));
      await db.create(new Table('note')).content({ text: 'more' });
      for (let tries = 0; tries < 100 && heard.length < 5; tries++) await sleep(10);
      expect(heard.slice(3).sort()).toEqual([['second', 'CREATE'], 'more'].sort());
    });
    for (let tries = 0; tries < 100 && (await faultsOf(database).liveQueries()) > 0; tries++) await sleep(10);
    expect(await faultsOf(database).liveQueries()).toBe(0);
  });
});
