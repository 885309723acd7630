import { setMaxListeners } from 'node:events';
import type { SendOptions } from '../connection/rpc-transport.js';
import { ConnectionLostError, InvalidOptionsError, RequestTimeoutError } from '../surreal.errors.js';

/** Bounds, and other ways, that a unit of work or some calls of it have of their own. */
export interface CallOptions {
  /** In the place of the module's `requestTimeoutMillis`, in milliseconds. */
  requestTimeoutMillis?: number;
  /**
   * Ends the waiting of calls, with the signal's reason as their error; nothing more is sent for them. What was sent may
   * still run on the server.
   */
  signal?: AbortSignal;
  /** In the place of the module's `strictWrites`. */
  strictWrites?: boolean;
}

/**
 * Checks bounds that come from application code.
 * @throws InvalidOptionsError naming what is wrong
 */
export function callOptions(options: CallOptions | undefined): CallOptions | undefined {
  if (options === undefined) return undefined;
  const { requestTimeoutMillis, signal, strictWrites, ...unknown } = options;
  const [name] = Object.keys(unknown);
  if (name !== undefined) {
    throw new InvalidOptionsError(
      `"${name}" is no option of a call. Known are: requestTimeoutMillis, signal, strictWrites.`,
    );
  }
  const isDuration =
    typeof requestTimeoutMillis === 'number' && requestTimeoutMillis > 0 && requestTimeoutMillis < 2 ** 31;
  if (requestTimeoutMillis !== undefined && !isDuration) {
    throw new InvalidOptionsError('"requestTimeoutMillis" must be a number of milliseconds above 0 and below 2^31.');
  }
  if (signal !== undefined && typeof signal.addEventListener !== 'function') {
    throw new InvalidOptionsError('"signal" must be an AbortSignal.');
  }
  if (strictWrites !== undefined && typeof strictWrites !== 'boolean') {
    throw new InvalidOptionsError('"strictWrites" must be true or false.');
  }
  return options;
}

/** How long the end of a unit of work waits for what it gives back on the server, in milliseconds. */
export const CLEANUP_MILLIS = 2_000;

/** The calls of one unit of work that are on their way: a list through the calls themselves, since most have one at a time. */
export class Calls {
  #first: Call | undefined;

  add(call: Call): void {
    call.next = this.#first;
    if (this.#first !== undefined) this.#first.previous = call;
    this.#first = call;
  }

  delete(call: Call): void {
    if (this.#first === call) this.#first = call.next;
    if (call.previous !== undefined) call.previous.next = call.next;
    if (call.next !== undefined) call.next.previous = call.previous;
    call.previous = call.next = undefined;
  }

  /** Ends the waiting of all of them. */
  cancel(error: () => Error): void {
    for (let call = this.#first; call !== undefined; call = call.next) call.cancel(error());
  }
}

/**
 * One call of a unit of work, from the moment it is asked for until its caller knows how it ended: in the meantime it may
 * wait for a session, a reconnect, its turn and the answer, and all of that together has one limit (R4).
 */
export class Call implements SendOptions {
  onLateResult?: (result: unknown) => void;
  /** Its neighbours in {@link Calls}. */
  next: Call | undefined;
  previous: Call | undefined;
  readonly #calls: Calls;
  readonly #limitMillis: number;
  readonly #ignoreSignal: (() => void) | undefined;
  readonly #startedAt = Date.now();
  #stopWaiting: ((error: Error) => void) | undefined;
  #cancelledBy: Error | undefined;

  /**
   * @param calls of the unit of work; it is among them until `end()`
   * @throws the signal's reason when it has been aborted already
   */
  constructor(calls: Calls, limitMillis: number, signal: AbortSignal | undefined) {
    signal?.throwIfAborted();
    this.#calls = calls;
    this.#limitMillis = limitMillis;
    if (signal !== undefined) this.#ignoreSignal = onAbort(signal, (reason) => this.cancel(reason));
    calls.add(this);
  }

  /** What is left of its time. */
  get timeoutMillis(): number {
    const passed = Date.now() - this.#startedAt;
    // A call that did not have to wait gets the whole time: timers of one length cost Node next to nothing.
    return passed < 20 ? this.#limitMillis : Math.max(1, this.#limitMillis - passed);
  }

  get isOverdue(): boolean {
    return Date.now() - this.#startedAt >= this.#limitMillis;
  }

  /** Called by whatever it waits in, with what makes it wait no longer. */
  onPending(cancel: (error: Error) => void): void {
    if (this.#cancelledBy === undefined) this.#stopWaiting = cancel;
    else cancel(this.#cancelledBy);
  }

  /** Its caller wants no answer any more, and gets this error at once. */
  cancel(error: Error): void {
    this.#cancelledBy ??= error;
    this.#stopWaiting?.(this.#cancelledBy);
  }

  /** @throws what it was cancelled with */
  assertWanted(): void {
    if (this.#cancelledBy !== undefined) throw this.#cancelledBy;
  }

  /**
   * Waits for something that must be there before the call can be sent.
   * @param giveBack takes what comes when nobody waits for it any more
   * @param hasConnection asked when the time is over, to say what was missing
   */
  async until<Result>(
    promise: Promise<Result>,
    giveBack: (late: Result) => void = () => undefined,
    hasConnection: () => boolean = () => true,
  ): Promise<Result> {
    return await new Promise<Result>((resolve, reject) => {
      let isOver = false;
      const stop = (error: Error) => {
        isOver = true;
        clearTimeout(timer);
        reject(error);
      };
      const timer = setTimeout(() => stop(notReady(this.#limitMillis, hasConnection())), this.timeoutMillis);
      this.onPending(stop);
      promise.then((result) => {
        if (isOver) return giveBack(result);
        clearTimeout(timer);
        resolve(result);
      }, stop);
    });
  }

  end(): void {
    this.#calls.delete(this);
    this.#ignoreSignal?.();
  }
}

/**
 * Calls back when a signal is aborted, until the returned function is called. Any number may listen to one signal at a time:
 * the calls of a unit of work, the jobs that one shutdown ends.
 */
export function onAbort(signal: AbortSignal, listener: (reason: Error) => void): () => void {
  const aborted = () => listener(signal.reason as Error);
  setMaxListeners(0, signal);
  signal.addEventListener('abort', aborted);
  return () => signal.removeEventListener('abort', aborted);
}

function notReady(limitMillis: number, hasConnection: boolean): ConnectionLostError | RequestTimeoutError {
  if (hasConnection) {
    return new RequestTimeoutError(
      `The session was not signed in within ${limitMillis} ms. The call was not sent; it may be tried again.`,
    );
  }
  return new ConnectionLostError(
    `No connection to SurrealDB within ${limitMillis} ms. The call was not sent; it may be tried again.`,
    { outcome: 'not-sent' },
  );
}
