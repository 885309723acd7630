// An application under load, in a process of its own. The parent says what to do, one message at a time.
import 'reflect-metadata';
import { setTimeout as sleep } from 'node:timers/promises';
import { NestFactory } from '@nestjs/core';
import { fromTenantId, SurrealModule, Tenancy } from '../../dist/index.js';
import { Journal } from './journal.mjs';
import { Load } from './load.mjs';
import { naiveTenancy } from './naive.mjs';

const RETRY_MILLIS = 100;
const records = new Map();
let app;
let tenancy;
let journal;
let load;
let isClosing = false;

const COMMANDS = {
  async start({ url, root, tenants, requestTimeoutMillis, application, naive }) {
    for (const record of tenants) records.set(record.id, record);
    const module = SurrealModule.forRoot({
      url,
      authentication: root,
      tenants: {
        strategies: [fromTenantId(tenants[0].id)],
        store: { findByIdentifier: async (id) => records.get(id) },
      },
      // Sessions that nobody uses are closed while others are in use.
      sessions: { idleTimeoutMillis: 2_000, maxLifetimeMillis: 20_000 },
      requestTimeoutMillis,
    });
    app = await NestFactory.createApplicationContext(module, { logger: false });
    tenancy = app.get(Tenancy);
    if (naive !== undefined) tenancy = naiveTenancy(naive, tenancy, { url, root });
    journal = new Journal(application, (entries) => process.send({ entries }));
  },

  /** Waits until every tenant can query. @returns for each, after how many milliseconds, or the last error */
  async reach({ limitMillis }) {
    return await Promise.all([...records.keys()].map((tenant) => reach(tenant, limitMillis)));
  },

  load: (options) => void (load = new Load(tenancy, journal, options)),

  /** Ends the load. @returns the calls that do not end */
  async stop({ limitMillis }) {
    await load.stop(limitMillis);
    journal.flush();
    return journal.pending;
  },

  put: (record) => void records.set(record.id, record),

  evict: async ({ tenant }) => void (await tenancy.evict(tenant)),

  /** What keeps the process alive, by kind. */
  resources() {
    const counts = {};
    for (const kind of process.getActiveResourcesInfo()) counts[kind] = (counts[kind] ?? 0) + 1;
    return counts;
  },

  async close() {
    journal.close();
    isClosing = true;
    // Of the naive ones some have a socket of their own.
    await tenancy.close?.();
    await app.close();
  },
};

async function reach(tenant, limitMillis) {
  const begin = Date.now();
  for (;;) {
    try {
      await tenancy.run(tenant, (db) => db.query('RETURN 1'));
      return { tenant, millis: Date.now() - begin };
    } catch (error) {
      if (Date.now() - begin > limitMillis) return { tenant, error: error.message };
      await sleep(RETRY_MILLIS);
    }
  }
}

process.on('message', ({ id, command, argument }) => {
  void (async () => COMMANDS[command](argument))().then(
    (result) => process.send({ id, result }, () => isClosing && process.disconnect()),
    (error) => process.send({ id, error: `${command}: ${error.stack}` }),
  );
});
// Whoever started it is gone, unless the application itself has hung up: then it must end by itself.
process.on('disconnect', () => isClosing || process.exit(1));
