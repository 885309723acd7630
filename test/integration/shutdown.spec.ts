import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Controller, Get, UseGuards } from '@nestjs/common';
import { SkipTenant, SURREAL, type Surreal, Tenancy, type Tenant, TenantGuard, TenantSession } from 'nestjs-surreal';
import { createContext, listen, moduleOptions, TenantMap } from '../support/application.js';
import { asRoot, type Database, defineTenant, faultsOf, itWithFaults, startDatabase } from '../support/surreal.js';

let database: Database;
let tenant: Tenant;
let store: TenantMap;

beforeAll(async () => {
  database = await startDatabase();
  tenant = await defineTenant(database.admin, { type: 'jwt' });
  store = new TenantMap(tenant);
});
afterAll(() => database?.stop());

@Controller()
@UseGuards(TenantGuard)
class NotesController {
  constructor(private readonly db: TenantSession) {}

  @Get('slow')
  async slow() {
    await this.db.query('RETURN 1');
    await sleep(500);
    return await this.db.query('RETURN session::ns()');
  }

  @Get('endless')
  async endless() {
    await this.db.query('RETURN 1');
    await new Promise(() => undefined);
  }

  @Get('open')
  @SkipTenant()
  open() {
    return 'open';
  }
}

describe('the shutdown of an application', () => {
  const start = async (shutdownTimeoutMillis: number) => {
    const { app, url } = await listen(moduleOptions(database, store, { shutdownTimeoutMillis }), {
      controllers: [NotesController],
    });
    const get = (path: string) =>
      fetch(`${url}/${path}`, { headers: { 'x-tenant-id': tenant.id, connection: 'close' } });
    return { app, get, tenancy: app.get(Tenancy) };
  };
  const running = async (tenancy: Tenancy, count: number) => {
    for (let tries = 0; tries < 200 && tenancy.stats().sessions.inUse < count; tries++) await sleep(10);
  };

  it('lets running units of work finish, and refuses new ones with 503', async () => {
    const { app, get, tenancy } = await start(5_000);
    const slow = get('slow');
    let finish = (): void => undefined;
    const job = tenancy.run(tenant, async (db) => {
      await db.query('RETURN 1');
      await new Promise<void>((resolve) => (finish = resolve));
      return await db.query('RETURN session::ns()');
    });
    await running(tenancy, 1);
    await sleep(100);
    const closing = app.close();
    await sleep(100);
    const refused = await get('slow');
    expect([refused.status, refused.headers.get('retry-after')]).toEqual([503, '1']);
    expect(await refused.json()).toMatchObject({ code: 'SHUTTING_DOWN' });
    expect((await get('open')).status).toBe(200);
    await expect(tenancy.run(tenant, () => 1)).rejects.toMatchObject({ code: 'SHUTTING_DOWN' });
    await expect(tenancy.attach(tenant)).rejects.toMatchObject({ code: 'SHUTTING_DOWN' });
    const answer = await slow;
    expect([answer.status, await answer.json()]).toEqual([200, [tenant.namespace]]);
    finish();
    expect(await job).toEqual([tenant.namespace]);
    await closing;
  });

  itWithFaults('ends what does not finish in time, and cancels its transaction', async () => {
    const before = await faultsOf(database).sessions();
    const { app, get, tenancy } = await start(200);
    const endless = get('endless').catch((error: Error) => error);
    const job = tenancy.run(tenant, async (db) => {
      const transaction = await db.begin();
      await transaction.query('CREATE note:shutdown');
      await sleep(1_000);
      await transaction.commit();
    });
    const outcome = job.catch((error: unknown) => error);
    const attached = await tenancy.attach(tenant);
    await running(tenancy, 2);
    const began = Date.now();
    await app.close();
    expect(Date.now() - began).toBeLessThan(5_000);
    expect(await endless).toMatchObject({ message: 'fetch failed' });
    expect(await outcome).toMatchObject({ code: 'SESSION_CLOSED' });
    await expect(Promise.resolve(attached.query('RETURN 1'))).rejects.toMatchObject({ code: 'SESSION_CLOSED' });
    expect(await faultsOf(database).openTransactions()).toBe(0);
    expect(await faultsOf(database).sessions()).toBe(before);
    expect(await asRoot(database.admin, tenant, 'SELECT * FROM note:shutdown')).toEqual([[]]);
  });

  itWithFaults('does not wait for a database that answers nothing', async () => {
    const { app, tenancy } = await start(100);
    const hold = await faultsOf(database).holdAnswers({ method: 'cancel' });
    const job = tenancy.run(tenant, async (db) => {
      await db.begin();
      await new Promise(() => undefined);
    });
    void job.catch(() => undefined);
    await running(tenancy, 1);
    await sleep(100);
    const began = Date.now();
    await app.close();
    expect(Date.now() - began).toBeLessThan(8_000);
    await hold.release();
  });

  it('takes away sockets, sessions and timers, also when it is called twice', async () => {
    const app = await createContext(moduleOptions(database, store));
    await app.get(Tenancy).run(tenant, (db) => db.query('RETURN 1'));
    await app.close();
    await app.close();
    const { sockets, sessions } = app.get(Tenancy).stats();
    expect(new Set(sockets.map(({ state }) => state))).toEqual(new Set(['closed']));
    expect(sessions.total).toBe(0);
    await expect(app.get<Surreal>(SURREAL).query('RETURN 1').collect()).rejects.toThrow(/./);
  });
});

/** An application in a process of its own, which ends at a signal as a deployment's does. */
const program = (url: string, of: Tenant, work: string) => `
  import 'reflect-metadata';
  import { Module } from '@nestjs/common';
  import { NestFactory } from '@nestjs/core';
  import { SurrealModule, Tenancy, fromTenantId } from './dist/index.js';
  const tenant = ${JSON.stringify(of)};
  const store = { findByIdentifier: (id) => (id === tenant.id ? tenant : undefined) };
  class AppModule {}
  Module({ imports: [SurrealModule.forRoot({ url: '${url}', authentication: { username: 'root', password: 'root' },
    requestTimeoutMillis: 2000, shutdownTimeoutMillis: 1000, tenants: { strategies: [fromTenantId(tenant.id)], store } })] })(AppModule);
  const app = await NestFactory.create(AppModule, { logger: false });
  app.enableShutdownHooks();
  await app.listen(0);
  const tenancy = app.get(Tenancy);
  await tenancy.run(tenant, (db) => db.query('RETURN 1'));
  ${work}
  process.send('ready');
  process.channel.unref();`;

describe('a process with enableShutdownHooks()', () => {
  const run = async (work: string, fault: (own: Database) => Promise<void>) => {
    const own = await startDatabase();
    const of = await defineTenant(own.admin, { type: 'jwt' });
    const child = spawn(process.execPath, ['--input-type=module', '--eval', program(own.url, of, work)], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    const exit = once(child, 'exit');
    await Promise.race([once(child, 'message'), exit]);
    await fault(own);
    child.kill('SIGTERM');
    const overdue = setTimeout(() => child.kill('SIGKILL'), 10_000);
    const [code, signal] = (await exit) as [number | null, string | null];
    clearTimeout(overdue);
    const left = await own.server?.sessions().catch(() => 0);
    await own.stop();
    return { code, signal, left };
  };
  /** What is left running: a unit of work that never ends, a transaction, a live query, a session that nobody detached. */
  const busy = `
    void tenancy.run(tenant, async (db) => {
      await db.set('a', 1);
      await db.begin();
      await db.live({ toString: () => 'note' }).catch(() => 0);
      await new Promise(() => {});
    }).catch(() => 0);
    await tenancy.attach(tenant);`;

  it.each<[string, string]>([
    ['idle', ''],
    ['busy', busy],
  ])('ends at SIGTERM, %s, and leaves nothing on the server', async (_what, work) => {
    const { signal, left } = await run(work, async () => undefined);
    expect([signal, left ?? 0]).toEqual(['SIGTERM', 0]);
  });

  itWithFaults.each<[string, (own: Database) => Promise<void>]>([
    ['its connections were cut', async (own) => faultsOf(own).dropConnections()],
    ['the database has gone', async (own) => faultsOf(own).kill()],
    ['a call waits for an answer', async (own) => void (await faultsOf(own).holdAnswers())],
  ])(
    'ends at SIGTERM when %s',
    async (_what, fault) => {
      const { signal } = await run(
        `${busy} setInterval(() => tenancy.run(tenant, (db) => db.query('RETURN 1')).catch(() => 0), 50).unref();`,
        async (own) => {
          await fault(own);
          await sleep(200);
        },
      );
      expect(signal).toBe('SIGTERM');
    },
    30_000,
  );
});
