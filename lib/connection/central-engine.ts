import { type ConnectionState, type DriverContext, type EngineEvents, Features, type LiveMessage } from 'surrealdb';
import {
  ChannelIterator,
  Publisher,
  RpcEngine,
  type RpcRequest,
  type SqlExportOptions,
  type SurrealEngine,
  type Uuid,
} from 'surrealdb';
import { ConnectionLostError, isNotSent } from '../surreal.errors.js';
import { EmbeddedTransport } from './embedded-transport.js';
import type { RpcCall, RpcTransport } from './rpc-transport.js';

/**
 * The SDK's view of the central connection: an engine that can be given to `new Surreal({ engines })`.
 *
 * The SDK restores its own session (version, use, sign-in) after each `connected` event and then calls `ready()`. Two
 * things are kept from it here: its habit to send again what was in flight when a socket dropped (R4), and that a socket
 * which drops in the middle of a restore closes the connection for good.
 */
export class CentralEngine extends RpcEngine implements SurrealEngine {
  readonly features: SurrealEngine['features'] = new Set(Object.values(Features));
  readonly #transport: RpcTransport;
  readonly #timeoutMillis: number;
  readonly #publisher = new Publisher<EngineEvents>();
  #unsubscribe: (() => void) | undefined;
  #restored = deferred();
  #state: 'down' | 'restoring' | 'ready' = 'down';

  constructor(context: DriverContext, transport: RpcTransport, timeoutMillis: number) {
    super(context);
    this.#transport = transport;
    this.#timeoutMillis = timeoutMillis;
  }

  subscribe<K extends keyof EngineEvents>(event: K, listener: (...payload: EngineEvents[K]) => void): () => void {
    return this.#publisher.subscribe(event, listener);
  }

  open(state: ConnectionState): void {
    this._state = state;
    this.#unsubscribe = this.#transport.subscribe({ connected: () => this.#connected(), lost: () => this.#lost() });
    const waiting = this.#transport.ready();
    if (waiting === undefined) this.#connected();
    else waiting.catch((error: Error) => this.#publisher.publish('error', error));
  }

  /** Called by the SDK once its session is signed in again: from now on other calls may pass. */
  ready(): void {
    this.#state = 'ready';
    this.#restored.resolve();
  }

  /** Called by the SDK at `surreal.close()`, and when its restore was refused. The transport stays with its owner. */
  async close(): Promise<void> {
    this.#unsubscribe?.();
    this._state = undefined;
    this.#publisher.publish('disconnected');
  }

  override async send<Method extends string, Params extends unknown[] | undefined, Result>(
    request: RpcRequest<Method, Params>,
  ): Promise<Result> {
    if (this.#state === 'restoring') return await this.#sendRestoring(request);
    const deadline = Date.now() + this.#timeoutMillis;
    for (;;) {
      await this.#transport.ready(deadline - Date.now());
      if (this.#state !== 'ready') await within(this.#restored.promise, deadline - Date.now());
      try {
        return await this.#transport.send<Result>(request);
      } catch (error) {
        if (!isNotSent(error) || Date.now() >= deadline) throw error;
      }
    }
  }

  override liveQuery(id: Uuid): AsyncIterable<LiveMessage> {
    const channel = new ChannelIterator<LiveMessage>(() => {
      stopListening();
      stopWatching();
    });
    const stopListening = this.#transport.onLive(id, (message) => channel.submit(message));
    const stopWatching = this.#transport.subscribe({ lost: () => channel.cancel() });
    return channel;
  }

  override importSql(data: string | Blob | ReadableStream): Promise<void> {
    return this.#transport instanceof EmbeddedTransport
      ? this.#transport.engine.importSql(data)
      : super.importSql(data);
  }

  override exportSql(options: Partial<SqlExportOptions>): Promise<Response> {
    return this.#transport instanceof EmbeddedTransport
      ? (this.#transport.engine.exportSql(options) as Promise<Response>)
      : super.exportSql(options);
  }

  #connected(): void {
    this.#state = 'restoring';
    this.#publisher.publish('connected');
  }

  #lost(): void {
    if (this.#state === 'ready') this.#restored = deferred();
    this.#state = 'down';
    this.#publisher.publish('reconnecting');
  }

  /**
   * A call of the SDK's restore. Lost with its socket it never settles: the next `connected` starts a new restore, and a
   * rejection would make the SDK close the connection for ever.
   */
  #sendRestoring<Result>(request: RpcCall): Promise<Result> {
    return this.#transport.send<Result>(request).catch((error: unknown) => {
      if (error instanceof ConnectionLostError) return new Promise<never>(() => undefined);
      throw error;
    });
  }
}

/** `Promise.withResolvers`, which Node 20 does not have yet. */
function deferred(): { promise: Promise<void>; resolve: () => void } {
  let resolve: () => void = () => undefined;
  const promise = new Promise<void>((settle) => (resolve = settle));
  return { promise, resolve };
}

/** @throws ConnectionLostError (`not-sent`) when it takes longer */
async function within(promise: Promise<void>, millis: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    const error = 'The central connection did not sign in again in time. The call was not sent.';
    timer = setTimeout(() => reject(new ConnectionLostError(error, { outcome: 'not-sent' })), millis);
  });
  await Promise.race([promise, late]).finally(() => clearTimeout(timer));
}
