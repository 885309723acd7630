import type { BoundQuery, LiveMessage, Uuid } from 'surrealdb';
import type { Lane } from '../connection/lane.js';
import { isNotSent, RequestTimeoutError, SessionClosedError } from '../surreal.errors.js';
import type { Tenant } from '../tenant/tenant.js';
import type { Caller } from './caller.js';
import { Call, type CallOptions, Calls, onAbort } from './call.js';
import { translateDatabaseError } from './database-errors.js';
import type { Identity } from './identity.js';
import type { LeaseResources } from './lease-resources.js';
import { LiveSubscriptions } from './live-subscriptions.js';
import type { QueryRoad, RpcQueryResult } from './query-connection.js';
import { tracedQuery } from './query-tracer.js';
import type { Dependent, ServerSession, SessionState } from './server-session.js';
import { signedOut } from './session-errors.js';
import { SessionChanges } from './session-changes.js';
import { type LeaseOwner, SessionSlot } from './session-slot.js';

/** Rather too many texts than too few: what it says is looked at in the answer. */
const STARTS_OR_ENDS_LIVE = /\b(live|kill)\b/i;

type Work<Result> = (session: ServerSession, call: Call) => Promise<Result>;

/**
 * One unit of work's use of the pool, and the one way by which its queries leave (R1, R3). It takes the principal's
 * shared session at the first query, moves to one of its own at the first change, and gives everything back at `close()`.
 */
export class SessionLease implements QueryRoad {
  readonly #resources: LeaseResources;
  readonly #slot: SessionSlot;
  readonly #owner: LeaseOwner;
  readonly #calls = new Calls();
  // Most units of work have none of the following.
  #dependents: Set<Dependent> | undefined;
  #lives: LiveSubscriptions | undefined;
  #changes: SessionChanges | undefined;
  #ignoreSignal: (() => void) | undefined;
  #lane: Lane | undefined;

  constructor(resources: LeaseResources, owner: LeaseOwner) {
    this.#resources = resources;
    this.#slot = new SessionSlot(resources, owner);
    this.#owner = owner;
    resources.leaks?.watch(this);
  }

  get isClosed(): boolean {
    return this.#slot.isClosed;
  }

  /** The session's id on the server; undefined before there is one. */
  get id(): Uuid | undefined {
    return this.#slot.session?.id;
  }

  get identity(): Identity | undefined {
    return this.#slot.session?.identity;
  }

  get tenant(): Tenant | undefined {
    return this.#slot.tenant;
  }

  /** Where a session without a tenant works, once that is known. */
  get target(): SessionState['target'] {
    return this.#slot.changed?.target;
  }

  /** What the unit of work does to its session. */
  get changes(): SessionChanges {
    return (this.#changes ??= new SessionChanges(this, this.#slot));
  }

  /** As `SessionHandle.becomeCaller`; without a promise where nothing has to be waited for. */
  becomeCaller(caller: Caller): Promise<void> | undefined {
    this.#slot.becomeCaller(caller);
    return this.ready();
  }

  /** As `SessionHandle.ready`. */
  ready(): Promise<void> | undefined {
    // A session that is taken after the end is given back by nobody.
    this.assertOpen();
    const session = this.#slot.take();
    if (session === undefined) return this.withSession(() => Promise.resolve());
    void this.#resources.pool.release(session);
    return undefined;
  }

  get strictWrites(): boolean {
    return this.#owner.options?.strictWrites ?? this.#resources.strictWrites;
  }

  get transactionsKeepAuth(): boolean {
    return this.#resources.transactionsKeepAuth;
  }

  /** Whether it has a session at the moment. */
  get isHolding(): boolean {
    return this.#slot.session !== undefined;
  }

  /** What it is, in words. */
  describe(): string {
    const tenant = this.tenant === undefined ? 'no tenant' : `tenant "${this.tenant.id}"`;
    const { origin } = this.#owner;
    return `A unit of work of ${tenant}${origin === undefined ? '' : ` (${origin})`}`;
  }

  /** The way to the socket of its tenant. */
  get transport(): Lane {
    return (this.#lane ??= this.#resources.sockets.laneOf(this.tenant?.id));
  }

  /**
   * Runs a query in the session.
   * @throws SessionClosedError after `close()`; ConnectionLostError, RequestTimeoutError; what the database says
   */
  query(bound: BoundQuery, options?: CallOptions): Promise<RpcQueryResult[]> {
    if (!STARTS_OR_ENDS_LIVE.test(bound.query)) return this.traced(bound, () => this.#query(bound, options));
    return this.#liveQueries.starting((isRestart) => {
      // A live query goes on for longer than what bounded its first start.
      return this.traced(bound, () => this.#queryLive(bound, isRestart ? undefined : options));
    });
  }

  /** Runs a query inside its span, where queries are traced. What is asked of a closed lease is refused, and is no query. */
  traced<Result>(bound: Pick<BoundQuery, 'query' | 'bindings'>, work: () => Promise<Result>): Promise<Result> {
    const { tracer } = this.#resources;
    if (tracer === undefined || this.isClosed) return work();
    const { tenant } = this;
    return tracer.trace(tracedQuery(bound, tenant, tenant ?? this.target), work);
  }

  #query({ query, bindings }: BoundQuery, options: CallOptions | undefined): Promise<RpcQueryResult[]> {
    return this.withSession(
      ({ transport, id }, call) => transport.send({ method: 'query', params: [query, bindings], session: id }, call),
      options,
    );
  }

  #queryLive(bound: BoundQuery, options: CallOptions | undefined): Promise<RpcQueryResult[]> {
    return this.withSession((session, call) => this.#liveQueries.run(session, call, bound), options);
  }

  onReconnect(listener: () => void): () => void {
    this.assertOpen();
    return this.#liveQueries.onReconnect(listener);
  }

  onLive(id: Uuid, listener: (message: LiveMessage) => void): () => void {
    this.assertOpen();
    return this.#liveQueries.listen(id, listener);
  }

  /**
   * Does something with the session, signed in and retained, and does it again only if the server has not run it. All its
   * waiting together is bounded, and ends with the lease.
   * @throws SessionClosedError after `close()`, also when that comes in the middle; the reason of an aborted signal
   */
  withSession<Result>(work: Work<Result>, options?: CallOptions): Promise<Result> {
    return this.track((call) => {
      const session = this.#slot.take();
      return session === undefined ? this.#attempt(call, work, false) : this.#use(session, call, work, false);
    }, options);
  }

  /**
   * Makes a call with the bounds of this unit of work. The steady state passes here: no promise more than needed.
   * @throws what `work` throws, with the codes of this library
   */
  track<Result>(work: (call: Call) => Promise<Result>, options?: CallOptions): Promise<Result> {
    const { requestTimeoutMillis, statistics } = this.#resources;
    const own = this.#owner.options;
    const limitMillis = options?.requestTimeoutMillis ?? own?.requestTimeoutMillis ?? requestTimeoutMillis;
    let call: Call | undefined;
    const failed = (error: unknown): Error => {
      call?.end();
      return statistics.failed(this.#told(translateDatabaseError(error))) as Error;
    };
    try {
      this.assertOpen();
      if (own?.signal !== undefined) this.#heed(own.signal);
      const begun = (call = new Call(this.#calls, limitMillis, options?.signal));
      statistics.calls++;
      return work(begun).then(
        (result) => {
          begun.end();
          return result;
        },
        (error: unknown) => {
          throw failed(error);
        },
      );
    } catch (error) {
      return Promise.reject(failed(error));
    }
  }

  /** A caller who has signed out meanwhile is told so, and not that a session is closed. */
  #told(error: unknown): unknown {
    const isSignedOut = this.#owner.caller?.isRevoked === true && !this.isClosed;
    return isSignedOut && error instanceof SessionClosedError ? signedOut() : error;
  }

  /** Ends all calls when the unit's own signal is aborted. */
  #heed(signal: AbortSignal): void {
    signal.throwIfAborted();
    this.#ignoreSignal ??= onAbort(signal, (reason) => this.#calls.cancel(() => reason));
  }

  async #attempt<Result>(call: Call, work: Work<Result>, isHealed: boolean): Promise<Result> {
    const session = await this.#ready(call);
    return await this.#use(session, call, work, isHealed);
  }

  /** Does the work with a session that is retained for it, and once more with another when the server has not run it. */
  #use<Result>(session: ServerSession, call: Call, work: Work<Result>, isHealed: boolean): Promise<Result> {
    const { pool } = this.#resources;
    const { id } = session;
    const failed = (error: unknown): Promise<Result> => {
      void pool.release(session);
      if (isNotSent(error) && !call.isOverdue) return this.#attempt(call, work, isHealed);
      // A refused call was not run, so sending it once more cannot run it twice.
      if (!isHealed && session.heal(id, error)) return this.#attempt(call, work, true);
      throw error;
    };
    try {
      this.assertOpen();
      call.assertWanted();
      return work(session, call).then((result) => {
        void pool.release(session);
        return result;
      }, failed);
    } catch (error) {
      return failed(error);
    }
  }

  /**
   * Keeps a session for something that lives on it, and sees to it that this ends with the lease or with the session.
   * @returns to be called when it has ended
   * @throws SessionClosedError when the lease was closed meanwhile; the caller must end what it has begun
   */
  adopt(dependent: Dependent, session: ServerSession): () => void {
    this.assertOpen();
    session.assertOpen();
    this.#resources.pool.retain(session);
    const abandon = session.adopt(dependent);
    const dependents = (this.#dependents ??= new Set()).add(dependent);
    return () => {
      abandon();
      if (dependents.delete(dependent)) void this.#resources.pool.release(session);
    };
  }

  /**
   * Ends all that was begun and gives the sessions back; calls that still wait fail, whatever becomes of them on the
   * server. Never throws. Safe to call twice.
   */
  close(because: string): Promise<void> | undefined {
    if (this.isClosed) return undefined;
    this.#resources.leaks?.forget(this);
    this.#ignoreSignal?.();
    this.#slot.close(because);
    this.#calls.cancel(() => this.#slot.closedError(because));
    // The steady state ends here, without a promise: nothing was begun, and the session is a shared one.
    const isIdle = (this.#dependents?.size ?? 0) === 0 && this.#lives === undefined && !this.#slot.isArriving;
    return isIdle ? this.#slot.giveBack() : this.#endAll();
  }

  /** @throws SessionClosedError after `close()` */
  assertOpen(): void {
    this.#slot.assertOpen();
  }

  /** Kills its live queries. Never throws. */
  async endLiveQueries(): Promise<void> {
    await this.#lives?.end();
  }

  async #endAll(): Promise<void> {
    await this.endLiveQueries();
    await Promise.all([...(this.#dependents ?? [])].map((dependent) => dependent.end()));
    await this.#slot.arrived();
    await this.#slot.giveBack();
  }

  get #liveQueries(): LiveSubscriptions {
    return (this.#lives ??= new LiveSubscriptions(this.transport, (query, session) => {
      // One that was started before this unit signed in as somebody else would go on as who it was.
      if (session !== this.#slot.session) throw new SessionClosedError('The session was changed meanwhile.');
      return this.adopt(query, session);
    }));
  }

  async #ready(call: Call): Promise<ServerSession> {
    const { pool, sockets } = this.#resources;
    const hasConnection = () => sockets.queueOf(this.tenant?.id).transport.epoch !== 0;
    const leave = this.transport.enterWaiting();
    try {
      for (;;) {
        try {
          return await call.until(this.#slot.ready(), (late) => void pool.release(late), hasConnection);
        } catch (error) {
          call.assertWanted();
          // A sign-in that others had begun earlier got no answer: there is time for another.
          if (!(error instanceof RequestTimeoutError) || call.isOverdue || this.isClosed) throw error;
        }
      }
    } finally {
      leave();
    }
  }
}
