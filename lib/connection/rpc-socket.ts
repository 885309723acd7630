import type { Socket } from 'node:net';
import { type CborCodec, type LiveMessage, parseRpcError } from 'surrealdb';
import { WebSocket } from 'ws';
import { ConnectionLostError, RequestTimeoutError } from '../surreal.errors.js';
import { DeadlineTimer } from './deadline-timer.js';
import { parseNotification } from './live-notifications.js';
import type { CallSink, RpcCall, SendOptions } from './rpc-transport.js';

interface PendingCall {
  sink: CallSink;
  method: string;
  timeoutMillis: number;
  /** When it has waited for too long, in milliseconds since 1970; for one that is abandoned, when it is forgotten. */
  deadline: number;
  /** True when the caller was told that there is no answer, or has left. The server may be at it all the same. */
  isAbandoned: boolean;
  isTimedOut: boolean;
  /** True when it is not counted on any more; it is listed for `onLateResult` alone. */
  isForgotten: boolean;
  onLateResult: ((result: unknown) => void) | undefined;
}

export interface SocketOptions {
  /** How long the opening may take. */
  connectTimeoutMillis: number;
  /** How often the server is asked for a sign of life. One that gives none until the next time counts as dead. */
  pingIntervalMillis: number;
  /** After ten times this long an answer that nobody waits for is not counted on any more. */
  requestTimeoutMillis: number;
}

/** See `SocketOptions.requestTimeoutMillis`. A server answers everything, sooner or later, or its socket ends. */
const FORGET_FACTOR = 10;

/** How long `close()` waits for the server's closing handshake before it cuts the socket. */
const CLOSE_HANDSHAKE_MILLIS = 1_000;

/**
 * One WebSocket, from its opening to its end; it is never reused. Every call is in `#pending` from the moment it is
 * sent until it is answered or lost with the socket: this is where "sent at most once" holds (R4).
 */
export class RpcSocket {
  readonly #socket: WebSocket;
  /** The bytes under the socket; to write the frames of one turn of the event loop together. */
  readonly #stream: Socket | undefined;
  readonly #codec: CborCodec;
  readonly #pending = new Map<string, PendingCall>();
  readonly #heartbeat: NodeJS.Timeout;
  readonly #forgetMillis: number;
  /** How far the bytes had got at the last ping: a frame that takes long is a sign of life too. */
  #bytesRead = 0;
  #bytesToWrite = 0;
  #nextId = 0;
  #failure: Error | undefined;
  #isSilent = false;
  #isHoldingBack = false;
  readonly #clock = new DeadlineTimer((now) => this.#look(now));

  /** Called for each notification of a live query. */
  onNotification: ((message: LiveMessage) => void) | undefined;
  /** Called once, when the socket is gone. By then every pending call has failed. */
  onClosed: ((failure: Error | undefined) => void) | undefined;

  /**
   * Connects to one address.
   * @throws Error what the network said, or that it took longer than `connectTimeoutMillis`
   */
  static open(url: URL, codec: CborCodec, options: SocketOptions): Promise<RpcSocket> {
    return new Promise((resolve, reject) => {
      const socket = new WebSocket(url, 'cbor', {
        handshakeTimeout: options.connectTimeoutMillis,
        perMessageDeflate: false,
      });
      let stream: Socket | undefined;
      socket.once('error', reject);
      socket.once('upgrade', (response) => (stream = response.socket));
      socket.once('open', () => {
        socket.off('error', reject);
        resolve(new RpcSocket(socket, stream, codec, options));
      });
    });
  }

  private constructor(
    socket: WebSocket,
    stream: Socket | undefined,
    codec: CborCodec,
    { pingIntervalMillis, requestTimeoutMillis }: SocketOptions,
  ) {
    this.#socket = socket;
    this.#stream = stream;
    this.#codec = codec;
    this.#forgetMillis = Math.min(requestTimeoutMillis * FORGET_FACTOR, 2 ** 31 - 1);
    this.#heartbeat = setInterval(() => this.#askForLife(pingIntervalMillis), pingIntervalMillis);
    socket.binaryType = 'nodebuffer';
    socket.on('message', (data: Buffer) => this.#receive(data));
    socket.on('pong', () => (this.#isSilent = false));
    // An error is always followed by 'close'; without a listener it would end the process.
    socket.on('error', (error) => (this.#failure ??= error));
    socket.once('close', (code) => this.#closed(code));
  }

  /** How many calls the server has not answered. */
  get inFlight(): number {
    return this.#pending.size;
  }

  get isOpen(): boolean {
    return this.#socket.readyState === WebSocket.OPEN;
  }

  /** As `RpcTransport.dispatch`. */
  dispatch(call: RpcCall, timeoutMillis: number, options: SendOptions | undefined, sink: CallSink): void {
    const id = (this.#nextId++).toString(36);
    let frame: Uint8Array;
    try {
      // Encoding first: a value that CBOR cannot carry is the caller's error and leaves nothing pending.
      frame = this.#codec.encode(withoutUndefined({ id, ...call }));
    } catch (error) {
      sink.done();
      return sink.reject(error as Error);
    }
    this.#pending.set(id, {
      sink,
      method: call.method,
      timeoutMillis,
      deadline: Date.now() + timeoutMillis,
      isAbandoned: false,
      isTimedOut: false,
      isForgotten: false,
      onLateResult: options?.onLateResult,
    });
    this.#clock.by(Date.now() + timeoutMillis);
    options?.onPending?.((error) => this.#abandon(id, error));
    this.#holdBack();
    this.#socket.send(frame);
  }

  /** Writes what is sent in this turn of the event loop at its end, in one go: a write costs more than all else here. */
  #holdBack(): void {
    if (this.#isHoldingBack) return;
    this.#isHoldingBack = true;
    this.#stream?.cork();
    setImmediate(() => {
      this.#isHoldingBack = false;
      this.#stream?.uncork();
    });
  }

  /** Cuts the socket; what is still pending fails with CONNECTION_LOST. */
  terminate(): void {
    this.#socket.terminate();
  }

  /** Closes in good order; what is still pending fails with CONNECTION_LOST. */
  async close(): Promise<void> {
    if (this.#socket.readyState === WebSocket.CLOSED) return;
    const cut = setTimeout(() => this.#socket.terminate(), CLOSE_HANDSHAKE_MILLIS);
    await new Promise<void>((resolve) => {
      this.#socket.once('close', () => resolve());
      this.#socket.close(1000);
    });
    clearTimeout(cut);
  }

  /** Nothing was heard since the last ping: the peer is gone, or the way to it, and nobody has told. */
  #askForLife(pingIntervalMillis: number): void {
    // Asked each time: what has moved before the last ping is no answer to it.
    const hasMoved = this.#hasMoved();
    if (!this.#isSilent || hasMoved) {
      this.#isSilent = true;
      this.#socket.ping();
      return;
    }
    // When this process itself was held up, the sign of life lies unread: what has arrived is read before this runs.
    setImmediate(() => {
      if (!this.#isSilent || this.#hasMoved()) return;
      this.#failure ??= new Error(`The server answered no ping within ${pingIntervalMillis} ms`);
      this.#socket.terminate();
    });
  }

  /** Whether bytes of a frame that is not through yet have come or gone since it was asked last. */
  #hasMoved(): boolean {
    const { bytesRead = 0, writableLength = 0 } = this.#stream ?? {};
    const hasMoved = bytesRead > this.#bytesRead || writableLength < this.#bytesToWrite;
    this.#bytesRead = bytesRead;
    this.#bytesToWrite = writableLength;
    return hasMoved;
  }

  #look(now: number): void {
    let next = Infinity;
    for (const [id, call] of [...this.#pending]) {
      if (call.deadline <= now) this.#overdue(id, call, now);
      next = Math.min(next, call.deadline);
    }
    this.#clock.by(next);
  }

  #overdue(id: string, call: PendingCall, now: number): void {
    // The second time: it was given up long ago.
    if (call.isTimedOut) return this.#forget(id, call);
    // It stays listed, so that a late answer finds its owner, and so that what still burdens the server is known.
    call.isTimedOut = true;
    call.deadline = now + this.#forgetMillis;
    this.#abandon(
      id,
      new RequestTimeoutError(
        `SurrealDB did not answer "${call.method}" within ${call.timeoutMillis} ms. It may still run there. ` +
          'Raise requestTimeoutMillis if such calls are meant to take this long.',
      ),
    );
  }

  /** The call is not counted on any more; who would have to tidy up after a late answer is still told. */
  #forget(id: string, call: PendingCall): void {
    call.deadline = Infinity;
    if (call.onLateResult === undefined) return this.#done(id, call);
    call.isForgotten = true;
    call.sink.done();
  }

  #abandon(id: string, error: Error): void {
    const call = this.#pending.get(id);
    if (call === undefined || call.isAbandoned) return;
    call.isAbandoned = true;
    call.sink.reject(error);
  }

  #done(id: string, call: PendingCall): void {
    this.#pending.delete(id);
    if (!call.isForgotten) call.sink.done();
  }

  #receive(data: Buffer): void {
    this.#isSilent = false;
    let frame: { id?: unknown; result?: unknown; error?: Parameters<typeof parseRpcError>[0] };
    try {
      frame = this.#codec.decode(data);
      if (typeof frame !== 'object' || frame === null) throw new TypeError('The frame is no object');
    } catch (cause) {
      // Whoever sends garbage cannot be trusted with the next answer either.
      this.#failure ??= new Error(`The server sent a frame that is not CBOR of an RPC answer (${String(cause)})`, {
        cause,
      });
      this.#socket.terminate();
      return;
    }
    if (typeof frame.id === 'string') this.#answer(frame.id, frame);
    else {
      const message = parseNotification(frame.result);
      if (message !== undefined) this.onNotification?.(message);
    }
  }

  #answer(id: string, frame: { result?: unknown; error?: Parameters<typeof parseRpcError>[0] }): void {
    const call = this.#pending.get(id);
    if (call === undefined) return;
    this.#done(id, call);
    if (call.isAbandoned) {
      if (!frame.error) call.onLateResult?.(frame.result);
    } else if (frame.error) call.sink.reject(parseRpcError(frame.error));
    else call.sink.resolve(frame.result);
  }

  #closed(code: number): void {
    clearInterval(this.#heartbeat);
    this.#clock.stop();
    const cause = this.#failure;
    for (const [id, call] of [...this.#pending]) {
      this.#done(id, call);
      if (call.isAbandoned) continue;
      call.sink.reject(
        new ConnectionLostError(
          `The connection to SurrealDB dropped (close code ${code}) before "${call.method}" was answered. It may have ` +
            'run; it is not sent again. Read the data to find out, or make the write repeatable.',
          { outcome: 'unknown', cause },
        ),
      );
    }
    this.onClosed?.(cause);
  }
}

/** CBOR would carry `undefined` as NONE; a real server refuses a frame whose `session` is NONE. */
function withoutUndefined(frame: Record<string, unknown>): Record<string, unknown> {
  for (const key of Object.keys(frame)) if (frame[key] === undefined) delete frame[key];
  return frame;
}
