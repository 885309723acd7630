// Many tenants on one connection: bytes of each in the application's heap, its first query, and the first one after a drop.
import 'reflect-metadata';
import { setTimeout } from 'node:timers/promises';
import { NestFactory } from '@nestjs/core';
import { RecordId } from 'surrealdb';
import { InMemoryTenantStore, Tenancy } from '../dist/index.js';
import { inParallel } from './support/parallel.mjs';
import { settledHeap } from './support/heap.mjs';
import { atLeast, atMost, section } from './support/section.mjs';
import { median, round } from './support/statistics.mjs';
import { defineTenants, surrealModule, tenants } from './support/tenants.mjs';

const CONCURRENCY = 64;
/** Tenants that go every way once before anything is measured, so that what is made once is made. */
const WARM = 64;
/** Sign-ins with a password cost the server 50 to 120 ms each. */
const SAMPLE = 60;
const DROPS = 3;
const RECORD = new RecordId('note', 'one');

const read = (tenancy, { id }) => tenancy.run(id, (db) => db.select(RECORD));
const know = (tenancy, { id }) => tenancy.run(id, () => undefined);

/** An application with these tenants in its store. */
async function start(server, list, options) {
  const module = surrealModule(server, new InMemoryTenantStore(list), { sockets: 1, ...options });
  const app = await NestFactory.createApplicationContext(module, { logger: false });
  return { tenancy: app.get(Tenancy), close: () => app.close() };
}

const SESSIONS = { max: 20_000, idleTimeoutMillis: 3_600_000 };
const CACHE = { ttlMillis: 3_600_000, max: 20_000 };

/** Heap per tenant once it is known, once it has a session, and once that was closed again. */
async function measureMemory(server, list, cache) {
  const [warm, counted] = [list.slice(0, WARM), list.slice(WARM)];
  const { tenancy, close } = await start(server, list, { sessions: SESSIONS, tenants: { cache } });
  const visit = (of, visitor) => inParallel(of, CONCURRENCY, (tenant) => visitor(tenancy, tenant));
  await visit(warm, read);
  const begin = await settledHeap();
  await visit(counted, know);
  const known = await settledHeap();
  await visit(counted, read);
  const live = await settledHeap();
  await close();
  return { known: (known - begin) / counted.length, live: (live - known) / counted.length };
}

/** Heap per tenant whose session was closed for being idle. */
async function measureOnceLive(server, list) {
  const [warm, counted] = [list.slice(0, WARM), list.slice(WARM)];
  const { tenancy, close } = await start(server, list, { sessions: { ...SESSIONS, idleTimeoutMillis: 1_000 } });
  const idle = async () => {
    while ((await server.sessions()) > 0) await setTimeout(100);
  };
  await inParallel(warm, CONCURRENCY, (tenant) => read(tenancy, tenant));
  await idle();
  const begin = await settledHeap();
  await inParallel(counted, CONCURRENCY, (tenant) => read(tenancy, tenant));
  await idle();
  const after = await settledHeap();
  await close();
  return (after - begin) / counted.length;
}

/** The first queries after all sockets were cut, while all tenants of the list are live. */
async function measureDrop(server, list) {
  const { tenancy, close } = await start(server, list, { sessions: SESSIONS });
  const [reconnect, next, counts] = [[], [], []];
  for (let drop = 0; drop < DROPS; drop++) {
    await inParallel(list, CONCURRENCY, (tenant) => read(tenancy, tenant));
    // A socket that lived for less than a second is not connected again at once.
    await setTimeout(1_100);
    await server.dropConnections();
    server.clearRequests();
    const [first, ...others] = list.slice(0, 10);
    reconnect.push(await timed(() => read(tenancy, first)));
    for (const tenant of others) next.push(await timed(() => read(tenancy, tenant)));
    // Without those of the central connection, which has no session and signs in again by itself.
    counts.push(methodsOf(server.requests.filter(({ session }) => session !== undefined)));
  }
  await close();
  const [methods] = counts;
  const messages = Object.values(methods).reduce((sum, count) => sum + count, 0) / 10;
  return { reconnect: median(reconnect), next: median(next), messages, methods: Object.keys(methods) };
}

function methodsOf(requests) {
  const counts = {};
  for (const { method } of requests) counts[method] = (counts[method] ?? 0) + 1;
  return counts;
}

/** Milliseconds to the first query of tenants that were never seen: one after the other, and per tenant of many at once. */
async function measureColdStart(server, list, aloneCount) {
  const { tenancy, close } = await start(server, list, { sessions: SESSIONS });
  const [alone, together] = [list.slice(0, aloneCount), list.slice(aloneCount)];
  server.clearRequests();
  const times = [];
  for (const tenant of alone) times.push(await timed(() => read(tenancy, tenant)));
  const messages = server.count() / alone.length;
  const all = await timed(() => inParallel(together, CONCURRENCY, (tenant) => read(tenancy, tenant)));
  await close();
  return { alone: median(times), together: all / together.length, messages };
}

async function timed(work) {
  const begin = performance.now();
  await work();
  return performance.now() - begin;
}

await section(async (server, isQuick) => {
  const count = isQuick ? 1_000 : 10_000;
  const list = tenants(count + WARM, 'jwt');
  const users = tenants(SAMPLE, 'user');
  await defineTenants(server, [...list, ...users]);
  // Once for nothing: the first application of a process pays for what is compiled and loaded.
  await measureMemory(server, list.slice(0, 3 * WARM), false);

  const memory = { off: await measureMemory(server, list, false), on: await measureMemory(server, list, CACHE) };
  const onceLive = await measureOnceLive(server, list);
  const drops = {};
  for (const live of [10, 1_000, count]) drops[live] ??= await measureDrop(server, list.slice(0, live));
  const cold = {
    jwt: await measureColdStart(server, list, SAMPLE / 2),
    user: await measureColdStart(server, users, SAMPLE / 2),
  };
  return {
    tables: [
      memoryTable(count, memory, onceLive),
      dropTable(drops),
      coldTable(cold, { jwt: list.length, user: SAMPLE }),
    ],
    figures: figures(count, memory, drops[count], cold),
    raw: { count, memory, onceLive, drops, cold },
  };
});

function memoryTable(count, memory, onceLive) {
  const rows = Object.entries(memory).map(([cache, { known, live }]) => ({
    [`heap of the application, bytes per tenant of ${count}`]: `tenants.cache ${cache}`,
    'known, idle': round(known),
    'and its live session': round(live),
  }));
  return [
    ...rows,
    { [Object.keys(rows[0])[0]]: 'after its session was closed as idle', 'known, idle': round(onceLive) },
  ];
}

function dropTable(drops) {
  return Object.entries(drops).map(([live, { reconnect, next, messages, methods }]) => ({
    'first query after a drop': `${live} live tenants`,
    'very first, ms': round(reconnect),
    "another tenant's first, ms": round(next),
    messages,
    methods: methods.join(', '),
  }));
}

function coldTable(cold, counts) {
  return Object.entries(cold).map(([type, { alone, together, messages }]) => ({
    'cold start': `${counts[type]} tenants with ${type} credentials`,
    'alone, ms': round(alone),
    [`${CONCURRENCY} at a time, ms per tenant`]: round(together),
    messages,
  }));
}

function figures(count, memory, drop, cold) {
  const worst = (kind) => Math.max(...Object.values(memory).map((bytes) => bytes[kind]));
  return [
    atMost(`heap per live session, ${count} tenants`, 4_096, worst('live'), ' bytes'),
    atMost(`heap per known idle tenant, ${count} tenants`, 500, worst('known'), ' bytes'),
    atMost(`messages of the first query after a drop, ${count} live tenants`, 3, drop.messages),
    atLeast('cold start of all tenants: jwt against user', 20, cold.user.together / cold.jwt.together, ' times'),
  ];
}
