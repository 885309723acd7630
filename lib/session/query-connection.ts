import { ChannelIterator, Duration, type LiveMessage, parseRpcError, type QueryChunk } from 'surrealdb';
import type { BoundQuery, Uuid } from 'surrealdb';
import type { CallOptions } from './call.js';
import { TransactionConflictError } from '../surreal.errors.js';
import { translateDatabaseError } from './database-errors.js';
import { assertWritten } from './strict-writes.js';

/** One statement's result as the RPC answers it. */
export interface RpcQueryResult {
  status: 'OK' | 'ERR';
  time: string;
  result: unknown;
  type?: 'live' | 'kill' | 'other';
  kind?: string;
  details?: Record<string, unknown> | null;
}

/** By which road queries leave: a lease, or a transaction on it. */
export interface QueryRoad {
  readonly isClosed: boolean;
  /** Whether a typed write that returns no record fails, where the call does not say. */
  readonly strictWrites: boolean;
  query(bound: BoundQuery, options?: CallOptions): Promise<RpcQueryResult[]>;
  onLive(id: Uuid, listener: (message: LiveMessage) => void): () => void;
  /** Calls back when a new socket is up; live queries of the SDK then start again. */
  onReconnect(listener: () => void): () => void;
}

/** When `.retry()` on a query tries again; the SDK's own test knows only the structured error of 3.1 and later. */
const RETRY = {
  enabled: false,
  attempts: 5,
  retryDelay: 10,
  retryDelayMax: 1_000,
  retryDelayMultiplier: 2,
  retryDelayJitter: 0.5,
  retryable: (error: unknown) => error instanceof TransactionConflictError,
};

/**
 * What the SDK's query builders take for their connection. The builders know a session and a transaction of their own;
 * those are ignored here: the road alone decides where a query goes, at the moment it is sent.
 */
export class QueryConnection {
  readonly status = 'connected';
  readonly retry = RETRY;
  readonly #road: QueryRoad;
  readonly #options: CallOptions | undefined;
  /** Queries that the application has written out: what they should answer only the application knows. */
  #texts: WeakSet<object> | undefined;

  /** @param options bounds of every query that leaves by this object; without them those of the unit of work hold */
  constructor(road: QueryRoad, options?: CallOptions) {
    this.#road = road;
    this.#options = options;
  }

  /** The builders wait for this before each query; whether there is a connection is seen to when it is sent. */
  ready(): Promise<void> {
    return READY;
  }

  query<T>(bound: BoundQuery): AsyncIterable<QueryChunk<T>> {
    return new Chunks<T>(() => this.#send(bound));
  }

  /** A query that is not held to `strictWrites`. */
  takeAsText(bound: BoundQuery): void {
    if (this.#isStrict) (this.#texts ??= new WeakSet()).add(bound);
  }

  get #isStrict(): boolean {
    return this.#options?.strictWrites ?? this.#road.strictWrites;
  }

  #send(bound: BoundQuery): Promise<RpcQueryResult[]> {
    const answer = this.#road.query(bound, this.#options);
    if (!this.#isStrict || this.#texts?.has(bound) === true) return answer;
    return answer.then((results) => {
      assertWritten(bound, results);
      return results;
    });
  }

  liveQuery(id: Uuid): AsyncIterable<LiveMessage> {
    const channel = new ChannelIterator<LiveMessage>(() => stop());
    const stop = this.#road.onLive(id, (message) => channel.submit(message));
    return channel;
  }

  /** Asked by the SDK's live queries, which end with their session. */
  hasSession(): boolean {
    return !this.#road.isClosed;
  }

  /** Servers that lack any of them were refused at start. */
  assertFeature(): void {}

  /** The SDK's live queries ask for `connected`, to start again after a reconnect; they start by themselves at first. */
  subscribe(event: string, listener: () => void): () => void {
    return event === 'connected' ? this.#road.onReconnect(listener) : () => undefined;
  }

  /** Where the SDK reports that a live query could not be started again. Its subscriber hears nothing more. */
  propagateError(): void {}
}

// The same for all: each promise costs, with an AsyncLocalStorage in the process, more than what it stands for here.
const READY = Promise.resolve();
const DONE = Promise.resolve({ done: true as const, value: undefined });

/** The results of one query, one by one; it is sent when the first is asked for. By hand: a generator costs many promises. */
class Chunks<T> implements AsyncIterableIterator<QueryChunk<T>> {
  readonly #send: () => Promise<RpcQueryResult[]>;
  #results: RpcQueryResult[] | undefined;
  #next = 0;

  constructor(send: () => Promise<RpcQueryResult[]>) {
    this.#send = send;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<QueryChunk<T>, undefined>> {
    if (this.#results !== undefined) {
      return this.#next < this.#results.length ? Promise.resolve(this.#take(this.#results)) : DONE;
    }
    return this.#send().then((results) => this.#take((this.#results = results)));
  }

  return(): Promise<IteratorResult<QueryChunk<T>, undefined>> {
    this.#results = [];
    return DONE;
  }

  #take(results: RpcQueryResult[]): IteratorResult<QueryChunk<T>, undefined> {
    const index = this.#next++;
    const result = results[index];
    return result === undefined ? { done: true, value: undefined } : { done: false, value: toChunk<T>(result, index) };
  }
}

function toChunk<T>(result: RpcQueryResult, query: number): QueryChunk<T> {
  const isList = Array.isArray(result.result);
  const chunk: QueryChunk<T> = {
    query,
    batch: 0,
    kind: isList && result.status === 'OK' ? 'batched-final' : 'single',
    stats: new Statistics(result.time),
  };
  if (result.status === 'ERR') chunk.error = statementError(result) as NonNullable<typeof chunk.error>;
  else {
    chunk.result = (isList ? result.result : [result.result]) as T[];
    if (result.type !== undefined) chunk.type = result.type;
  }
  return chunk;
}

/** Most callers never look at the statistics, and parsing a duration costs more than the rest of a chunk. */
class Statistics {
  readonly recordsReceived = -1;
  readonly bytesReceived = -1;
  readonly recordsScanned = -1;
  readonly bytesScanned = -1;
  readonly #time: string;

  constructor(time: string) {
    this.#time = time;
  }

  get duration(): Duration {
    return Duration.parseFloat(this.#time);
  }
}

/** The error of a statement that failed, with the code of this library where it has one. */
export function statementError(result: RpcQueryResult): unknown {
  return translateDatabaseError(serverError(result));
}

function serverError({ result, kind, details }: RpcQueryResult): Error {
  // A statement's `details` repeat the error's own kind around the details proper.
  const inner = details?.kind === kind && typeof details?.details === 'object' ? details.details : details;
  const options = { code: 0, message: String(result), ...(kind === undefined ? {} : { kind }) };
  return parseRpcError({ ...options, details: inner as Record<string, unknown> | null });
}
