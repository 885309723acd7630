import { Logger } from '@nestjs/common';
import { CborCodec, type LiveMessage, UnexpectedConnectionError, type Uuid } from 'surrealdb';
import { ConnectionLostError } from '../surreal.errors.js';
import { backoffDelay } from './backoff.js';
import { redactUrl } from './endpoint.js';
import { LiveNotifications } from './live-notifications.js';
import { RpcSocket } from './rpc-socket.js';
import {
  type CallSink,
  type ClosableTransport,
  type RpcCall,
  sendBy,
  type SendOptions,
  type TransportListener,
} from './rpc-transport.js';

export interface SocketTransportOptions {
  /** Nodes of one cluster; after a failure the next one is tried. */
  urls: readonly URL[];
  /** Limit of a call that names none. */
  requestTimeoutMillis: number;
  /** How often the server is asked for a sign of life; without one until the next time the socket is replaced. */
  pingIntervalMillis: number;
  reconnect: ReconnectOptions;
}

/** How a socket that dropped is replaced. */
export interface ReconnectOptions {
  /** The pause after every node has failed once, in milliseconds; it doubles with each round, with jitter. Default 50. */
  firstDelayMillis?: number;
  /** The longest pause, in milliseconds. Default 2,000. */
  maxDelayMillis?: number;
  /**
   * After so many failures in a row, calls that wait fail with CONNECTION_LOST (`not-sent`) and nobody tries any more until
   * the next call. Default: tries for ever, and calls wait within their timeout.
   */
  maxAttempts?: number;
}

/** A node that does not answer within this time is left for the next one. */
const CONNECT_TIMEOUT_MILLIS = 10_000;

/** A socket that lived this long was a good one: after it the next is tried without a pause. */
const STABLE_MILLIS = 1_000;

interface Waiter {
  resolve: () => void;
  reject: (error: Error) => void;
  timer: NodeJS.Timeout;
}

/** A WebSocket that is kept up: opened at the first `ready()`, and again, with back-off, whenever it drops. */
export class SocketTransport implements ClosableTransport {
  readonly #options: SocketTransportOptions;
  readonly #logger = new Logger('nestjs-surreal');
  readonly #codec = new CborCodec({});
  readonly #live = new LiveNotifications();
  readonly #listeners = new Set<TransportListener>();
  readonly #waiters = new Set<Waiter>();
  #socket: RpcSocket | undefined;
  #epochs = 0;
  #failures = 0;
  /** The node whose turn it is, counted on for ever. */
  #node = 0;
  #connecting = false;
  #closed = false;
  #pause: { timer: NodeJS.Timeout; end: () => void } | undefined;
  #lastError: unknown;

  constructor(options: SocketTransportOptions) {
    this.#options = options;
  }

  get epoch(): number {
    // Not while it closes either: whoever finds an epoch may send.
    return this.#socket?.isOpen ? this.#epochs : 0;
  }

  get inFlight(): number {
    return this.#socket?.inFlight ?? 0;
  }

  get requestTimeoutMillis(): number {
    return this.#options.requestTimeoutMillis;
  }

  get state(): ClosableTransport['state'] {
    if (this.#closed) return 'closed';
    if (this.#socket?.isOpen) return 'open';
    return this.#connecting ? 'connecting' : 'idle';
  }

  get connects(): number {
    return this.#epochs;
  }

  ready(timeoutMillis = this.#options.requestTimeoutMillis): Promise<void> | undefined {
    if (this.#socket?.isOpen) return undefined;
    if (this.#closed)
      return Promise.reject(this.#notSent('The connection to SurrealDB was closed by this application'));
    // A peer that has begun to close can leave the socket half closed for long; nobody waits for its last word.
    this.#socket?.terminate();
    if (!this.#connecting && this.#socket === undefined) void this.#connect();
    return new Promise<void>((resolve, reject) => {
      const waiter: Waiter = {
        resolve,
        reject,
        timer: setTimeout(() => {
          this.#waiters.delete(waiter);
          reject(this.#notSent(`No connection to SurrealDB at ${this.#addresses()} within ${timeoutMillis} ms`));
        }, timeoutMillis),
      };
      this.#waiters.add(waiter);
    });
  }

  send<Result>(call: RpcCall, options?: SendOptions): Promise<Result> {
    return sendBy(this, call, options);
  }

  dispatch(call: RpcCall, options: SendOptions | undefined, sink: CallSink): void {
    if (this.#socket?.isOpen) {
      return this.#socket.dispatch(call, options?.timeoutMillis ?? this.requestTimeoutMillis, options, sink);
    }
    sink.done();
    sink.reject(this.#notSent(`No connection to SurrealDB for "${call.method}"`));
  }

  onLive(id: Uuid, listener: (message: LiveMessage) => void): () => void {
    return this.#live.listen(id, listener);
  }

  subscribe(listener: TransportListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async close(): Promise<void> {
    this.#closed = true;
    if (this.#pause !== undefined) {
      clearTimeout(this.#pause.timer);
      this.#pause.end();
    }
    this.#settleWaiters((waiter) => waiter.reject(this.#notSent('The connection to SurrealDB is being closed')));
    await this.#socket?.close();
  }

  /** Tries the nodes in turn until one opens or the transport is closed. */
  async #connect(): Promise<void> {
    this.#connecting = true;
    const { urls, pingIntervalMillis, reconnect } = this.#options;
    const { firstDelayMillis = 50, maxDelayMillis = 2_000, maxAttempts = Infinity } = reconnect;
    const connectTimeoutMillis = Math.min(CONNECT_TIMEOUT_MILLIS, this.requestTimeoutMillis);
    for (let attempt = 1; !this.#closed; attempt++) {
      // Every node gets its turn before the first pause.
      const round = Math.floor(this.#failures / urls.length);
      if (round > 0 && this.#failures % urls.length === 0) {
        await this.#sleep(backoffDelay({ firstMillis: firstDelayMillis, maxMillis: maxDelayMillis }, round));
      }
      if (this.#closed) break;
      try {
        const url = urls[this.#node % urls.length] as URL;
        const { requestTimeoutMillis } = this;
        const socketOptions = { connectTimeoutMillis, pingIntervalMillis, requestTimeoutMillis };
        this.#opened(await RpcSocket.open(url, this.#codec, socketOptions));
        break;
      } catch (error) {
        this.#lastError = error;
        this.#failures++;
        this.#node++;
        if (attempt >= maxAttempts) {
          this.#settleWaiters((waiter) => waiter.reject(this.#notSent(`No connection after ${attempt} attempts`)));
          break;
        }
      }
    }
    this.#connecting = false;
  }

  #opened(socket: RpcSocket): void {
    if (this.#closed) return void socket.close();
    const openedAt = Date.now();
    this.#epochs++;
    this.#socket = socket;
    socket.onNotification = (message) => this.#live.publish(message);
    socket.onClosed = (failure) => {
      this.#lastError = failure;
      this.#dropped(Date.now() - openedAt);
    };
    this.#settleWaiters((waiter) => waiter.resolve());
    this.#notify('connected');
  }

  #dropped(livedMillis: number): void {
    this.#socket = undefined;
    // A socket that opens and drops at once is as good as none: a proxy whose backend is down looks like that.
    this.#failures = livedMillis < STABLE_MILLIS ? this.#failures + 1 : 0;
    this.#node++;
    if (!this.#closed) void this.#connect();
    this.#notify('lost');
  }

  /** A listener that throws, application code among them, must not keep the others, or the reconnect, from their turn. */
  #notify(event: 'connected' | 'lost'): void {
    for (const listener of [...this.#listeners]) {
      try {
        listener[event]?.();
      } catch (error) {
        this.#logger.error(`A listener to "${event}" failed: ${describeCause(error)}`);
      }
    }
  }

  #settleWaiters(settle: (waiter: Waiter) => void): void {
    for (const waiter of this.#waiters) {
      clearTimeout(waiter.timer);
      settle(waiter);
    }
    this.#waiters.clear();
  }

  async #sleep(millis: number): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#pause = { timer: setTimeout(resolve, millis), end: resolve };
    });
    this.#pause = undefined;
  }

  #addresses(): string {
    return this.#options.urls.map((url) => redactUrl(url.href)).join(', ');
  }

  #notSent(what: string): ConnectionLostError {
    const why = this.#lastError === undefined ? '' : ` (${describeCause(this.#lastError)})`;
    return new ConnectionLostError(`${what}${why}. The call was not sent; it may be tried again.`, {
      outcome: 'not-sent',
      cause: this.#lastError,
    });
  }
}

/**
 * What went wrong, in the words of whoever knows: Node wraps the attempts at several addresses in an AggregateError without
 * a message, the SDK an engine's own words in an UnexpectedConnectionError.
 */
export function describeCause(error: unknown): string {
  if (error instanceof AggregateError && error.message === '') return error.errors.map(describeCause).join('; ');
  if (error instanceof UnexpectedConnectionError && error.cause !== undefined) return describeCause(error.cause);
  return error instanceof Error ? error.message : String(error);
}
