import {
  CborCodec,
  type ConnectionState,
  type DriverContext,
  FlatBufferCodec,
  JsonCodec,
  type LiveMessage,
} from 'surrealdb';
import type { SurrealEngine, Uuid } from 'surrealdb';
import { ConnectionLostError, InvalidOptionsError, RequestTimeoutError } from '../surreal.errors.js';
import type * as EmbeddedPackage from '@surrealdb/node';
import type { EmbeddedScheme } from './endpoint.js';
import { type CallSink, type ClosableTransport, type RpcCall, sendBy, type SendOptions } from './rpc-transport.js';

/** What `@surrealdb/node`'s engine offers beyond the interface: `send` is public there. */
export type EmbeddedEngine = SurrealEngine & { send<Result>(call: RpcCall): Promise<Result> };

/** How long `close()` waits for calls in flight before it frees the engine under them. */
const DRAIN_MILLIS = 5_000;

/**
 * The engine of `@surrealdb/node` inside this process, behind the same interface as a socket. Its one epoch never
 * ends. NOTE: authentication is switched off in it, an anonymous session is a superuser; everything above must hold R1
 * by itself.
 */
export class EmbeddedTransport implements ClosableTransport {
  readonly engine: EmbeddedEngine;
  readonly requestTimeoutMillis: number;
  readonly connects = 1;
  readonly #pending = new Set<(error: Error) => void>();
  readonly #liveLoops = new Set<() => void>();
  #running = 0;
  #drained: (() => void) | undefined;
  #closed = false;

  /**
   * Opens the datastore.
   * @throws InvalidOptionsError when `@surrealdb/node` is not installed
   * @throws Error of the engine when the datastore cannot be opened (a directory in use by another process, …)
   */
  static async open(
    endpoint: { url: string; scheme: EmbeddedScheme },
    requestTimeoutMillis: number,
  ): Promise<EmbeddedTransport> {
    const { createNodeEngines } = await importEmbeddedEngine(endpoint.url);
    const factory = createNodeEngines()[endpoint.scheme];
    if (factory === undefined) throw new InvalidOptionsError(`@surrealdb/node offers no engine for ${endpoint.url}`);
    const engine = factory(driverContext()) as EmbeddedEngine;
    await opened(engine, endpoint.url);
    return new EmbeddedTransport(engine, requestTimeoutMillis);
  }

  private constructor(engine: EmbeddedEngine, requestTimeoutMillis: number) {
    this.engine = engine;
    this.requestTimeoutMillis = requestTimeoutMillis;
  }

  get state(): 'open' | 'closed' {
    return this.#closed ? 'closed' : 'open';
  }

  get epoch(): number {
    return this.#closed ? 0 : 1;
  }

  get inFlight(): number {
    return this.#running;
  }

  ready(): Promise<void> | undefined {
    return this.#closed ? Promise.reject(closedError('not-sent')) : undefined;
  }

  send<Result>(call: RpcCall, options?: SendOptions): Promise<Result> {
    return sendBy(this, call, options);
  }

  dispatch(call: RpcCall, options: SendOptions | undefined, sink: CallSink): void {
    if (this.#closed) {
      sink.done();
      return sink.reject(closedError('not-sent'));
    }
    const timeoutMillis = options?.timeoutMillis ?? this.requestTimeoutMillis;
    this.#running++;
    const abandon = (error: Error) => {
      clearTimeout(timer);
      if (this.#pending.delete(abandon)) sink.reject(error);
    };
    const timer = setTimeout(() => abandon(overdue(call.method, timeoutMillis)), timeoutMillis);
    this.#pending.add(abandon);
    options?.onPending?.(abandon);
    const settle = (deliver: (isLate: boolean) => void) => {
      this.#finished();
      sink.done();
      clearTimeout(timer);
      deliver(!this.#pending.delete(abandon));
    };
    this.engine.send(call).then(
      (result) => settle((isLate) => (isLate ? options?.onLateResult?.(result) : sink.resolve(result))),
      (error: Error) => settle((isLate) => (isLate ? undefined : sink.reject(error))),
    );
  }

  onLive(id: Uuid, listener: (message: LiveMessage) => void): () => void {
    const messages = this.engine.liveQuery(id)[Symbol.asyncIterator]();
    const stop = () => {
      this.#liveLoops.delete(stop);
      void messages.return?.();
    };
    this.#liveLoops.add(stop);
    void (async () => {
      for (let next = await messages.next(); !next.done; next = await messages.next()) {
        // The engine goes on delivering for a while after a live query ended: stopping means hearing nothing more.
        if (this.#liveLoops.has(stop)) listener(next.value);
      }
    })().catch(stop);
    return stop;
  }

  subscribe(): () => void {
    // Never lost, never connected again: there is nothing to tell.
    return () => undefined;
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    for (const stop of [...this.#liveLoops]) stop();
    await this.#drain();
    for (const fail of [...this.#pending]) fail(closedError('unknown'));
    await this.engine.close();
  }

  #finished(): void {
    this.#running--;
    if (this.#running === 0) this.#drained?.();
  }

  async #drain(): Promise<void> {
    if (this.#running === 0) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, DRAIN_MILLIS);
      this.#drained = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

async function importEmbeddedEngine(url: string): Promise<Pick<typeof EmbeddedPackage, 'createNodeEngines'>> {
  try {
    return await import('@surrealdb/node');
  } catch (cause) {
    throw new InvalidOptionsError(
      `The url ${url} runs SurrealDB inside this process, which needs the package @surrealdb/node. ` +
        'Install it: npm install @surrealdb/node. Or give the ws:// url of a SurrealDB server.',
      { cause },
    );
  }
}

function driverContext(): DriverContext {
  let id = 0;
  return {
    options: {},
    uniqueId: () => String(++id),
    codecs: { cbor: new CborCodec({}), flatbuffer: new FlatBufferCodec({}), json: new JsonCodec({}) },
  };
}

async function opened(engine: EmbeddedEngine, url: string): Promise<void> {
  const stops: (() => void)[] = [];
  try {
    await new Promise<void>((resolve, reject) => {
      stops.push(engine.subscribe('connected', resolve), engine.subscribe('error', reject));
      // Of the state the engine reads the url alone, as text. A URL would escape spaces and the like: another directory.
      engine.open({ url: { toString: () => url } } as ConnectionState);
    });
  } catch (error) {
    await engine.close();
    throw error;
  } finally {
    for (const stop of stops) stop();
  }
}

function overdue(method: string, timeoutMillis: number): RequestTimeoutError {
  return new RequestTimeoutError(`The embedded SurrealDB did not answer "${method}" within ${timeoutMillis} ms`);
}

function closedError(outcome: 'not-sent' | 'unknown'): ConnectionLostError {
  return new ConnectionLostError('The embedded SurrealDB was closed by this application', { outcome });
}
