import { type CborCodec, type LiveMessage, parseRpcError } from 'surrealdb';
import { WebSocket } from 'ws';
import { ConnectionLostError, RequestTimeoutError } from '../surreal.errors.js';
import { parseNotification } from './live-notifications.js';
import type { RpcCall, SendOptions } from './rpc-transport.js';

interface PendingCall {
  resolve: (result: unknown) => void;
  reject: (error: Error) => void;
  method: string;
  timer: NodeJS.Timeout | undefined;
  onLateResult: ((result: unknown) => void) | undefined;
}

/** How long `close()` waits for the server's closing handshake before it cuts the socket. */
const CLOSE_HANDSHAKE_MILLIS = 1_000;

/**
 * One WebSocket, from its opening to its end; it is never reused. Every call is in `#pending` from the moment it is
 * sent until it is answered, timed out, or lost with the socket: this is where "sent at most once" holds (R4).
 */
export class RpcSocket {
  readonly #socket: WebSocket;
  readonly #codec: CborCodec;
  readonly #pending = new Map<string, PendingCall>();
  #nextId = 0;
  #failure: Error | undefined;

  /** Called for each notification of a live query. */
  onNotification: ((message: LiveMessage) => void) | undefined;
  /** Called once, when the socket is gone. By then every pending call has failed. */
  onClosed: ((failure: Error | undefined) => void) | undefined;

  /**
   * Connects to one address.
   * @throws Error what the network said, or that it took longer than `timeoutMillis`
   */
  static open(url: URL, codec: CborCodec, timeoutMillis: number): Promise<RpcSocket> {
    return new Promise((resolve, reject) => {
      const socket = new WebSocket(url, 'cbor', { handshakeTimeout: timeoutMillis, perMessageDeflate: false });
      socket.once('error', reject);
      socket.once('open', () => {
        socket.off('error', reject);
        resolve(new RpcSocket(socket, codec));
      });
    });
  }

  private constructor(socket: WebSocket, codec: CborCodec) {
    this.#socket = socket;
    this.#codec = codec;
    socket.binaryType = 'nodebuffer';
    socket.on('message', (data: Buffer) => this.#receive(data));
    // An error is always followed by 'close'; without a listener it would end the process.
    socket.on('error', (error) => (this.#failure ??= error));
    socket.once('close', (code) => this.#closed(code));
  }

  get inFlight(): number {
    return this.#pending.size;
  }

  get isOpen(): boolean {
    return this.#socket.readyState === WebSocket.OPEN;
  }

  send<Result>(call: RpcCall, timeoutMillis: number, options?: SendOptions): Promise<Result> {
    const id = (this.#nextId++).toString(36);
    // Encoding first: a value that CBOR cannot carry is the caller's error and leaves nothing pending.
    const frame = this.#codec.encode(withoutUndefined({ id, ...call }));
    return new Promise<Result>((resolve, reject) => {
      const timer = setTimeout(() => this.#timedOut(id, timeoutMillis), timeoutMillis);
      this.#pending.set(id, {
        resolve: resolve as (result: unknown) => void,
        reject,
        method: call.method,
        timer,
        onLateResult: options?.onLateResult,
      });
      this.#socket.send(frame);
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

  #timedOut(id: string, timeoutMillis: number): void {
    const call = this.#pending.get(id);
    if (call === undefined) return;
    // A call whose late answer matters stays listed, so that the answer finds its owner.
    call.timer = undefined;
    if (call.onLateResult === undefined) this.#pending.delete(id);
    call.reject(
      new RequestTimeoutError(
        `SurrealDB did not answer "${call.method}" within ${timeoutMillis} ms. It may still run there. ` +
          'Raise requestTimeoutMillis if such calls are meant to take this long.',
      ),
    );
  }

  #receive(data: Buffer): void {
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
    this.#pending.delete(id);
    if (call.timer === undefined) {
      if (!frame.error) call.onLateResult?.(frame.result);
      return;
    }
    clearTimeout(call.timer);
    if (frame.error) call.reject(parseRpcError(frame.error));
    else call.resolve(frame.result);
  }

  #closed(code: number): void {
    const cause = this.#failure;
    for (const call of this.#pending.values()) {
      if (call.timer === undefined) continue;
      clearTimeout(call.timer);
      call.reject(
        new ConnectionLostError(
          `The connection to SurrealDB dropped (close code ${code}) before "${call.method}" was answered. It may have ` +
            'run; it is not sent again. Read the data to find out, or make the write repeatable.',
          { outcome: 'unknown', cause },
        ),
      );
    }
    this.#pending.clear();
    this.onClosed?.(cause);
  }
}

/** CBOR would carry `undefined` as NONE; a real server refuses a frame whose `session` is NONE. */
function withoutUndefined(frame: Record<string, unknown>): Record<string, unknown> {
  for (const key of Object.keys(frame)) if (frame[key] === undefined) delete frame[key];
  return frame;
}
