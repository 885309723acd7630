import { AsyncLocalStorage } from 'node:async_hooks';
import { setTimeout } from 'node:timers/promises';
import { type BoundQuery, type LiveMessage, Uuid } from 'surrealdb';
import { Logger } from '@nestjs/common';
import { type Backoff, backoffDelay } from '../connection/backoff.js';
import type { RpcTransport } from '../connection/rpc-transport.js';
import { describeCause } from '../connection/socket-transport.js';
import { SurrealModuleError } from '../surreal.errors.js';
import { type Call, CLEANUP_MILLIS } from './call.js';
import type { RpcQueryResult } from './query-connection.js';
import type { Dependent, ServerSession } from './server-session.js';

type Listener = (message: LiveMessage) => void;

/** Keeps the session for a live query; returns what gives it back. Throws when it is too late. */
type Adopt = (query: Dependent, session: ServerSession) => () => void;

/** What a live query says after a reconnect, before anything else: changes made meanwhile were not heard. */
export interface LiveGap {
  queryId: Uuid;
  action: 'GAP';
  recordId?: undefined;
  value?: undefined;
}

/** Whether a message of `db.live(…)` is the notice of a gap: read the data again, then go on listening. */
export function isLiveGap(message: { action: string }): message is LiveGap {
  return message.action === 'GAP';
}

/** That the SDK starts a live query again, on the socket of that epoch. */
interface Restart {
  epoch: number;
  /** Its subscriber has left meanwhile. */
  isOver: boolean;
}

/** Runs in what the SDK does for that. */
const restarting = new AsyncLocalStorage<Restart>();

/** Of so many live queries that went with their socket a unit of work knows, so that ending one is no error. */
const MAX_GONE = 1_000;

/** Pauses between attempts to start a live query again, when its tenant cannot sign in. */
const RESTART_BACKOFF: Backoff = { firstMillis: 250, maxMillis: 30_000 };

/** The text with which the SDK ends a live query (`KILL u"…"`), or an application does (`KILL $id`). */
const KILL = /^\s*KILL\s+(?:\$(\w+)|u?["']([\da-f-]{36})["'])\s*;?\s*$/i;

/** A live query on the server. The embedded engine goes on sending after its session is gone, so it must be killed. */
class LiveQuery implements Dependent {
  readonly listeners = new Map<Listener, () => void>();
  release: () => void = () => undefined;
  readonly #transport: RpcTransport;
  readonly #id: Uuid;
  readonly #session: ServerSession;
  readonly #sessionId: Uuid;
  readonly #epoch: number;
  #hasEnded = false;

  /** @param sessionId of the session when it was started */
  constructor(id: Uuid, session: ServerSession, sessionId: Uuid) {
    this.#transport = session.transport;
    this.#id = id;
    this.#session = session;
    this.#sessionId = sessionId;
    this.#epoch = session.transport.epoch;
  }

  /** Hands a message on, unless it is for somebody whose token has ended meanwhile: then the query ends. */
  hear(message: LiveMessage, listener: Listener): void {
    if (message.action !== 'KILLED' && this.#session.isOver) void this.end();
    else listener(message);
  }

  get isGone(): boolean {
    return this.#hasEnded || this.#epoch !== this.#transport.epoch;
  }

  /** Stops its listeners and lets go of its session; for one that has ended on the server. */
  stop(): void {
    for (const stop of this.listeners.values()) stop();
    this.listeners.clear();
    this.release();
  }

  async end(): Promise<void> {
    if (this.#hasEnded) return;
    const isOnServer = !this.isGone;
    this.#hasEnded = true;
    for (const listener of this.listeners.keys()) listener({ queryId: this.#id, action: 'KILLED' });
    if (isOnServer) {
      const call = { method: 'query', params: ['KILL $id', { id: this.#id }], session: this.#sessionId };
      await this.#transport.send(call, { isUrgent: true, timeoutMillis: CLEANUP_MILLIS }).catch(() => undefined);
    }
    this.stop();
  }
}

/** The live queries that one unit of work has started, and who listens to them. */
export class LiveSubscriptions {
  readonly #transport: RpcTransport;
  readonly #adopt: Adopt;
  readonly #queries = new Map<string, LiveQuery>();
  readonly #logger = new Logger('nestjs-surreal');
  readonly #gone = new Set<string>();
  readonly #reconnects = new Set<() => void>();

  constructor(transport: RpcTransport, adopt: Adopt) {
    this.#transport = transport;
    this.#adopt = adopt;
  }

  /** Sends a query that may start or end live queries. */
  async run(
    session: ServerSession,
    call: Call,
    bound: Pick<BoundQuery, 'query' | 'bindings'>,
  ): Promise<RpcQueryResult[]> {
    const { id, transport } = session;
    const killed = this.#killEnded(bound);
    if (killed !== undefined) return [killed];
    const track = (results: RpcQueryResult[]) => this.#track(session, id, bound, results);
    // What an answer that comes too late says it started has no other owner.
    call.onLateResult = (late) => void track(late as RpcQueryResult[]);
    const message = { method: 'query', params: [bound.query, bound.bindings], session: id };
    const results = await transport.send<RpcQueryResult[]>(message, call);
    await track(results);
    return results;
  }

  /**
   * Takes note of what a query's answer says it started, and of what it killed.
   * @param id of the session when the query was sent
   */
  async #track(
    session: ServerSession,
    id: Uuid,
    { query, bindings = {} }: Pick<BoundQuery, 'query' | 'bindings'>,
    results: readonly RpcQueryResult[],
  ): Promise<void> {
    const killed = killedId(query, bindings);
    for (const { type, result } of results) {
      if (type === 'live' && result instanceof Uuid) await this.#start(result, session, id);
      // Of a text with more statements it is not said which was killed; ending one twice does no harm.
      else if (type === 'kill' && killed !== undefined) this.#forget(killed);
    }
  }

  /**
   * The answer to a KILL of a live query that has ended with its socket or session, which the server would refuse. The SDK
   * sends one when a subscription is ended after a reconnect and before it has started again.
   */
  #killEnded({ query, bindings = {} }: Pick<BoundQuery, 'query' | 'bindings'>): RpcQueryResult | undefined {
    const key = killedId(query, bindings);
    if (key === undefined) return undefined;
    this.#forgetGone();
    if (!this.#gone.delete(key)) return undefined;
    return { status: 'OK', time: '0ns', type: 'kill', result: undefined };
  }

  /**
   * Listens until the returned function is called, or the live query ends. To one that this unit of work has not started,
   * another tenant's say, nobody can listen: it counts as ended. One that was started again says first that there was a gap.
   */
  listen(id: Uuid, listener: Listener): () => void {
    const query = this.#queries.get(id.toString());
    if (query === undefined || query.isGone) {
      listener({ queryId: id, action: 'KILLED' });
      return () => undefined;
    }
    // The SDK has no such message; it hands on whatever it is given.
    if (restarting.getStore() !== undefined) listener({ queryId: id, action: 'GAP' } as unknown as LiveMessage);
    const stopHearing = this.#transport.onLive(id, (message) => query.hear(message, listener));
    query.listeners.set(listener, stopHearing);
    return () => {
      query.listeners.delete(listener);
      stopHearing();
    };
  }

  /** Calls back when a new socket is up, until the returned function is called or the unit of work ends. */
  onReconnect(listener: () => void): () => void {
    // Without a socket the first start itself waits for one: that one is no reconnect.
    let isFirst = this.#transport.epoch === 0;
    let restart: Restart | undefined;
    const unsubscribe = this.#transport.subscribe({
      connected: () => {
        if (!isFirst) restarting.run((restart = { epoch: this.#transport.epoch, isOver: false }), listener);
        isFirst = false;
      },
    });
    const stop = () => {
      if (restart !== undefined) restart.isOver = true;
      this.#reconnects.delete(stop);
      unsubscribe();
    };
    this.#reconnects.add(stop);
    return stop;
  }

  /**
   * Does what starts a live query. One that is started again is tried until it succeeds, on this socket and as long as the
   * unit of work runs: the SDK would leave its subscriber without a word.
   */
  async starting<Result>(start: (isRestart: boolean) => Promise<Result>): Promise<Result> {
    const restart = restarting.getStore();
    if (restart === undefined) return await start(false);
    for (let attempt = 1; ; attempt++) {
      try {
        return await start(true);
      } catch (error) {
        const isOver = restart.isOver || restart.epoch !== this.#transport.epoch;
        if (isOver) throw error;
        if (!(error instanceof SurrealModuleError) || !error.retryable) {
          this.#logger.warn(`A live query could not be started again after a reconnect: ${describeCause(error)}`);
          throw error;
        }
        await setTimeout(backoffDelay(RESTART_BACKOFF, attempt), undefined, { ref: false });
      }
    }
  }

  /** Kills all live queries, and starts none again after a reconnect. Never throws. */
  async end(): Promise<void> {
    for (const stop of [...this.#reconnects]) stop();
    const queries = [...this.#queries.values()];
    this.#queries.clear();
    await Promise.all(queries.map((query) => query.end()));
  }

  async #start(id: Uuid, session: ServerSession, sessionId: Uuid): Promise<void> {
    this.#forgetGone();
    const query = new LiveQuery(id, session, sessionId);
    this.#queries.set(id.toString(), query);
    if (restarting.getStore()?.isOver === true) return await query.end();
    try {
      query.release = this.#adopt(query, session);
    } catch {
      // Its unit of work, or its session, ended while it was being started.
      await query.end();
    }
  }

  /** Those that have ended, with their socket or session, are known by their ids alone from now on. */
  #forgetGone(): void {
    for (const [key, query] of this.#queries) {
      if (!query.isGone) continue;
      this.#forget(key);
      this.#gone.add(key);
      const [oldest] = this.#gone;
      if (this.#gone.size > MAX_GONE && oldest !== undefined) this.#gone.delete(oldest);
    }
  }

  #forget(key: string): void {
    this.#queries.get(key)?.stop();
    this.#queries.delete(key);
  }
}

function killedId(query: string, bindings: Record<string, unknown>): string | undefined {
  const [, name, id] = KILL.exec(query) ?? [];
  return name === undefined ? id : String(bindings[name]);
}
