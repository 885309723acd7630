import { type BoundQuery, type LiveMessage, Uuid } from 'surrealdb';
import type { RpcTransport } from '../connection/rpc-transport.js';
import type { RpcQueryResult } from './query-connection.js';
import type { Dependent, ServerSession } from './server-session.js';

type Listener = (message: LiveMessage) => void;

/** Keeps the session for a live query; returns what gives it back. Throws when it is too late. */
type Adopt = (query: Dependent, session: ServerSession) => () => void;

/** The text with which the SDK ends a live query. */
const KILL = /^\s*KILL\s+\$(\w+)\s*;?\s*$/i;

/** A live query on the server. The embedded engine goes on sending after its session is gone, so it must be killed. */
class LiveQuery implements Dependent {
  readonly listeners = new Map<Listener, () => void>();
  release: () => void = () => undefined;
  readonly #transport: RpcTransport;
  readonly #id: Uuid;
  readonly #session: Uuid;
  readonly #epoch: number;
  #hasEnded = false;

  constructor(transport: RpcTransport, id: Uuid, session: Uuid) {
    this.#transport = transport;
    this.#id = id;
    this.#session = session;
    this.#epoch = transport.epoch;
  }

  get isGone(): boolean {
    return this.#epoch !== this.#transport.epoch;
  }

  /** Stops its listeners and lets go of its session; for one that has ended on the server. */
  stop(): void {
    for (const stop of this.listeners.values()) stop();
    this.listeners.clear();
    this.release();
  }

  async end(): Promise<void> {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    for (const listener of this.listeners.keys()) listener({ queryId: this.#id, action: 'KILLED' });
    if (!this.isGone) {
      const call = { method: 'query', params: ['KILL $id', { id: this.#id }], session: this.#session };
      await this.#transport.send(call, { isUrgent: true }).catch(() => undefined);
    }
    this.stop();
  }
}

/** The live queries that one unit of work has started, and who listens to them. */
export class LiveSubscriptions {
  readonly #transport: RpcTransport;
  readonly #adopt: Adopt;
  readonly #queries = new Map<string, LiveQuery>();
  readonly #reconnects = new Set<() => void>();

  constructor(transport: RpcTransport, adopt: Adopt) {
    this.#transport = transport;
    this.#adopt = adopt;
  }

  /**
   * Takes note of what a query's answer says it started, and of what it killed.
   * @param id of the session when the query was sent
   */
  async track(
    session: ServerSession,
    id: Uuid,
    { query, bindings = {} }: Pick<BoundQuery, 'query' | 'bindings'>,
    results: readonly RpcQueryResult[],
  ): Promise<void> {
    const killed = KILL.exec(query)?.[1];
    for (const { type, result } of results) {
      if (type === 'live' && result instanceof Uuid) await this.#start(result, session, id);
      // Of a text with more statements it is not said which was killed; ending one twice does no harm.
      else if (type === 'kill' && killed !== undefined) this.#forget(String(bindings[killed]));
    }
  }

  /**
   * Listens until the returned function is called, or the live query ends. To one that this unit of work has not started,
   * another tenant's say, nobody can listen: it counts as ended.
   */
  listen(id: Uuid, listener: Listener): () => void {
    const query = this.#queries.get(id.toString());
    if (query === undefined) {
      listener({ queryId: id, action: 'KILLED' });
      return () => undefined;
    }
    const stopHearing = this.#transport.onLive(id, listener);
    query.listeners.set(listener, stopHearing);
    return () => {
      query.listeners.delete(listener);
      stopHearing();
    };
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

  /** Kills all live queries, and starts none again after a reconnect. Never throws. */
  async end(): Promise<void> {
    for (const stop of [...this.#reconnects]) stop();
    const queries = [...this.#queries.values()];
    this.#queries.clear();
    await Promise.all(queries.map((query) => query.end()));
  }

  async #start(id: Uuid, session: ServerSession, sessionId: Uuid): Promise<void> {
    // Those of an earlier socket ended with it.
    for (const [key, query] of this.#queries) if (query.isGone) this.#forget(key);
    const query = new LiveQuery(this.#transport, id, sessionId);
    try {
      query.release = this.#adopt(query, session);
      this.#queries.set(id.toString(), query);
    } catch {
      // Its unit of work, or its session, ended while it was being started.
      await query.end();
    }
  }

  #forget(key: string): void {
    this.#queries.get(key)?.stop();
    this.#queries.delete(key);
  }
}
