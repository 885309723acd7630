import { type LiveMessage, Uuid } from 'surrealdb';
import type { RpcTransport } from '../connection/rpc-transport.js';
import type { RpcQueryResult } from './query-connection.js';

type Listener = (message: LiveMessage) => void;

interface LiveQuery {
  id: Uuid;
  session: Uuid;
  epoch: number;
  /** Each listener, with what stops its messages. */
  listeners: Map<Listener, () => void>;
}

/**
 * The live queries that one unit of work has started. They outlive a shared session's use by that unit, and the embedded
 * engine goes on sending after a session is gone: each must be killed, and its listeners stopped.
 */
export class LiveSubscriptions {
  readonly #transport: RpcTransport;
  readonly #queries = new Map<string, LiveQuery>();
  readonly #reconnects = new Set<() => void>();

  constructor(transport: RpcTransport) {
    this.#transport = transport;
  }

  get isEmpty(): boolean {
    return this.#queries.size === 0 && this.#reconnects.size === 0;
  }

  /** Takes note of what a query's answer says it started, and of what it killed. */
  track(session: Uuid, results: readonly RpcQueryResult[], bindings: Record<string, unknown> = {}): void {
    for (const { type, result } of results) {
      if (type === 'live' && result instanceof Uuid) this.#start(result, session);
      if (type !== 'kill') continue;
      for (const value of Object.values(bindings)) if (value instanceof Uuid) this.#forget(value.toString());
    }
  }

  /** Listens until the returned function is called, or the unit of work ends. */
  listen(id: Uuid, listener: Listener): () => void {
    const stop = this.#transport.onLive(id, listener);
    this.#queries.get(id.toString())?.listeners.set(listener, stop);
    return stop;
  }

  /** Calls back when a new socket is up, until the returned function is called or the unit of work ends. */
  onReconnect(listener: () => void): () => void {
    const unsubscribe = this.#transport.subscribe({ connected: listener });
    const stop = () => {
      this.#reconnects.delete(stop);
      unsubscribe();
    };
    this.#reconnects.add(stop);
    return stop;
  }

  /** Tells the listeners that it is over, stops them, and kills the live queries on the server. Never throws. */
  async end(): Promise<void> {
    for (const stop of [...this.#reconnects]) stop();
    const queries = [...this.#queries.values()];
    for (const { id, listeners } of queries) {
      for (const listener of listeners.keys()) listener({ queryId: id, action: 'KILLED' });
      this.#forget(id.toString());
    }
    await Promise.all(queries.map((query) => this.#kill(query)));
  }

  #start(id: Uuid, session: Uuid): void {
    const { epoch } = this.#transport;
    // Those of an earlier socket ended with it.
    for (const [key, query] of this.#queries) if (query.epoch !== epoch) this.#forget(key);
    this.#queries.set(id.toString(), { id, session, epoch, listeners: new Map() });
  }

  #forget(key: string): void {
    for (const stop of this.#queries.get(key)?.listeners.values() ?? []) stop();
    this.#queries.delete(key);
  }

  async #kill({ id, session, epoch }: LiveQuery): Promise<void> {
    if (epoch !== this.#transport.epoch) return;
    const params = ['KILL $id', { id }];
    await this.#transport.send({ method: 'query', params, session }).catch(() => undefined);
  }
}
