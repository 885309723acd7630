import { once } from 'node:events';
import { CborCodec, parseRpcError, type Uuid } from 'surrealdb';
import { WebSocket } from 'ws';

/** A live query's notification as it came over the socket. */
interface RawNotification {
  id: Uuid;
  action: string;
  record: unknown;
  result: unknown;
}

/** A client without any cleverness: every call is one frame, nothing is repeated or restored. */
export interface RawClient {
  socket: WebSocket;
  notifications: RawNotification[];
  /** @throws the SDK's ServerError for an error answer; Error when the socket closes before the answer. */
  call<Result = unknown>(method: string, params?: unknown[], where?: { session?: Uuid; txn?: Uuid }): Promise<Result>;
  /** Runs SurrealQL and returns the statements' results. @throws Error with the message of the first that failed. */
  query<Result = unknown[]>(
    sql: string,
    vars?: Record<string, unknown>,
    where?: { session?: Uuid; txn?: Uuid },
  ): Promise<Result>;
  close(): Promise<void>;
}

const codec = new CborCodec({});

/** Opens a socket. Whoever calls closes it. */
export async function connect(url: string): Promise<RawClient> {
  const socket = new WebSocket(url, 'cbor');
  const calls = new Map<string, { resolve: (result: never) => void; reject: (error: Error) => void }>();
  const notifications: RawNotification[] = [];
  let lastId = 0;
  socket.on('message', (data: Buffer) => {
    const { id, result, error } = codec.decode<{
      id?: string;
      result?: unknown;
      error?: Parameters<typeof parseRpcError>[0];
    }>(new Uint8Array(data));
    const call = calls.get(String(id));
    if (call === undefined) return void notifications.push(result as RawNotification);
    calls.delete(String(id));
    if (error) call.reject(parseRpcError(error));
    else call.resolve(result as never);
  });
  socket.on('close', () => calls.forEach(({ reject }) => reject(new Error('socket closed'))));
  await once(socket, 'open');
  socket.on('error', () => undefined);

  const client: RawClient = {
    socket,
    notifications,
    call: (method, params, where = {}) =>
      new Promise((resolve, reject) => {
        const id = String(++lastId);
        calls.set(id, { resolve, reject });
        socket.send(codec.encode({ id, method, ...(params ? { params } : {}), ...where }));
      }),
    query: async <Result>(sql: string, vars: Record<string, unknown> = {}, where = {}) => {
      const results = await client.call<{ status: string; result: unknown }[]>('query', [sql, vars], where);
      const failed = results.find(({ status }) => status !== 'OK');
      if (failed) throw new Error(String(failed.result));
      return results.map(({ result }) => result) as Result;
    },
    close: async () => {
      if (socket.readyState === socket.CLOSED) return;
      socket.close();
      await once(socket, 'close');
    },
  };
  return client;
}
