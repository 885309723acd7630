// How long tenant B waits for its queries while tenant A floods the server, with limits of calls in flight per tenant and
// without. Both are on one socket.
import 'reflect-metadata';
import { setTimeout } from 'node:timers/promises';
import { NestFactory } from '@nestjs/core';
import { RecordId } from 'surrealdb';
import { InMemoryTenantStore, Tenancy } from '../dist/index.js';
import { atLeast, atMost, section } from './support/section.mjs';
import { median, percentile, round } from './support/statistics.mjs';
import { connectSdk, defineTenants, surrealModule, tenants } from './support/tenants.mjs';

/** B asks at its own pace, whatever becomes of its queries before. */
const EVERY_MILLIS = 10;
const RECORD = new RecordId('note', 'one');
/** A's units of work at once. */
const FLOOD = 300;
const BUILD_UP_MILLIS = 500;
const ROWS = 700;
/** What A floods with: the query that B asks too, and one that costs the server about 2 ms. */
const FLOODS = {
  'the same query as B': (db) => db.select(RECORD),
  'queries of about 2 ms': (db) => db.query('SELECT math::sum(n) AS sum FROM item GROUP ALL'),
};
const WITHOUT_LIMIT = 1_000_000;
/** The library's default, which the figures are of. */
const DEFAULT = 4;

const limitName = (limit) => (limit === WITHOUT_LIMIT ? 'no limit' : `at most ${limit} of a tenant in flight`);

async function start(server, list, maxInFlightPerTenant) {
  const calls = { maxInFlightPerTenant, ...(maxInFlightPerTenant === WITHOUT_LIMIT && { maxInFlight: WITHOUT_LIMIT }) };
  const module = surrealModule(server, new InMemoryTenantStore(list), { sockets: 1, calls });
  const app = await NestFactory.createApplicationContext(module, { logger: false });
  return { tenancy: app.get(Tenancy), close: () => app.close() };
}

/** B's latencies in ms. */
async function askSteadily(tenancy, { id }, millis) {
  const latencies = [];
  const ask = async (due) => {
    await tenancy.run(id, (db) => db.select(RECORD));
    latencies.push(performance.now() - due);
  };
  const begin = performance.now();
  const asked = [];
  for (let due = begin; due < begin + millis; due += EVERY_MILLIS) {
    await setTimeout(due - performance.now());
    // From when it was due: a process that is late is part of what B waits for.
    asked.push(ask(due));
  }
  await Promise.all(asked);
  return latencies;
}

/** B's latencies while A floods, and A's queries per second. */
async function flooded(query, tenancy, { id }, b, millis) {
  let isOver = false;
  let done = 0;
  const drive = async () => {
    for (; !isOver; done++) await tenancy.run(id, query);
  };
  const begin = performance.now();
  const drives = Array.from({ length: FLOOD }, drive);
  // A queue of such a length takes a moment to build up. B is there meanwhile: a tenant that comes for the first time in a
  // while finds the socket in the hands of the other, once.
  await askSteadily(tenancy, b, BUILD_UP_MILLIS);
  const latencies = await askSteadily(tenancy, b, millis);
  const floodPerSecond = (done * 1_000) / (performance.now() - begin);
  isOver = true;
  await Promise.all(drives);
  return { latencies, floodPerSecond };
}

await section(async (server, isQuick) => {
  const [a, b] = tenants(2);
  await defineTenants(server, [a, b]);
  await defineRows(server, a);
  const limits = isQuick ? [DEFAULT, WITHOUT_LIMIT] : [1, 2, DEFAULT, 16, WITHOUT_LIMIT];
  const { rounds, millis } = isQuick ? { rounds: 5, millis: 1_000 } : { rounds: 7, millis: 3_000 };
  const apps = new Map();
  for (const limit of limits) apps.set(limit, await start(server, [a, b], limit));
  const unloaded = [];
  const loaded = Object.keys(FLOODS).map((flood) => new Map(limits.map((limit) => [limit, { flood, rounds: [] }])));
  const { tenancy: first } = apps.get(DEFAULT);
  const flood = (name, tenancy, during) => flooded(FLOODS[name], tenancy, a, b, during);
  for (const { tenancy } of apps.values()) for (const name of Object.keys(FLOODS)) await flood(name, tenancy, 500);
  for (let round = 0; round < rounds; round++) {
    unloaded.push({ latencies: await askSteadily(first, b, millis), floodPerSecond: 0 });
    for (const byLimit of loaded) {
      for (const [limit, { flood: name, rounds }] of byLimit) {
        rounds.push(await flood(name, apps.get(limit).tenancy, millis));
      }
    }
  }
  for (const { close } of apps.values()) await close();
  return report(unloaded, loaded);
});

async function defineRows(server, { namespace, database }) {
  const sdk = await connectSdk(server);
  await sdk.query(`USE NS ${namespace} DB ${database}; DEFINE TABLE item;
    FOR $n IN 0..${ROWS} { CREATE type::record('item', $n) SET n = $n, text = 'some text' }`);
  await sdk.close();
}

function report(unloaded, loaded) {
  const summary = (rounds) => ({
    p50: median(rounds.map(({ latencies }) => percentile(latencies, 0.5))),
    p99: median(rounds.map(({ latencies }) => percentile(latencies, 0.99))),
    flood: median(rounds.map(({ floodPerSecond }) => floodPerSecond)),
  });
  const quiet = summary(unloaded);
  const row = (name, { p50, p99, flood }) => ({
    [`latency of B, one query every ${EVERY_MILLIS} ms`]: name,
    'p50, ms': round(p50),
    'p99, ms': round(p99),
    'p99 against alone': round(p99 / quiet.p99),
    "A's queries/s": round(flood),
  });
  const tables = [[row('B alone', quiet)]];
  const figures = [];
  const raw = { unloaded: quiet };
  for (const byLimit of loaded) {
    const summaries = new Map([...byLimit].map(([limit, { rounds }]) => [limit, summary(rounds)]));
    const [{ flood }] = byLimit.values();
    tables[0].push(
      ...[...summaries].map(([limit, found]) => row(`A floods with ${flood}, ${limitName(limit)}`, found)),
    );
    const [queue, off] = [summaries.get(DEFAULT), summaries.get(WITHOUT_LIMIT)];
    const figure = `B's 99th percentile while A floods with ${flood}`;
    figures.push(atMost(`${figure}, against alone`, 2, queue.p99 / quiet.p99, ' times'));
    figures.push(atLeast(`${figure}, without the queue against with it`, 5, off.p99 / queue.p99, ' times'));
    raw[flood] = Object.fromEntries(summaries);
  }
  return { tables, figures, raw };
}
