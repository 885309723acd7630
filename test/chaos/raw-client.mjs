import { once } from 'node:events';
import { CborCodec, parseRpcError } from 'surrealdb';
import { WebSocket } from 'ws';

const CALL_MILLIS = 3_000;
const RETRY_MILLIS = 100;
const codec = new CborCodec({});

/**
 * A socket without any cleverness: every call is one frame, nothing is repeated or restored. Whoever opens closes it.
 * A call ends within 3 seconds.
 */
async function openSocket(url) {
  const socket = new WebSocket(url, 'cbor', { handshakeTimeout: CALL_MILLIS });
  const calls = new Map();
  let lastId = 0;
  await once(socket, 'open');
  socket.on('error', () => undefined);
  socket.on('close', () => calls.forEach(({ reject }) => reject(lost('socket closed'))));
  socket.on('message', (data) => {
    const { id, result, error } = decode(data) ?? {};
    const call = calls.get(id);
    if (error) call?.reject(parseRpcError(error));
    else call?.resolve(result);
  });
  const call = (method, params, where = {}) => {
    const id = String(++lastId);
    let timer;
    return new Promise((resolve, reject) => {
      timer = setTimeout(() => reject(lost('no answer')), CALL_MILLIS);
      calls.set(id, { resolve, reject });
      socket.send(codec.encode({ id, method, ...(params ? { params } : {}), ...where }), (error) => {
        if (error) reject(lost(error.message));
      });
    }).finally(() => {
      clearTimeout(timer);
      calls.delete(id);
    });
  };
  const query = async (sql, variables = {}, where = {}) => {
    const results = await call('query', [sql, variables], where);
    const failed = results.find(({ status }) => status !== 'OK');
    if (failed) throw new Error(String(failed.result));
    return results.map(({ result }) => result);
  };
  return { call, query, isOpen: () => socket.readyState === socket.OPEN, close: () => socket.terminate() };
}

/** Signs a socket in as the server's own user. */
export async function openAsRoot(url, { username, password }) {
  const socket = await openSocket(url);
  try {
    await socket.call('signin', [{ user: username, pass: password }]);
    return socket;
  } catch (error) {
    socket.close();
    throw error;
  }
}

/**
 * Runs SurrealQL as root, on a socket of its own, and again when that is cut: it must bear being run twice.
 * @throws Error the last one, after 20 seconds
 */
export async function queryAsRoot({ url, root }, sql) {
  for (const deadline = Date.now() + 20_000; ;) {
    let socket;
    try {
      socket = await openAsRoot(url, root);
      return await socket.query(sql);
    } catch (error) {
      if (Date.now() > deadline) throw error;
      await new Promise((resolve) => setTimeout(resolve, RETRY_MILLIS));
    } finally {
      socket?.close();
    }
  }
}

// The server sends garbage at times; whoever is asked again gets over it.
function decode(data) {
  try {
    return codec.decode(new Uint8Array(data));
  } catch {
    return undefined;
  }
}

function lost(message) {
  return Object.assign(new Error(message), { code: 'CONNECTION_LOST', outcome: 'unknown' });
}
