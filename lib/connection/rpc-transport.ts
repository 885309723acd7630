import type { LiveMessage, Uuid } from 'surrealdb';

/** One call of SurrealDB's RPC protocol. Without `session` it goes to the default session of the socket. */
export interface RpcCall {
  method: string;
  params?: unknown[] | undefined;
  session?: Uuid | undefined;
  txn?: Uuid | undefined;
}

export interface SendOptions {
  /** How long to wait for the answer; without it the transport's own limit. */
  timeoutMillis?: number;
  /**
   * Takes a result that arrives after the caller was told REQUEST_TIMEOUT. Whatever such a call created on the server
   * (a transaction, a session) has no other owner: give it back here.
   */
  onLateResult?: (result: unknown) => void;
  /**
   * Is given what makes the call fail at once with that error: for a caller that does not want the answer any more. What
   * was sent runs on. Given anew when the call moves from a queue to a socket.
   */
  onPending?: (cancel: (error: Error) => void) => void;
  /** Waits for no turn: for calls that give something back, which others may be waiting for. */
  isUrgent?: boolean;
}

/** Who is told what becomes of a call. */
export interface CallSink {
  /** One of these two is called, once. */
  resolve(result: unknown): void;
  reject(error: Error): void;
  /**
   * Called once, when the server is done with the call as far as can be known: when it was answered, lost, or not sent at
   * all; for a call that nobody waits for any more, when its answer comes or is overdue once more.
   */
  done(): void;
}

/** `RpcTransport.send` by means of `dispatch`. */
export function sendBy<Result>(
  transport: Pick<DispatchingTransport, 'dispatch'>,
  call: RpcCall,
  options?: SendOptions,
): Promise<Result> {
  return new Promise<Result>((resolve, reject) => {
    transport.dispatch(call, options, { resolve: resolve as CallSink['resolve'], reject, done: () => undefined });
  });
}

export interface TransportListener {
  /** A socket is up (again); `epoch` has changed. */
  connected?(): void;
  /** The socket is gone, and every session, transaction and live query on it. */
  lost?(): void;
}

/**
 * The way to one database engine: a WebSocket that is kept up, or the embedded engine. Sends what it is given, once.
 * Sessions and their safety are the business of those above.
 */
export interface RpcTransport {
  /** Tells sockets apart: changes with every new one; 0 while there is none. A session lives in one epoch only. */
  readonly epoch: number;
  /** How many calls wait for an answer. */
  readonly inFlight: number;
  /** Limit of a call that names none. */
  readonly requestTimeoutMillis: number;
  /**
   * Resolves when a socket is up; at once, without a promise, when one is.
   * @throws ConnectionLostError (`not-sent`) after `timeoutMillis`, or when the transport is closed
   */
  ready(timeoutMillis?: number): Promise<void> | undefined;
  /**
   * Sends now, and never a second time.
   * @throws ConnectionLostError `not-sent` when no socket is up, `unknown` when it dropped before the answer
   * @throws RequestTimeoutError when no answer came in time
   * @throws the SDK's `ServerError` when the server answers with an error
   */
  send<Result>(call: RpcCall, options?: SendOptions): Promise<Result>;
  /** Hands over the notifications of a live query until the function it returns is called. */
  onLive(id: Uuid, listener: (message: LiveMessage) => void): () => void;
  subscribe(listener: TransportListener): () => void;
}

/** A transport that a queue can stand in front of. */
export interface DispatchingTransport extends RpcTransport {
  /** As `send`, but tells the outcome to a sink: a queue would have to wrap the promise in another. */
  dispatch(call: RpcCall, options: SendOptions | undefined, sink: CallSink): void;
}

/** A transport in the hands of its owner. */
export interface ClosableTransport extends DispatchingTransport {
  /** What is going on, for `Tenancy.stats()`. */
  readonly state: 'idle' | 'connecting' | 'open' | 'closed';
  /** How many sockets there have been; every one after the first is a reconnect. */
  readonly connects: number;
  /** Ends the transport; calls in flight fail with CONNECTION_LOST. Safe to call twice. */
  close(): Promise<void>;
}
