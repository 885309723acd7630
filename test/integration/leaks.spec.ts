import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type Database, defineTenant, startDatabase } from '../support/surreal.js';

/**
 * Runs in a process of its own: what is counted are the timers, sockets and bytes of that process, and that it ends by
 * itself. Each round takes a session of its own, since it changes it.
 */
const program = (url: string, root: object, tenant: object) => `
  import 'reflect-metadata';
  import { NestFactory } from '@nestjs/core';
  import { SurrealModule, Tenancy, fromTenantId, InMemoryTenantStore } from './dist/index.js';
  const tenant = ${JSON.stringify(tenant)};
  const module = SurrealModule.forRoot({
    url: '${url}', authentication: ${JSON.stringify(root)},
    tenants: { strategies: [fromTenantId(tenant.id)], store: new InMemoryTenantStore([tenant]) },
  });
  const app = await NestFactory.createApplicationContext(module, { logger: false });
  const tenancy = app.get(Tenancy);
  const rounds = async (count) => {
    for (let done = 0; done < count; done += 50) {
      await Promise.all(Array.from({ length: 50 }, (_, index) => tenancy.run(tenant.id, async (db) => {
        await db.set('index', index);
        const [seen] = await db.query('RETURN $index');
        if (seen !== index) throw new Error('saw ' + seen + ' instead of ' + index);
      })));
    }
  };
  const timers = () => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;
  const heap = () => { for (let i = 0; i < 4; i++) globalThis.gc(); return process.memoryUsage().heapUsed; };
  await rounds(2_000);
  const before = { timers: timers(), heap: heap() };
  await rounds(10_000);
  const after = { timers: timers(), heap: heap() };
  process.send({ before, after });
  await new Promise((resolve) => process.once('message', resolve));
  await app.close();
  process.disconnect();`;

describe('10,000 units of work that change their session', () => {
  let database: Database;
  beforeAll(async () => {
    database = await startDatabase();
  });
  afterAll(() => database?.stop());

  it('R5: leave no session on the server, no timer, no memory, and a process that ends by itself', async () => {
    const tenant = await defineTenant(database.admin);
    const idle = ((await database.server?.sessions()) ?? 0) + 1;
    const child = spawn(
      process.execPath,
      ['--expose-gc', '--input-type=module', '--eval', program(database.url, database.root, tenant)],
      { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] },
    );
    const exit = once(child, 'exit');
    const [{ before, after }] = (await Promise.race([once(child, 'message'), exit.then(failed)])) as [Counts];
    expect(after.timers).toBeLessThanOrEqual(before.timers);
    // The shared session of the tenant was never needed: nobody has queried without changing first.
    expect((await database.server?.sessions()) ?? 0).toBeLessThanOrEqual(idle);
    expect(after.heap / before.heap).toBeLessThan(1.05);
    child.send('go on');
    const overdue = setTimeout(() => child.kill('SIGKILL'), 10_000);
    expect((await exit)[0]).toBe(0);
    clearTimeout(overdue);
  }, 120_000);
});

interface Counts {
  before: { timers: number; heap: number };
  after: { timers: number; heap: number };
}

function failed(): never {
  throw new Error('The process ended before it had counted');
}
