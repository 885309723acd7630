import { getEventListeners } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { Controller, Get, Logger, UseGuards } from '@nestjs/common';
import { CallTimeout, RequestTimeoutError, Tenancy, type Tenant, TenantGuard, TenantSession } from 'nestjs-surreal';
import { createContext, listen, moduleOptions, TenantMap } from '../support/application.js';
import {
  type Database,
  defineTenant,
  faultsOf,
  itWithFaults,
  startDatabase,
  dropConnections,
} from '../support/surreal.js';

let database: Database;
let acme: Tenant;
let globex: Tenant;
let store: TenantMap;

beforeAll(async () => {
  database = await startDatabase();
  [acme, globex] = [await defineTenant(database.admin), await defineTenant(database.admin, { type: 'jwt' })];
  store = new TenantMap(acme, globex);
});
afterAll(() => database?.stop());

/** An application whose tenants are signed in already, and have just called: a limit for each holds while there are others. */
async function start(options: Parameters<typeof moduleOptions>[2]) {
  const app = await createContext(moduleOptions(database, store, options));
  const tenancy = app.get(Tenancy);
  for (const tenant of [acme, globex]) await tenancy.run(tenant, (db) => db.query('RETURN 1'));
  return { app, tenancy, [Symbol.asyncDispose]: () => app.close() };
}

/** The texts of the queries that the server took. */
const queries = () => faultsOf(database).requests.flatMap(({ sql }) => sql ?? []);
const code = (error: unknown) => (error as { code?: string }).code;

describe('calls', () => {
  itWithFaults('R6: of one tenant are limited in flight, and the others pass its flood', async () => {
    await using app = await start({ sockets: 1, calls: { maxInFlightPerTenant: 4 } });
    const hold = await faultsOf(database).holdAnswers({ match: 'flood' });
    faultsOf(database).clearRequests();
    const flood = Array.from({ length: 50 }, () => app.tenancy.run(acme, (db) => db.query("RETURN 'flood'")));
    expect(await app.tenancy.run(globex, (db) => db.query('RETURN 1'))).toEqual([1]);
    expect(queries()).toHaveLength(5);
    expect(app.tenancy.stats({ tenants: true })).toMatchObject({
      calls: { inFlight: 4, waiting: 46 },
      tenants: { [acme.id]: { inFlight: 4, waiting: 46 } },
    });
    await hold.release();
    expect(await Promise.all(flood)).toHaveLength(50);
    expect(app.tenancy.stats().calls).toMatchObject({ inFlight: 0, waiting: 0 });
  });

  itWithFaults('R5: that may not even wait are refused, with the limit that was hit', async () => {
    await using app = await start({ sockets: 1, calls: { maxInFlightPerTenant: 1, maxWaitingPerTenant: 2 } });
    const hold = await faultsOf(database).holdAnswers({ match: 'flood' });
    const flood = Array.from({ length: 5 }, () => app.tenancy.run(acme, (db) => db.query("RETURN 'flood'")));
    const outcomes = Promise.allSettled(flood);
    await sleep(50);
    expect(await app.tenancy.run(globex, (db) => db.query('RETURN 1'))).toEqual([1]);
    await hold.release();
    const refused = (await outcomes).filter(({ status }) => status === 'rejected');
    expect(refused).toHaveLength(2);
    expect(refused[0]).toMatchObject({ reason: { code: 'POOL_EXHAUSTED', limit: 'calls.maxWaitingPerTenant' } });
    expect(app.tenancy.stats().calls.failures).toEqual({ POOL_EXHAUSTED: 2 });
  });

  itWithFaults('R5: that wait for a reconnect are bounded in number too', async () => {
    const own = await startDatabase();
    const tenant = await defineTenant(own.admin, { type: 'jwt' });
    const options = { requestTimeoutMillis: 1_000, calls: { maxWaitingPerTenant: 3 } };
    const app = await createContext(moduleOptions(own, new TenantMap(tenant), options));
    const tenancy = app.get(Tenancy);
    await tenancy.run(tenant, (db) => db.query('RETURN 1'));
    await faultsOf(own).stop();
    const calls = Array.from({ length: 5 }, () => tenancy.run(tenant, (db) => db.query('RETURN 1')));
    const codes = (await Promise.allSettled(calls)).map((outcome) => code((outcome as PromiseRejectedResult).reason));
    expect(codes.sort()).toEqual([...Array<string>(3).fill('CONNECTION_LOST'), 'POOL_EXHAUSTED', 'POOL_EXHAUSTED']);
    await app.close();
    await own.stop();
  });

  itWithFaults('R4: that wait, for their turn or their answer, have one limit for all of it', async () => {
    await using app = await start({ sockets: 1, requestTimeoutMillis: 400, calls: { maxInFlightPerTenant: 1 } });
    const hold = await faultsOf(database).holdAnswers({ match: 'slow' });
    const began = Date.now();
    const outcomes = await Promise.allSettled(
      Array.from({ length: 3 }, () => app.tenancy.run(acme, (db) => db.query("RETURN 'slow'"))),
    );
    expect(Date.now() - began).toBeLessThan(2_000);
    expect(outcomes.map((outcome) => code((outcome as PromiseRejectedResult).reason))).toEqual([
      'REQUEST_TIMEOUT',
      'POOL_EXHAUSTED',
      'POOL_EXHAUSTED',
    ]);
    await hold.release();
  });

  it('R6: of different tenants go over several sockets', async () => {
    const tenants = await Promise.all(
      Array.from({ length: 12 }, (_, index) => defineTenant(database.admin, { id: `tenant-${index}`, type: 'jwt' })),
    );
    await using app = await start({ sockets: 3 });
    for (const tenant of tenants) {
      expect(await app.tenancy.run(tenant, (db) => db.query('RETURN session::ns()'))).toEqual([tenant.namespace]);
    }
    const sockets = app.tenancy.stats().sockets.filter(({ purpose }) => purpose === 'sessions');
    expect(sockets.map(({ state }) => state)).toEqual(['open', 'open', 'open']);
  });
});

describe('sessions of their own', () => {
  it('R6: of one tenant are limited, so that the others get theirs', async () => {
    await using app = await start({ sessions: { max: 10, maxOwnPerTenant: 2, acquireTimeoutMillis: 200 } });
    const attached = [await app.tenancy.attach(acme), await app.tenancy.attach(acme)];
    const third = app.tenancy.attach(acme);
    await app.tenancy.run(globex, (db) => db.set('a', 1));
    await expect(third).rejects.toMatchObject({ code: 'POOL_EXHAUSTED', limit: 'sessions.maxOwnPerTenant' });
    // Who changes nothing needs none.
    expect(await app.tenancy.run(acme, (db) => db.query('RETURN 1'))).toEqual([1]);
    const fourth = app.tenancy.attach(acme);
    await attached[0]!.detach();
    await (await fourth).detach();
    await attached[1]!.detach();
  });
});

describe('bounds of a call', () => {
  itWithFaults('a unit of work, a handler and a single call can have a limit of their own', async () => {
    await using app = await start({ requestTimeoutMillis: 10_000 });
    const hold = await faultsOf(database).holdAnswers({ match: 'slow' });
    const slow = (db: Pick<TenantSession, 'query'>) => Promise.resolve(db.query("RETURN 'slow'"));
    const bounds = { requestTimeoutMillis: 100 };
    const began = Date.now();
    await expect(app.tenancy.run(acme, slow, bounds)).rejects.toMatchObject({ code: 'REQUEST_TIMEOUT' });
    await app.tenancy.run(acme, async (db) => {
      await expect(slow(db.withOptions(bounds))).rejects.toMatchObject({ code: 'REQUEST_TIMEOUT' });
    });
    await using attached = await app.tenancy.attach(acme, bounds);
    await expect(slow(attached)).rejects.toMatchObject({ code: 'REQUEST_TIMEOUT' });

    @Controller()
    @UseGuards(TenantGuard)
    class SlowController {
      @Get()
      @CallTimeout(100)
      get(@TenantSession() db: TenantSession) {
        return db.query("RETURN 'slow'");
      }
    }
    const http = await listen(moduleOptions(database, store), { controllers: [SlowController] });
    expect((await fetch(http.url, { headers: { 'x-tenant-id': acme.id } })).status).toBe(504);
    expect(Date.now() - began).toBeLessThan(5_000);
    await http.app.close();
    await hold.release();
  });

  it.each([
    ['requestTimeoutMillis', { requestTimeoutMillis: -1 }],
    ['signal', { signal: {} as AbortSignal }],
    ['requestTimeoutMillis', { requestTimeoutMillis: '5000' as unknown as number }],
    ['timeout', { timeout: 5 } as object],
  ])('a wrong %s is refused by name', async (name, options) => {
    await using app = await start({});
    await expect(app.tenancy.run(acme, () => 1, options)).rejects.toMatchObject({
      code: 'INVALID_OPTIONS',
      message: expect.stringContaining(`"${name}"`),
    });
  });

  it('a wrong @CallTimeout() is refused where it stands', () => {
    expect(() => CallTimeout(0)).toThrow(/requestTimeoutMillis/);
  });
});

describe('an AbortSignal', () => {
  itWithFaults('ends the waiting for an answer, with its reason', async () => {
    await using app = await start({});
    const hold = await faultsOf(database).holdAnswers({ match: 'slow' });
    const controller = new AbortController();
    const { signal } = controller;
    await app.tenancy.run(acme, async (db) => {
      const call = Promise.resolve(db.withOptions({ signal }).query("RETURN 'slow'"));
      setTimeout(() => controller.abort(new Error('enough')), 50);
      await expect(call).rejects.toThrow('enough');
      // The session itself is as good as before.
      expect(await db.query('RETURN 1')).toEqual([1]);
      await expect(Promise.resolve(db.withOptions({ signal }).query('RETURN 2'))).rejects.toThrow('enough');
    });
    expect(queries()).not.toContain('RETURN 2');
    expect(getEventListeners(signal, 'abort')).toHaveLength(0);
    await hold.release();
  });

  itWithFaults('of a unit of work ends all its calls; one that waits for its turn is never sent', async () => {
    await using app = await start({ sockets: 1, calls: { maxInFlightPerTenant: 1 } });
    const hold = await faultsOf(database).holdAnswers({ match: 'slow' });
    const signal = AbortSignal.timeout(100);
    const unit = app.tenancy.run(acme, (db) => Promise.allSettled([db.query("RETURN 'slow'"), db.query('RETURN 3')]), { signal }); // prettier-ignore
    for (const outcome of await unit) expect(outcome).toMatchObject({ reason: { name: 'TimeoutError' } });
    await hold.release();
    await app.tenancy.run(acme, (db) => db.query('RETURN 1'));
    expect(queries()).not.toContain('RETURN 3');
    expect(getEventListeners(signal, 'abort')).toHaveLength(0);
  });

  itWithFaults('cancels the transaction of its unit of work', async () => {
    await using app = await start({});
    const controller = new AbortController();
    const work = app.tenancy.run(
      acme,
      async (db) => {
        const transaction = await db.begin();
        controller.abort(new Error('enough'));
        await transaction.query('RETURN 1');
      },
      controller,
    );
    await expect(work).rejects.toThrow(/signal|enough/);
    expect(await faultsOf(database).openTransactions()).toBe(0);
  });
});

describe('calls that nobody waits for any more', () => {
  itWithFaults('R6: keep their place as long as the server works at them, and leave nothing there', async () => {
    await using app = await start({ sockets: 1, requestTimeoutMillis: 100, calls: { maxInFlightPerTenant: 2 } });
    const hold = await faultsOf(database).holdAnswers({ match: 'slow' });
    const begins = await faultsOf(database).holdAnswers({ method: 'begin' });
    faultsOf(database).clearRequests();
    await expect(app.tenancy.run(globex, (db) => db.begin())).rejects.toMatchObject({ code: 'REQUEST_TIMEOUT' });
    for (let round = 0; round < 5; round++) {
      const slow = () => app.tenancy.run(acme, (db) => db.query("RETURN 'slow'"));
      const outcomes = await Promise.allSettled([slow(), slow()]);
      for (const outcome of outcomes) expect(outcome.status).toBe('rejected');
    }
    expect(queries()).toHaveLength(2);
    expect(app.tenancy.stats({ tenants: true }).tenants).toMatchObject({ [acme.id]: { inFlight: 2, waiting: 0 } });
    await begins.release();
    await hold.release();
    for (let tries = 0; tries < 100 && (await faultsOf(database).openTransactions()) > 0; tries++) await sleep(10);
    expect(await faultsOf(database).openTransactions()).toBe(0);
    // What the server is done with it says a moment later.
    for (let tries = 0; tries < 100 && app.tenancy.stats().calls.inFlight > 0; tries++) await sleep(10);
    expect(app.tenancy.stats().calls.inFlight).toBe(0);
  });

  itWithFaults('R5: do not go on waiting for a reconnect in the place of others', async () => {
    const own = await startDatabase();
    const tenant = await defineTenant(own.admin, { type: 'jwt' });
    const app = await createContext(moduleOptions(own, new TenantMap(tenant), { calls: { maxWaitingPerTenant: 2 } }));
    const tenancy = app.get(Tenancy);
    await tenancy.run(tenant, (db) => db.query('RETURN 1'));
    await faultsOf(own).stop();
    for (let round = 0; round < 4; round++) {
      const call = tenancy.run(tenant, (db) => db.query('RETURN 1'), { requestTimeoutMillis: 50 });
      await expect(call).rejects.toMatchObject({ code: 'CONNECTION_LOST' });
    }
    expect(tenancy.stats().calls.waiting).toBe(0);
    await app.close();
    await own.stop();
  });

  itWithFaults('R6: an abort with a timeout of this library holds up nobody', async () => {
    const app = await createContext(moduleOptions(database, store, { requestTimeoutMillis: 3_000 }));
    const hold = await faultsOf(database).holdAnswers({ method: 'authenticate' });
    const controller = new AbortController();
    const call = app.get(Tenancy).run(globex, (db) => db.query('RETURN 1'), controller);
    setTimeout(() => controller.abort(new RequestTimeoutError('the first of several calls')), 100);
    const began = Date.now();
    await expect(call).rejects.toThrow('the first of several calls');
    expect(Date.now() - began).toBeLessThan(1_500);
    await hold.release();
    await app.close();
  });

  itWithFaults('bounds hold for sign-ins too', async () => {
    await using app = await start({});
    const hold = await faultsOf(database).holdAnswers({ method: 'signin' });
    const credentials = { username: 'nobody', password: 'none' };
    const began = Date.now();
    const work = (db: TenantSession) => db.signin(credentials);
    const bounds = { requestTimeoutMillis: 200 };
    await expect(app.tenancy.run(acme, work, bounds)).rejects.toMatchObject({ code: 'REQUEST_TIMEOUT' });
    expect(Date.now() - began).toBeLessThan(3_000);
    await hold.release();
  });

  it('any number of calls can share a signal', async () => {
    const warnings: Error[] = [];
    const onWarning = (warning: Error) => warnings.push(warning);
    process.on('warning', onWarning);
    await using app = await start({});
    const { signal } = new AbortController();
    await app.tenancy.run(
      acme,
      (db) => Promise.all(Array.from({ length: 30 }, () => db.withOptions({ signal }).query('RETURN 1'))),
      { signal },
    );
    await sleep(10);
    process.off('warning', onWarning);
    expect(warnings).toEqual([]);
    expect(getEventListeners(signal, 'abort')).toHaveLength(0);
  });
});

describe('a client that goes away', () => {
  itWithFaults('cancels what its request still waits for: it is never sent', async () => {
    const ended: unknown[] = [];

    @Controller()
    @UseGuards(TenantGuard)
    class SlowController {
      @Get()
      async get(@TenantSession() db: TenantSession) {
        const calls = [db.query("RETURN 'slow'"), db.query('RETURN 4')];
        for (const outcome of await Promise.allSettled(calls))
          ended.push(code((outcome as PromiseRejectedResult).reason));
      }
    }
    const options = moduleOptions(database, store, { calls: { maxInFlight: 1 } });
    const { app, url } = await listen(options, { controllers: [SlowController] });
    await app.get(Tenancy).run(acme, (db) => db.query('RETURN 1'));
    const hold = await faultsOf(database).holdAnswers({ match: 'slow' });
    const client = new AbortController();
    const gone = fetch(url, { headers: { 'x-tenant-id': acme.id }, signal: client.signal }).catch(() => 'gone');
    for (let tries = 0; tries < 200 && app.get(Tenancy).stats().calls.waiting === 0; tries++) await sleep(10);
    client.abort();
    expect(await gone).toBe('gone');
    for (let tries = 0; tries < 200 && ended.length === 0; tries++) await sleep(10);
    expect(ended).toEqual(['SESSION_CLOSED', 'SESSION_CLOSED']);
    await hold.release();
    await app.get(Tenancy).run(acme, (db) => db.query('RETURN 1'));
    expect(queries()).not.toContain('RETURN 4');
    await app.close();
  });
});

describe('the leak watch', () => {
  it('reports a session that is held for too long, once, with where it was taken, and no other', async () => {
    const warn = jest.spyOn(Logger.prototype, 'warn').mockImplementation(() => undefined);
    await using app = await start({ sessions: { leakDetectionMillis: 100 } });
    async function takeAndForget() {
      return await app.tenancy.attach(acme);
    }
    const kept = await takeAndForget();
    await app.tenancy.run(globex, (db) => db.query('RETURN 1'));
    await sleep(600);
    expect(warn.mock.calls).toEqual([
      [expect.stringMatching(new RegExp(`tenant "${acme.id}".*attach.*leakDetectionMillis.*takeAndForget`, 's'))],
    ]);
    expect(app.tenancy.stats().leaks).toBe(1);
    await kept.detach();
    warn.mockRestore();
  });

  it('names the request and the line of a service, without the query of the url', async () => {
    const warn = jest.spyOn(Logger.prototype, 'warn').mockImplementation(() => undefined);

    @Controller('slow')
    @UseGuards(TenantGuard)
    class HoldingController {
      constructor(private readonly db: TenantSession) {}

      @Get()
      async takesItHere() {
        await this.db.query('RETURN 1');
        await sleep(400);
      }
    }
    const options = moduleOptions(database, store, { sessions: { leakDetectionMillis: 100 } });
    const { app, url } = await listen(options, { controllers: [HoldingController] });
    await fetch(`${url}/slow?token=secret`, { headers: { 'x-tenant-id': acme.id } });
    expect(warn.mock.calls).toEqual([[expect.stringMatching(/GET \/slow\).*takesItHere/s)]]);
    expect(JSON.stringify(warn.mock.calls)).not.toContain('secret');
    await app.close();
    warn.mockRestore();
  });
});

describe('stats()', () => {
  itWithFaults('tells of sockets, sessions, sign-ins and calls, and nothing changes it', async () => {
    await using app = await start({ sockets: 1 });
    await using attached = await app.tenancy.attach(acme);
    const stats = app.tenancy.stats({ tenants: true });
    expect(stats).toEqual({
      sockets: [
        { purpose: 'central', state: 'open', inFlight: 0, reconnects: 0 },
        { purpose: 'sessions', state: 'open', inFlight: 0, reconnects: 0 },
        { purpose: 'signins', state: 'open', inFlight: 0, reconnects: 0 },
        { purpose: 'logins', state: 'idle', inFlight: 0, reconnects: 0 },
      ],
      sessions: { max: 10_000, total: 3, inUse: 1, idle: 2, own: 1, ready: 3, waiting: 0 },
      calls: { total: 3, inFlight: 0, waiting: 0, failures: {} },
      signins: { total: 1, pending: 0, refused: 0 },
      units: 0,
      leaks: 0,
      tenants: {
        [acme.id]: { sessions: 2, inUse: 1, own: 1, inFlight: 0, waiting: 0 },
        [globex.id]: { sessions: 1, inUse: 0, own: 0, inFlight: 0, waiting: 0 },
      },
    });
    expect(app.tenancy.stats().tenants).toBeUndefined();
    expect(() => ((stats.sessions as { total: number }).total = 0)).toThrow(TypeError);
    expect(() => ((stats as { units: number }).units = 0)).toThrow(TypeError);
    await dropConnections(database);
    for (let tries = 0; tries < 200 && app.tenancy.stats().sockets[1]!.reconnects === 0; tries++) await sleep(10);
    expect(app.tenancy.stats()).toMatchObject({ sessions: { ready: 0, total: 3 } });
    expect(attached.isClosed).toBe(false);
  });
});
