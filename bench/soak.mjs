// A million units of work: whether anything of them stays behind in the application.
import 'reflect-metadata';
import { Session } from 'node:inspector';
import { NestFactory } from '@nestjs/core';
import { RecordId } from 'surrealdb';
import { InMemoryTenantStore, Tenancy } from '../dist/index.js';
import { settledHeap } from './support/heap.mjs';
import { inParallel } from './support/parallel.mjs';
import { atMost, below, section } from './support/section.mjs';
import { median } from './support/statistics.mjs';
import { defineTenants, surrealModule, tenants } from './support/tenants.mjs';

const CONCURRENCY = 64;
const TENANTS = 50;
/** Every so many units of work, one changes its session, and so gets one of its own. */
const CHANGES_EVERY = 1_000;
/** The first of them is the warm-up. */
const STAGES = 20;
/** So many stages' samples make one: a single sample of a heap is noise. */
const SAMPLES = 3;
const RECORD = new RecordId('note', 'one');

/** Units of work of all tenants in turn, one query each. */
async function run(tenancy, list, units) {
  await inParallel(numbersUpTo(units), CONCURRENCY, (number) =>
    tenancy.run(list[number % list.length].id, async (db) => {
      if (number % CHANGES_EVERY === 0) await db.set('number', number);
      await db.select(RECORD);
    }),
  );
}

function* numbersUpTo(end) {
  for (let number = 0; number < end; number++) yield number;
}

/** What is alive in this process while nothing is under way. */
async function census() {
  const heap = await settledHeap();
  const emitters = [process, ...process._getActiveHandles().filter((handle) => 'eventNames' in handle)];
  return {
    heap,
    timers: await countTimers(),
    listeners: emitters.reduce((sum, emitter) => sum + countListeners(emitter), 0),
    resources: countResources(),
  };
}

/** Also those that keep no process alive, which `process.getActiveResourcesInfo()` does not show. */
async function countTimers() {
  const session = new Session();
  session.connect();
  const post = (method, params) =>
    new Promise((resolve, reject) => {
      session.post(method, params, (error, result) => (error === null ? resolve(result) : reject(error)));
    });
  globalThis.timerPrototype = timerPrototype();
  const { result } = await post('Runtime.evaluate', { expression: 'timerPrototype' });
  const { objects } = await post('Runtime.queryObjects', { prototypeObjectId: result.objectId });
  const count = await post('Runtime.callFunctionOn', {
    objectId: objects.objectId,
    functionDeclaration: 'function () { return this.filter((timer) => !timer._destroyed).length; }',
    returnByValue: true,
  });
  session.disconnect();
  return count.result.value;
}

function timerPrototype() {
  const timer = setTimeout(() => undefined);
  clearTimeout(timer);
  return Object.getPrototypeOf(timer);
}

const countListeners = (emitter) => emitter.eventNames().reduce((sum, name) => sum + emitter.listenerCount(name), 0);

function countResources() {
  const counts = {};
  for (const type of process.getActiveResourcesInfo()) counts[type] = (counts[type] ?? 0) + 1;
  return counts;
}

await section(async (server, isQuick) => {
  const units = isQuick ? 40_000 : 1_000_000;
  const list = tenants(TENANTS);
  await defineTenants(server, list);
  const module = surrealModule(server, new InMemoryTenantStore(list));
  const app = await NestFactory.createApplicationContext(module, { logger: false });
  const tenancy = app.get(Tenancy);
  const begin = performance.now();
  const stages = [];
  for (let stage = 0; stage < STAGES; stage++) {
    await run(tenancy, list, units / STAGES);
    // The server's log of requests is a file that is not read here.
    server.clearRequests();
    stages.push(await census());
  }
  const seconds = (performance.now() - begin) / 1_000;
  await app.close();

  const heap = (of) => median(of.map((stage) => stage.heap));
  const [warm, end] = [stages.slice(0, SAMPLES), stages.slice(-SAMPLES)];
  const added = (kind) => end.at(-1)[kind] - warm[0][kind];
  const growth = (100 * (heap(end) - heap(warm))) / heap(warm);
  const name = `${units} units of work, one query each`;
  const table = [0, 4, 9, 14, 19].map((stage) => row(name, units, stages, stage));
  return {
    tables: [table],
    figures: [
      below(`heap growth over ${name}`, 1, growth, ' %'),
      atMost('timers added', 0, added('timers')),
      atMost('listeners added', 0, added('listeners')),
    ],
    raw: { units, seconds, stages },
  };
});

function row(name, units, stages, stage) {
  const { heap, timers, listeners, resources } = stages[stage];
  return {
    [name]: `after ${(units / STAGES) * (stage + 1)}`,
    'heap, KiB': Math.round(heap / 1_024),
    timers,
    listeners,
    'active resources': Object.entries(resources)
      .map(([type, count]) => `${count} ${type}`)
      .join(', '),
  };
}
