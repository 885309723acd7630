import { openAsRoot } from './raw-client.mjs';

/**
 * Units of work without the library: all over one socket, which is signed in as the server's own user and opened again
 * when it is found closed. Finds tenants as the library does.
 * @param how to enter a tenant's database, to query in it, and to set a variable there
 */
export function rawTenancy(tenancy, server, how) {
  let opening;
  const socket = async () => {
    const last = opening;
    const open = await last?.catch(() => undefined);
    if (!open?.isOpen() && opening === last) opening = openAsRoot(server.url, server.root).then(oneAtATime);
    return await opening.catch(({ message }) => {
      throw Object.assign(new Error(message), { code: 'CONNECTION_LOST', outcome: 'not-sent' });
    });
  };
  // A unit of work of the library that queries nothing: only its tenant's record is wanted.
  const find = (tenant) => tenancy.run(tenant, (db) => db.tenant);
  const attach = async (tenant) => sessionOf(await find(tenant), socket, how);
  return {
    attach,
    run: async (tenant, work) => {
      const db = await attach(tenant);
      await work(db).finally(() => db.detach());
    },
    evict: async () => undefined,
    close: async () => (await opening?.catch(() => undefined))?.close(),
  };
}

// The engine 3.0.2 locks a session up for good, now and then, when `use` or `let` meets a query that runs on it.
function oneAtATime(socket) {
  let last = Promise.resolve();
  const inTurn = (work) => (last = last.then(work, work));
  return {
    ...socket,
    call: (...call) => inTurn(() => socket.call(...call)),
    query: (...query) => inTurn(() => socket.query(...query)),
  };
}

function sessionOf(record, socket, how) {
  const variables = {};
  const tenant = { ...record, variables };
  const open = new Set();
  const query = async (sql, bindings, where) => {
    const connected = await socket();
    await how.enter(connected, tenant);
    return await how.query(connected, tenant, sql, bindings, where);
  };
  return {
    tenant: record,
    query,
    set: async (name, value) => void (await how.set(await socket(), variables, name, value)),
    begin: async () => {
      const connected = await socket();
      const txn = await connected.call('begin');
      const cancel = () => connected.call('cancel', [txn]);
      open.add(cancel);
      const end = (how) => {
        open.delete(cancel);
        return connected.call(how, [txn]);
      };
      return {
        query: (sql, bindings) => query(sql, bindings, { txn }),
        commit: () => end('commit'),
        cancel: () => end('cancel'),
      };
    },
    live: async () => ({ subscribe: () => undefined, kill: async () => undefined }),
    detach: async () => void (await Promise.allSettled([...open].map((cancel) => cancel()))),
  };
}
