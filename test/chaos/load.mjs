// What an application does all the time: units of work of all tenants, many at once.
import { setTimeout as sleep } from 'node:timers/promises';
import { Table } from '../../dist/index.js';
import { Unit } from './journal.mjs';
import { operationSequence } from './schedule.mjs';

const CREATE = 'CREATE row SET key = $key, tag = $tag';
const CREATE_MARKED = 'CREATE row SET key = $key, tag = $tag, marker = $marker RETURN VALUE marker';
const LOOK_ROUND = "RETURN [$marker ?? 'none', session::ns()]";
const LISTEN_MILLIS = 300;

/** What application code throws for reasons of its own. */
class HandlerError extends Error {
  code = 'HANDLER_ERROR';
}

/** Units of work in flight, as many as there are workers, until `stop()`. */
export class Load {
  #tenancy;
  #journal;
  #stopping = false;
  #workers;

  constructor(tenancy, journal, { seed, application, tenants, workers }) {
    this.#tenancy = tenancy;
    this.#journal = journal;
    this.#workers = Array.from({ length: workers }, (_, worker) =>
      this.#work(operationSequence(seed, application, worker, tenants)),
    );
  }

  /** Begins nothing more, and waits for what was begun, but no longer than that. */
  async stop(limitMillis) {
    this.#stopping = true;
    const timer = new AbortController();
    await Promise.race([Promise.all(this.#workers), sleep(limitMillis, undefined, timer).catch(() => undefined)]);
    timer.abort();
  }

  async #work(operations) {
    for (const operation of operations) {
      if (this.#stopping) return;
      await OPERATIONS[operation.kind](this, operation).catch((error) =>
        this.#journal.noteUnknown(error, { tenant: operation.tenant }),
      );
      await sleep(operation.thinkMillis);
    }
  }

  /** A unit of work by `tenancy.run()`. Its end is a call of its own, since what it held is given back there. */
  async run(tenant, work) {
    const unit = new Unit(this.#journal, tenant);
    let failure;
    const running = this.#tenancy.run(tenant, async (db) => {
      unit.enter(db.tenant);
      await work(db, unit).catch((error) => (failure = error));
      const isOver = running.catch((error) => error === failure || Promise.reject(error));
      unit.call('end', () => isOver).catch(() => undefined);
      if (failure !== undefined) throw failure;
    });
    await running.catch((error) => {
      unit.failed(error);
      throw error;
    });
  }

  /** A session of one's own, detached in the end. */
  async attached(tenant, work) {
    const unit = new Unit(this.#journal, tenant);
    const db = await unit.call('attach', () => this.#tenancy.attach(tenant));
    unit.enter(db.tenant);
    try {
      await work(db, unit);
    } finally {
      await unit.call('detach', () => db.detach());
    }
  }
}

const OPERATIONS = {
  create: (load, { tenant, key }) => load.run(tenant, (db, unit) => create(db, unit, tenant, key)),

  read: (load, { tenant, from }) => load.run(tenant, (db, unit) => read(db, unit, from)),

  transaction: (load, { tenant, key }) =>
    load.run(tenant, async (db, unit) => {
      const keys = [`${key}a`, `${key}b`];
      const transaction = await begin(db, unit, tenant, keys);
      await unit.write(keys, () => unit.call('commit', () => transaction.commit()));
    }),

  // Cancelled in so many words, left open at the end of the unit, or left by an error.
  cancelled: (load, { tenant, key, ending }) =>
    load.run(tenant, async (db, unit) => {
      const transaction = await begin(db, unit, tenant, [key]);
      unit.write([key]);
      if (ending === 0) await unit.call('cancel', () => transaction.cancel());
      if (ending === 1) await unit.call('fail', () => Promise.reject(new HandlerError('on purpose')));
    }),

  ownSession: (load, { tenant, key, from }) => load.run(tenant, (db, unit) => withMarker(db, unit, tenant, key, from)),

  attached: (load, { tenant, key, from }) =>
    load.attached(tenant, (db, unit) => withMarker(db, unit, tenant, key, from)),

  // Two tenants' handles in use at the same moment, in one asynchronous context.
  nested: (load, { tenant, other, key, from }) =>
    load.run(tenant, async (outer, outerUnit) => {
      await create(outer, outerUnit, tenant, `${key}a`);
      await load.run(other, async (inner, innerUnit) => {
        await settled([
          create(outer, outerUnit, tenant, `${key}b`),
          create(inner, innerUnit, other, `${key}c`),
          read(outer, outerUnit, from),
          read(inner, innerUnit, from),
        ]);
      });
    }),

  // Killed in so many words or with the unit.
  live: (load, { tenant, key, ending }) =>
    load.run(tenant, async (db, unit) => {
      const tags = new Set();
      const live = await unit.call('live', () => db.live(new Table('row')));
      live.subscribe(({ value }) => value?.tag && tags.add(value.tag));
      await sleep(LISTEN_MILLIS);
      await create(db, unit, tenant, key);
      await sleep(LISTEN_MILLIS);
      if (ending === 0) await unit.call('kill', () => live.kill());
      unit.saw({ by: 'live', tags: [...tags] });
    }),
};

async function create(db, unit, tenant, key) {
  await unit.write([key], () => unit.call('create', () => db.query(CREATE, { key, tag: tenant })));
}

/** A transaction in which the keys were written. They were cancelled unless it comes as far as the commit. */
async function begin(db, unit, tenant, keys) {
  try {
    const transaction = await unit.call('begin', () => db.begin());
    for (const key of keys) {
      await unit.call('create in transaction', () => transaction.query(CREATE, { key, tag: tenant }));
    }
    return transaction;
  } catch (error) {
    unit.write(keys);
    throw error;
  }
}

async function read(db, unit, from, expectedMarker = 'none') {
  const sql = `${LOOK_ROUND}; SELECT key, tag FROM row:${from}.. LIMIT 20`;
  const [[marker, namespace], rows] = await unit.call('read', () => db.query(sql));
  unit.saw({ by: 'read', tags: [...new Set(rows.map(({ tag }) => tag))], marker, expectedMarker, namespace });
}

/** Sets a variable that nobody else may see, and uses it. */
async function withMarker(db, unit, tenant, key, from) {
  await unit.call('set', () => db.set('marker', key));
  const write = () => unit.call('create', () => db.query(CREATE_MARKED, { key, tag: tenant }));
  const [[marker]] = await unit.write([key], write);
  unit.saw({ by: 'create', tags: [], marker, expectedMarker: key });
  await read(db, unit, from, key);
}

/** All of them, also when one fails: nothing may go on behind the end of its unit of work. */
async function settled(promises) {
  const failed = (await Promise.allSettled(promises)).find(({ status }) => status === 'rejected');
  if (failed !== undefined) throw failed.reason;
}
