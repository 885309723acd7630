// What the checkers are for: each of these is the library with one protection taken away, or what one would write
// without it. A run with `--naive NAME` must fail; chaos.spec.ts says by which checker.
import { rawTenancy } from './naive-raw.mjs';

/**
 * Something with the `run`, `attach` and `evict` of a `Tenancy`.
 * @param {string} name one of `NAIVE_NAMES`
 * @param tenancy the library's
 * @param server its address and root user
 */
export function naiveTenancy(name, tenancy, server) {
  return NAIVE[name](tenancy, server);
}

const NAIVE = {
  /** One session for all, switched to the tenant of whoever comes. */
  'shared-session': (tenancy, server) =>
    rawTenancy(tenancy, server, {
      enter: (socket, { namespace, database }) => socket.call('use', [namespace, database]),
      query: (socket, _tenant, sql, variables, where) => socket.query(sql, variables, where),
      set: (socket, _variables, name, value) => socket.call('let', [name, value]),
    }),

  /** The server's own user for everybody: no tenant's credentials are ever looked at. */
  superuser: (tenancy, server) =>
    rawTenancy(tenancy, server, {
      enter: async () => undefined,
      query: async (socket, { namespace, database, variables }, sql, bindings, where) => {
        const text = `USE NS ${namespace} DB ${database}; ${sql}`;
        return (await socket.query(text, { ...variables, ...bindings }, where)).slice(1);
      },
      set: async (_socket, variables, name, value) => void (variables[name] = value),
    }),

  /** Says that a row is written when it has been handed over. */
  'early-ack': (tenancy) =>
    altered(tenancy, (db) => ({
      query: async (sql, variables) => {
        if (!sql.startsWith('CREATE')) return await db.query(sql, variables);
        db.query(sql, variables).catch(() => undefined);
        return [[variables.key]];
      },
    })),

  /** Sends again what got no answer, as the SDK does. */
  replays: (tenancy) =>
    altered(tenancy, (db) => ({
      query: async (sql, variables) => {
        for (;;) {
          try {
            return await db.query(sql, variables);
          } catch (error) {
            if (error.code !== 'CONNECTION_LOST') throw error;
          }
        }
      },
    })),

  /** Takes what got no answer for something that has not run. */
  'wrong-outcome': (tenancy) =>
    altered(tenancy, (db) => ({
      query: (sql, variables) =>
        db.query(sql, variables).catch(({ message, code }) => {
          throw Object.assign(new Error(message), { code, outcome: 'not-sent' });
        }),
    })),

  /** Transactions in name only. */
  autocommit: (tenancy) =>
    altered(tenancy, (db) => ({
      begin: async () => ({
        query: (sql, variables) => db.query(sql, variables),
        commit: async () => undefined,
        cancel: async () => undefined,
      }),
    })),

  /** Leaves calls unsettled when something goes wrong, as the SDK does at its close. */
  'no-timeout': (tenancy) =>
    altered(tenancy, (db) => ({
      query: (sql, variables) => db.query(sql, variables).catch(() => new Promise(() => undefined)),
    })),

  /** A session for each unit of work, and none is given back. */
  leaks: (tenancy) => ({
    ...same(tenancy),
    run: async (tenant, work) => await work(await tenancy.attach(tenant)),
  }),

  /** A circuit breaker that all tenants share: one that cannot sign in shuts out the others. */
  scapegoat: (tenancy) => {
    let open = { until: 0 };
    return altered(tenancy, (db) => ({
      query: async (sql, variables) => {
        if (Date.now() < open.until) throw open.error;
        return await db.query(sql, variables).catch((error) => {
          if (error.code === 'TENANT_SIGNIN_FAILED') open = { error, until: Date.now() + 1_000 };
          throw error;
        });
      },
    }));
  },

  /** Takes the first lost connection for the last. */
  'gives-up': (tenancy) => {
    let lost;
    return altered(tenancy, (db) => ({
      query: async (sql, variables) => {
        if (lost !== undefined) throw lost;
        return await db.query(sql, variables).catch((error) => {
          if (error.code === 'CONNECTION_LOST') lost = error;
          throw error;
        });
      },
    }));
  },
};

export const NAIVE_NAMES = Object.keys(NAIVE);

function same(tenancy) {
  return {
    run: (tenant, work) => tenancy.run(tenant, work),
    attach: (tenant) => tenancy.attach(tenant),
    evict: (tenant) => tenancy.evict(tenant),
  };
}

/** The library, with some methods of the sessions of its units of work replaced. */
function altered(tenancy, replacements) {
  const session = (db) => ({
    tenant: db.tenant,
    query: (sql, variables) => db.query(sql, variables),
    set: (name, value) => db.set(name, value),
    begin: () => db.begin(),
    live: (table) => db.live(table),
    ...replacements(db),
  });
  return { ...same(tenancy), run: (tenant, work) => tenancy.run(tenant, (db) => work(session(db))) };
}
