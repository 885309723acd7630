import type { LiveMessage, Uuid } from 'surrealdb';
import { ConnectionLostError, PoolExhaustedError } from '../surreal.errors.js';
import type { RpcCall, RpcTransport, SendOptions, TransportListener } from './rpc-transport.js';

/** How many calls may be under way, and wait, on one socket. */
export interface CallLimits {
  /** Calls of one tenant that the server works at, while other tenants use the socket too. */
  maxInFlightPerTenant: number;
  /** Calls of all tenants that the server works at. */
  maxInFlight: number;
  /** Calls of one tenant that have not been sent yet. */
  maxWaitingPerTenant: number;
  /** Calls of all tenants that have not been sent yet. */
  maxWaiting: number;
}

interface QueuedCall {
  call: RpcCall;
  options: SendOptions | undefined;
  queuedAt: number;
  timeoutMillis: number;
  timer: NodeJS.Timeout;
  resolve: (result: Promise<unknown>) => void;
  reject: (error: Error) => void;
}

/** What is going on for one tenant. There is one only while something is. */
interface Traffic {
  readonly key: string;
  inFlight: number;
  /** Calls that wait for something else than their turn: a reconnect, a sign-in. */
  waitingElsewhere: number;
  /** Undefined as long as none had to wait. */
  queue: Set<QueuedCall> | undefined;
}

/** A tenant that has called within this time counts as using the socket: its next call must not find it taken. */
const RECENTLY_MILLIS = 1_000;

/**
 * Shares one socket out among tenants (R6). Each has a limit of calls in flight and a queue of its own behind it, as soon as
 * there is somebody to share with; when the socket's own limit is reached, the queues take turns, one call each. A call whose caller has given up but that the
 * server still works at keeps its place: what burdens the server counts.
 */
export class FairQueue {
  readonly transport: RpcTransport;
  readonly #limits: CallLimits;
  readonly #traffic = new Map<string, Traffic>();
  /** Those with calls in their queue that may send one, in the order of their turns. */
  readonly #turns = new Set<Traffic>();
  #inFlight = 0;
  #waiting = 0;
  #isServing = false;
  /** The last two tenants that called, and when: enough to know of each whether another has. */
  #last = { key: '', at: 0 };
  #lastOther = { key: '', at: 0 };

  constructor(transport: RpcTransport, limits: CallLimits) {
    this.transport = transport;
    this.#limits = limits;
    transport.subscribe({ lost: () => this.#failWaiting() });
  }

  /** How many calls the server works at, those included that nobody waits for any more. */
  get inFlight(): number {
    return this.#inFlight;
  }

  /** How many calls have not been sent yet. */
  get waiting(): number {
    return this.#waiting;
  }

  /** Tenants of whom there are any. */
  get keys(): string[] {
    return [...this.#traffic.keys()];
  }

  /** Both numbers of one tenant. */
  trafficOf(key: string): { inFlight: number; waiting: number } {
    const traffic = this.#traffic.get(key);
    return { inFlight: traffic?.inFlight ?? 0, waiting: traffic === undefined ? 0 : waitingOf(traffic) };
  }

  /** The way to the transport for one tenant's calls. */
  lane(key: string): Lane {
    return new Lane(this, key);
  }

  /** As `RpcTransport.send`, in the tenant's turn. @throws PoolExhaustedError when too many wait, or it waited too long */
  send<Result>(key: string, call: RpcCall, options: SendOptions | undefined): Promise<Result> {
    const traffic = this.#trafficOf(key);
    this.#note(key);
    const mustWait = options?.isUrgent !== true && (queued(traffic) > 0 || !this.#mayDispatch(traffic));
    return mustWait ? this.#enqueue(traffic, call, options) : this.#dispatch(traffic, call, options);
  }

  /**
   * Counts a call that waits for something else than its turn, until the returned function is called.
   * @throws PoolExhaustedError when too many wait already
   */
  enterWaiting(key: string): () => void {
    const traffic = this.#trafficOf(key);
    this.#assertRoom(traffic);
    traffic.waitingElsewhere++;
    this.#waiting++;
    return () => {
      traffic.waitingElsewhere--;
      this.#waiting--;
      this.#forgetIdle(traffic);
    };
  }

  #trafficOf(key: string): Traffic {
    let traffic = this.#traffic.get(key);
    if (traffic === undefined) {
      traffic = { key, inFlight: 0, waitingElsewhere: 0, queue: undefined };
      this.#traffic.set(key, traffic);
    }
    return traffic;
  }

  #note(key: string): void {
    if (this.#last.key !== key) [this.#last, this.#lastOther] = [this.#lastOther, this.#last];
    this.#last.key = key;
    this.#last.at = Date.now();
  }

  #mayDispatch(traffic: Traffic): boolean {
    return traffic.inFlight < this.#limitOf(traffic) && this.#inFlight < this.#limits.maxInFlight;
  }

  /** A tenant that has the socket for itself may use all of it. */
  #limitOf(traffic: Traffic): number {
    const { maxInFlight, maxInFlightPerTenant } = this.#limits;
    if (traffic.inFlight < maxInFlightPerTenant) return maxInFlightPerTenant;
    const other = this.#last.key === traffic.key ? this.#lastOther : this.#last;
    return Date.now() - other.at < RECENTLY_MILLIS || this.#traffic.size > 1 ? maxInFlightPerTenant : maxInFlight;
  }

  #dispatch<Result>(traffic: Traffic, call: RpcCall, options: SendOptions | undefined): Promise<Result> {
    traffic.inFlight++;
    this.#inFlight++;
    return this.transport.send<Result>(call, options, () => {
      traffic.inFlight--;
      this.#inFlight--;
      if (this.#waiting > 0) this.#serve(traffic);
      this.#forgetIdle(traffic);
    });
  }

  #enqueue<Result>(traffic: Traffic, call: RpcCall, options: SendOptions | undefined): Promise<Result> {
    return new Promise<Result>((resolve, reject) => {
      this.#assertRoom(traffic);
      const timeoutMillis = options?.timeoutMillis ?? this.transport.requestTimeoutMillis;
      const giveUp = (error: Error) => {
        if (!this.#unqueue(traffic, queued)) return;
        this.#forgetIdle(traffic);
        reject(error);
      };
      const queued: QueuedCall = {
        call,
        options,
        queuedAt: Date.now(),
        timeoutMillis,
        timer: setTimeout(() => giveUp(this.#overdue(traffic, timeoutMillis)), timeoutMillis),
        resolve: resolve as QueuedCall['resolve'],
        reject,
      };
      (traffic.queue ??= new Set()).add(queued);
      this.#waiting++;
      if (traffic.inFlight < this.#limitOf(traffic)) this.#turns.add(traffic);
      options?.onPending?.(giveUp);
    });
  }

  /** @returns whether it was in the queue */
  #unqueue(traffic: Traffic, queued: QueuedCall): boolean {
    if (traffic.queue?.delete(queued) !== true) return false;
    clearTimeout(queued.timer);
    this.#waiting--;
    return true;
  }

  /** After a call of `traffic` has left: sends what may be sent now, one call of each tenant in turn. */
  #serve(traffic: Traffic): void {
    if (queued(traffic) > 0) this.#turns.add(traffic);
    // A call that fails at once leaves while it is being sent; the loop that sent it goes on with the next.
    if (this.#isServing) return;
    this.#isServing = true;
    for (const next of this.#turns) {
      if (this.#inFlight >= this.#limits.maxInFlight) break;
      // Whoever has had a turn and has more to send goes to the end, and is met there again by this very loop.
      this.#turns.delete(next);
      this.#serveOne(next);
    }
    this.#isServing = false;
  }

  #serveOne(traffic: Traffic): void {
    const [next] = traffic.queue ?? [];
    if (next === undefined || !this.#mayDispatch(traffic)) return;
    this.#unqueue(traffic, next);
    const left = Math.max(1, next.timeoutMillis - (Date.now() - next.queuedAt));
    next.resolve(this.#dispatch(traffic, next.call, shortened(next.options, left)));
    if (queued(traffic) > 0 && traffic.inFlight < this.#limitOf(traffic)) this.#turns.add(traffic);
  }

  #failWaiting(): void {
    for (const traffic of [...this.#traffic.values()]) {
      for (const queued of [...(traffic.queue ?? [])]) {
        this.#unqueue(traffic, queued);
        queued.reject(
          new ConnectionLostError(
            `The connection to SurrealDB dropped before "${queued.call.method}" was sent. It may be tried again.`,
            { outcome: 'not-sent' },
          ),
        );
      }
      this.#forgetIdle(traffic);
    }
    this.#turns.clear();
  }

  #forgetIdle(traffic: Traffic): void {
    if (traffic.inFlight === 0 && waitingOf(traffic) === 0) {
      this.#traffic.delete(traffic.key);
    }
  }

  #assertRoom(traffic: Traffic): void {
    const { maxWaiting, maxWaitingPerTenant } = this.#limits;
    if (waitingOf(traffic) >= maxWaitingPerTenant) {
      this.#forgetIdle(traffic);
      throw new PoolExhaustedError(
        `${maxWaitingPerTenant} calls of this tenant wait already (calls.maxWaitingPerTenant). The call was not sent. Send ` +
          'fewer at once, or raise it.',
        { limit: 'calls.maxWaitingPerTenant' },
      );
    }
    if (this.#waiting < maxWaiting) return;
    this.#forgetIdle(traffic);
    throw new PoolExhaustedError(
      `${maxWaiting} calls wait already (calls.maxWaiting). The call was not sent. The database is away or too slow for ` +
        'the load.',
      { limit: 'calls.maxWaiting' },
    );
  }

  #overdue(traffic: Traffic, timeoutMillis: number): PoolExhaustedError {
    const { maxInFlight, maxInFlightPerTenant } = this.#limits;
    const isOwn = traffic.inFlight >= maxInFlightPerTenant;
    const limit = isOwn ? 'calls.maxInFlightPerTenant' : 'calls.maxInFlight';
    const who = isOwn ? `${maxInFlightPerTenant} calls of this tenant` : `${maxInFlight} calls`;
    return new PoolExhaustedError(
      `The call waited ${timeoutMillis} ms for its turn and was not sent: ${who} are in flight (${limit}).`,
      { limit },
    );
  }
}

/** A transport whose calls are one tenant's. */
export class Lane implements RpcTransport {
  readonly #queue: FairQueue;
  readonly #key: string;

  /** @internal by `FairQueue.lane()` */
  constructor(queue: FairQueue, key: string) {
    this.#queue = queue;
    this.#key = key;
  }

  get epoch(): number {
    return this.#queue.transport.epoch;
  }

  get inFlight(): number {
    return this.#queue.trafficOf(this.#key).inFlight;
  }

  get requestTimeoutMillis(): number {
    return this.#queue.transport.requestTimeoutMillis;
  }

  ready(timeoutMillis?: number): Promise<void> | undefined {
    return this.#queue.transport.ready(timeoutMillis);
  }

  send<Result>(call: RpcCall, options?: SendOptions): Promise<Result> {
    return this.#queue.send<Result>(this.#key, call, options);
  }

  /** As {@link FairQueue.enterWaiting}. */
  enterWaiting(): () => void {
    return this.#queue.enterWaiting(this.#key);
  }

  onLive(id: Uuid, listener: (message: LiveMessage) => void): () => void {
    return this.#queue.transport.onLive(id, listener);
  }

  subscribe(listener: TransportListener): () => void {
    return this.#queue.transport.subscribe(listener);
  }
}

function waitingOf(traffic: Traffic): number {
  return queued(traffic) + traffic.waitingElsewhere;
}

function queued({ queue }: Traffic): number {
  return queue?.size ?? 0;
}

function shortened(options: SendOptions | undefined, timeoutMillis: number): SendOptions {
  return {
    timeoutMillis,
    ...(options?.onLateResult === undefined ? {} : { onLateResult: options.onLateResult }),
    onPending: (cancel) => options?.onPending?.(cancel),
  };
}
