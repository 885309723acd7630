import { ConnectionLostError, type PoolExhaustedError } from '../surreal.errors.js';
import { type CallLimits, type Queued, tooMany } from './call-limits.js';
import { DeadlineTimer } from './deadline-timer.js';
import { Lane } from './lane.js';
import type { CallSink, DispatchingTransport, RpcCall, SendOptions } from './rpc-transport.js';

/** One call, from the moment it comes to the queue until the server is done with it. */
class TenantCall implements CallSink {
  readonly call: RpcCall;
  readonly options: SendOptions | undefined;
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: Error) => void;
  readonly #traffic: Traffic;
  /** Until when it may wait for its answer, in milliseconds since 1970; set when it has to wait for its turn. */
  deadline = 0;

  constructor(
    traffic: Traffic,
    call: RpcCall,
    options: SendOptions | undefined,
    resolve: (result: unknown) => void,
    reject: (error: Error) => void,
  ) {
    this.#traffic = traffic;
    this.call = call;
    this.options = options;
    this.resolve = resolve;
    this.reject = reject;
  }

  done(): void {
    this.#traffic.left();
  }
}

/** What is going on for one tenant. There is one only while something is. */
interface Traffic {
  readonly key: string;
  inFlight: number;
  /** Calls that wait for something else than their turn: a reconnect, a sign-in. */
  waitingElsewhere: number;
  /** Undefined as long as none had to wait. */
  queue: Set<TenantCall> | undefined;
  /** To be called when the server is done with one of its calls. */
  left: () => void;
}

/** A tenant that has called within this time counts as using the socket: its next call must not find it taken. */
const RECENTLY_MILLIS = 10_000;

/**
 * Shares one socket out among tenants (R6). Each has a limit of calls in flight and a queue of its own behind it, as soon as
 * there is somebody to share with; when the socket's own limit is reached, the queues take turns, one call each. A call
 * whose caller has given up but that the server still works at keeps its place: what burdens the server counts.
 */
export class FairQueue {
  readonly transport: DispatchingTransport;
  readonly #limits: CallLimits;
  readonly #queued: Queued;
  readonly #traffic = new Map<string, Traffic>();
  /** Those with calls in their queue that may send one, in the order of their turns. */
  readonly #turns = new Set<Traffic>();
  #inFlight = 0;
  #waiting = 0;
  #isServing = false;
  /** The last two tenants that called, and when: enough to know of each whether another has. */
  #last = { key: '', at: 0 };
  #lastOther = { key: '', at: 0 };
  /** One timer for all that wait. */
  readonly #clock = new DeadlineTimer((now) => this.#sweep(now));

  constructor(transport: DispatchingTransport, limits: CallLimits, queued: Queued = 'calls') {
    this.#queued = queued;
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
  send<Result>(key: string, message: RpcCall, options: SendOptions | undefined): Promise<Result> {
    return new Promise<Result>((resolve, reject) => {
      const traffic = this.#trafficOf(key);
      const call = new TenantCall(traffic, message, options, resolve as CallSink['resolve'], reject);
      this.#note(key);
      const mustWait = options?.isUrgent !== true && (queuedBy(traffic) > 0 || !this.#mayDispatch(traffic));
      if (mustWait) this.#enqueue(traffic, call);
      else this.#dispatch(traffic, call, options);
    });
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
    const known = this.#traffic.get(key);
    if (known !== undefined) return known;
    const left = () => {
      traffic.inFlight--;
      this.#inFlight--;
      if (this.#waiting > 0) this.#serve(traffic);
      this.#forgetIdle(traffic);
    };
    const traffic: Traffic = { key, inFlight: 0, waitingElsewhere: 0, queue: undefined, left };
    this.#traffic.set(key, traffic);
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

  #dispatch(traffic: Traffic, call: TenantCall, options: SendOptions | undefined): void {
    traffic.inFlight++;
    this.#inFlight++;
    this.transport.dispatch(call.call, options, call);
  }

  #enqueue(traffic: Traffic, call: TenantCall): void {
    try {
      this.#assertRoom(traffic);
    } catch (error) {
      return call.reject(error as Error);
    }
    call.deadline = Date.now() + this.#timeoutOf(call);
    (traffic.queue ??= new Set()).add(call);
    this.#waiting++;
    if (traffic.inFlight < this.#limitOf(traffic)) this.#turns.add(traffic);
    this.#clock.by(call.deadline);
    call.options?.onPending?.((error) => this.#giveUp(traffic, call, error));
  }

  #timeoutOf({ options }: TenantCall): number {
    return options?.timeoutMillis ?? this.transport.requestTimeoutMillis;
  }

  #giveUp(traffic: Traffic, call: TenantCall, error: Error): void {
    if (!this.#unqueue(traffic, call)) return;
    this.#forgetIdle(traffic);
    call.reject(error);
  }

  /** @returns whether it was in the queue */
  #unqueue(traffic: Traffic, call: TenantCall): boolean {
    if (traffic.queue?.delete(call) !== true) return false;
    this.#waiting--;
    return true;
  }

  /** After a call of `traffic` has left: sends what may be sent now, one call of each tenant in turn. */
  #serve(traffic: Traffic): void {
    if (queuedBy(traffic) > 0) this.#turns.add(traffic);
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
    const [call] = traffic.queue ?? [];
    if (call === undefined || !this.#mayDispatch(traffic)) return;
    this.#unqueue(traffic, call);
    this.#dispatch(traffic, call, shortened(call.options, Math.max(1, call.deadline - Date.now())));
    if (queuedBy(traffic) > 0 && traffic.inFlight < this.#limitOf(traffic)) this.#turns.add(traffic);
  }

  #sweep(now: number): void {
    for (const traffic of [...this.#traffic.values()]) {
      for (const call of traffic.queue ?? []) {
        if (call.deadline > now) this.#clock.by(call.deadline);
        else this.#giveUp(traffic, call, this.#overdue(traffic));
      }
    }
  }

  #failWaiting(): void {
    for (const traffic of [...this.#traffic.values()]) {
      for (const call of traffic.queue ?? []) {
        const what = `The connection dropped before "${call.call.method}" was sent. It may be tried again.`;
        this.#giveUp(traffic, call, new ConnectionLostError(what, { outcome: 'not-sent' }));
      }
    }
    this.#turns.clear();
    this.#clock.stop();
  }

  #forgetIdle(traffic: Traffic): void {
    if (traffic.inFlight === 0 && waitingOf(traffic) === 0) this.#traffic.delete(traffic.key);
  }

  #assertRoom(traffic: Traffic): void {
    const isTenant = waitingOf(traffic) >= this.#limits.maxWaitingPerTenant;
    if (!isTenant && this.#waiting < this.#limits.maxWaiting) return;
    this.#forgetIdle(traffic);
    throw tooMany(isTenant ? 'maxWaitingPerTenant' : 'maxWaiting', this.#limits, this.#queued);
  }

  #overdue(traffic: Traffic): PoolExhaustedError {
    const isTenant = traffic.inFlight >= this.#limits.maxInFlightPerTenant;
    return tooMany(isTenant ? 'maxInFlightPerTenant' : 'maxInFlight', this.#limits, this.#queued);
  }
}

function waitingOf(traffic: Traffic): number {
  return queuedBy(traffic) + traffic.waitingElsewhere;
}

function queuedBy({ queue }: Traffic): number {
  return queue?.size ?? 0;
}

function shortened(options: SendOptions | undefined, timeoutMillis: number): SendOptions {
  return {
    timeoutMillis,
    ...(options?.onLateResult === undefined ? {} : { onLateResult: options.onLateResult }),
    onPending: (cancel) => options?.onPending?.(cancel),
  };
}
