import { type BoundQuery, CborCodec, type LiveMessage, type Uuid } from 'surrealdb';
import type { RpcTransport } from '../connection/rpc-transport.js';
import { isNotSent, SessionClosedError } from '../surreal.errors.js';
import type { Tenant } from '../tenant/tenant.js';
import { isExpiredSession, isUnknownSession, translateDatabaseError } from './database-errors.js';
import { enterDatabase } from './identity.js';
import { LiveSubscriptions } from './live-subscriptions.js';
import type { QueryRoad, RpcQueryResult } from './query-connection.js';
import { type Dependent, type Principal, type ServerSession, type SessionState, signedOut } from './server-session.js';
import type { SessionPool } from './session-pool.js';

const CODEC = new CborCodec({});

export interface LeaseResources {
  pool: SessionPool<ServerSession>;
  /** Makes a session of one's own; the pool decides when. */
  openOwn: (state: SessionState) => ServerSession;
  transport: RpcTransport;
  requestTimeoutMillis: number;
}

/** Whom a unit of work belongs to, and since when. */
export interface Admission {
  /** Undefined for a session that belongs to no tenant. */
  tenant: Tenant | undefined;
  /** The pool's `evictions` when the tenant was admitted: an eviction after it ends the unit of work. */
  evictions: number;
}

/**
 * One unit of work's use of the pool, and the one way by which its queries leave (R1, R3). It takes the principal's
 * shared session at the first query, moves to one of its own at the first change, and gives everything back at `close()`.
 */
export class SessionLease implements QueryRoad {
  readonly #resources: LeaseResources;
  readonly #admission: () => Admission;
  readonly #dependents = new Set<Dependent>();
  readonly #lives: LiveSubscriptions;
  #session: ServerSession | undefined;
  /** What this unit has made of its session; undefined as long as it has changed nothing. */
  #changed: SessionState | undefined;
  #arriving: Promise<ServerSession> | undefined;
  #hasListened = false;
  #cancelWait: ((error: Error) => void) | undefined;
  #lastChange: Promise<unknown> = Promise.resolve();
  #closedBecause: string | undefined;

  /** @param admission asked at the first query: a session may be handed out before a guard has found the tenant */
  constructor(resources: LeaseResources, admission: () => Admission) {
    this.#resources = resources;
    this.#admission = admission;
    this.#lives = new LiveSubscriptions(resources.transport, (query, session) => {
      // One that was started before this unit signed in as somebody else would go on as who it was.
      if (session !== this.#session) throw new SessionClosedError('The session was changed meanwhile.');
      return this.adopt(query, session);
    });
  }

  get isClosed(): boolean {
    return this.#closedBecause !== undefined;
  }

  /** The session's id on the server; undefined before there is one. */
  get id(): Uuid | undefined {
    return this.#session?.id;
  }

  get tenant(): Tenant | undefined {
    return this.#admission().tenant;
  }

  /** Where a session without a tenant works, once that is known. */
  get target(): SessionState['target'] {
    return this.#changed?.target;
  }

  get transport(): RpcTransport {
    return this.#resources.transport;
  }

  /**
   * Runs a query in the session.
   * @throws SessionClosedError after `close()`; ConnectionLostError, RequestTimeoutError; what the database says
   */
  async query({ query, bindings }: BoundQuery): Promise<RpcQueryResult[]> {
    return await this.withSession(async (session) => {
      const { id } = session;
      const track = (results: RpcQueryResult[]) => this.#lives.track(session, id, { query, bindings }, results);
      const call = { method: 'query', params: [query, bindings], session: id };
      if (!/\b(live|kill)\b/i.test(query)) return await this.transport.send<RpcQueryResult[]>(call);
      // What an answer that comes too late says it started has no other owner.
      const onLateResult = (late: unknown) => void track(late as RpcQueryResult[]);
      const results = await this.transport.send<RpcQueryResult[]>(call, { onLateResult });
      await track(results);
      return results;
    });
  }

  onReconnect(listener: () => void): () => void {
    this.assertOpen();
    this.#hasListened = true;
    return this.#lives.onReconnect(listener);
  }

  onLive(id: Uuid, listener: (message: LiveMessage) => void): () => void {
    this.assertOpen();
    return this.#lives.listen(id, listener);
  }

  /**
   * Does something with the session, signed in and retained, and does it again only if the server has not run it.
   * @throws SessionClosedError after `close()`
   */
  async withSession<Result>(work: (session: ServerSession) => Promise<Result>): Promise<Result> {
    this.assertOpen();
    const { pool, requestTimeoutMillis } = this.#resources;
    const deadline = Date.now() + requestTimeoutMillis;
    let isHealed = false;
    for (;;) {
      const session = await this.#ready();
      const { id } = session;
      try {
        this.assertOpen();
        return await work(session);
      } catch (error) {
        if (isNotSent(error) && Date.now() < deadline) continue;
        // A refused call was not run, so sending it once more cannot run it twice.
        if (isHealed || !heal(session, id, error)) throw translateDatabaseError(error);
        isHealed = true;
      } finally {
        void pool.release(session);
      }
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
    session.dependents.add(dependent);
    this.#dependents.add(dependent);
    return () => {
      session.dependents.delete(dependent);
      if (this.#dependents.delete(dependent)) void this.#resources.pool.release(session);
    };
  }

  /** Sets or unsets a variable, in a session of its own (R2). When it fails, it is as if it had not been tried. */
  async setVariable(name: string, change: { value: unknown } | undefined): Promise<void> {
    await this.#serially(async () => {
      const state = this.#own();
      // A copy, as the server gets one: what the caller does to its object later must not come back after a reconnect.
      const value: unknown = change === undefined ? undefined : CODEC.decode(CODEC.encode(change.value));
      const call =
        change === undefined ? { method: 'unset', params: [name] } : { method: 'let', params: [name, value] };
      if (state.principal.type !== 'nobody')
        await this.#changing((session) => this.transport.send({ ...call, session }));
      if (change === undefined) state.variables.delete(name);
      else state.variables.set(name, value);
    });
  }

  /** Selects where a session without a tenant works: at once, or when it signs in. */
  async use(target: NonNullable<SessionState['target']>): Promise<void> {
    await this.#serially(async () => {
      const state = this.#own();
      if (state.principal.type !== 'nobody') {
        await this.#changing((session) => enterDatabase(this.transport, session, target));
      }
      state.target = target;
    });
  }

  /**
   * Signs in as the bearer of a token, in another session on the server: what runs in the present one goes on as who it
   * was. When it fails, for whatever reason, the lease stays signed in as before.
   */
  async authenticate(token: string): Promise<void> {
    await this.#serially(async () => {
      const { pool } = this.#resources;
      const state = this.#stateAs({ type: 'bearer', token });
      const session = await this.#acquireFor(state);
      try {
        this.assertOpen();
        for (let busy = session.prepare(); busy !== undefined; busy = session.prepare()) await busy;
        this.assertOpen();
      } catch (error) {
        void pool.release(session);
        throw error;
      }
      const before = this.#session;
      this.#changed = state;
      this.#session = session;
      this.#cancelWait?.(new SessionClosedError('The session was changed meanwhile.'));
      await this.#lives.end();
      if (before !== undefined) void pool.release(before);
    });
  }

  /** Signs out, at once: what is sent from now on is refused. What runs already ends as who it was. */
  async signOut(): Promise<void> {
    await this.#serially(async () => {
      this.#changed = this.#stateAs({ type: 'nobody' });
      const session = this.#session;
      this.#session = undefined;
      await this.#lives.end();
      if (session !== undefined) await this.#resources.pool.release(session);
    });
  }

  /** Makes a session of its own on the server now; one that is nobody's is only attached. */
  async attach(): Promise<void> {
    await this.#serially(async () => {
      const { principal } = this.#own();
      if (principal.type === 'nobody') await (this.#session ?? (await this.#arrive())).attach();
      else await this.withSession(() => Promise.resolve());
    });
  }

  /** Ends all that was begun and gives the sessions back. Never throws. Safe to call twice. */
  close(because: string): Promise<void> | undefined {
    if (this.#closedBecause !== undefined) return undefined;
    this.#closedBecause = because;
    this.#cancelWait?.(new SessionClosedError(because));
    // The steady state ends here, without a promise: nothing was begun, and the session is a shared one.
    if (this.#dependents.size === 0 && !this.#hasListened && this.#arriving === undefined) return this.#giveBack();
    return this.#endAll();
  }

  /** @throws SessionClosedError after `close()` */
  assertOpen(): void {
    if (this.#closedBecause === undefined) return;
    throw new SessionClosedError(
      `${this.#closedBecause} A TenantSession can be used only while its unit of work runs: await everything before it ` +
        'ends, or give background work a unit of work of its own with tenancy.run().',
    );
  }

  async #endAll(): Promise<void> {
    await this.#lives.end();
    await Promise.all([...this.#dependents].map((dependent) => dependent.end()));
    await this.#arriving?.catch(() => undefined);
    await this.#giveBack();
  }

  #giveBack(): Promise<void> | undefined {
    const session = this.#session;
    this.#session = undefined;
    return session === undefined ? undefined : this.#resources.pool.release(session);
  }

  /** The session, retained for one call and ready for it. */
  async #ready(): Promise<ServerSession> {
    const { pool } = this.#resources;
    for (;;) {
      if (this.#changed?.principal.type === 'nobody') throw signedOut();
      const session = pool.retain(this.#session ?? (await this.#arrive()));
      try {
        const preparing = session.prepare();
        if (preparing === undefined) return session;
        await preparing;
        this.assertOpen();
      } catch (error) {
        void pool.release(session);
        // Another took its place while it was being prepared: that one counts.
        if (this.isClosed || this.#session === session || this.#session === undefined)
          throw translateDatabaseError(error);
        continue;
      }
      if (session === this.#session && session.prepare() === undefined) return session;
      void pool.release(session);
    }
  }

  /** One session arrives at a time; one that arrives too late goes straight back. */
  async #arrive(): Promise<ServerSession> {
    this.#arriving ??= this.#acquire().finally(() => (this.#arriving = undefined));
    return await this.#arriving;
  }

  async #acquire(): Promise<ServerSession> {
    const { pool } = this.#resources;
    for (;;) {
      const { tenant } = this.#admitted();
      const changed = (this.#changed ??= tenant === undefined ? this.#stateAs({ type: 'nobody' }) : undefined);
      const onWait = (cancel: (error: Error) => void) => (this.#cancelWait = cancel);
      try {
        const session = await (changed === undefined
          ? pool.acquireShared(tenant as Tenant, onWait)
          : this.#acquireFor(changed));
        if (!this.isClosed && this.#changed === changed && this.#session === undefined && this.#isAdmitted()) {
          return (this.#session = session);
        }
        // The unit was changed, evicted, or ended while this one was on its way.
        void pool.release(session);
      } catch (error) {
        if (this.#session === undefined || this.isClosed) throw error;
      }
      this.assertOpen();
      if (this.#session !== undefined) return this.#session;
    }
  }

  /** A session of this unit's own. One of its own that it has already is succeeded, a shared one is given back first. */
  async #acquireFor(state: SessionState): Promise<ServerSession> {
    const { pool, openOwn } = this.#resources;
    this.#admitted();
    const open = () => openOwn(state);
    const present = this.#session;
    if (present?.own === true) return pool.acquireSuccessor(present, open);
    // A unit of work that held one session while it waits for another could wait for itself.
    void this.#giveBack();
    return await pool.acquireOwn(open, (cancel) => (this.#cancelWait = cancel));
  }

  /** @throws SessionClosedError when the tenant was evicted since this unit of work began */
  #admitted(): Admission {
    const admission = this.#admission();
    if (!this.#isAdmitted()) throw new SessionClosedError(`Tenant "${admission.tenant?.id}" was evicted.`);
    return admission;
  }

  #isAdmitted(): boolean {
    const { tenant, evictions } = this.#admission();
    return tenant === undefined || !this.#resources.pool.wasEvicted(tenant.id, evictions);
  }

  /** Leaves the shared session, so that the next one is this unit's own. */
  #own(): SessionState {
    if (this.#changed !== undefined) return this.#changed;
    this.#changed = this.#stateAs({ type: this.#admitted().tenant === undefined ? 'nobody' : 'tenant' });
    // Given back before the other is acquired: a unit of work that held one while it waits could wait for itself.
    void this.#giveBack();
    return this.#changed;
  }

  #stateAs(principal: Principal): SessionState {
    const { tenant } = this.#admission();
    const { variables, target = tenant } = this.#changed ?? {};
    return { tenant, principal, variables: new Map(variables), target };
  }

  /** A change on the server. When it fails, the session is made anew without it, whatever came of it. */
  async #changing(change: (session: Uuid) => Promise<unknown>): Promise<void> {
    await this.withSession(async (session) => {
      const { id } = session;
      await change(id).catch(async (error: unknown) => {
        if (!isNotSent(error)) await session.rebuild(id);
        throw error;
      });
    });
  }

  /** One change after the other, in the order in which they were asked for. */
  async #serially(change: () => Promise<void>): Promise<void> {
    this.assertOpen();
    const turn = this.#lastChange.then(async () => {
      this.assertOpen();
      await change();
    });
    this.#lastChange = turn.catch(() => undefined);
    await turn.catch((error: unknown) => {
      throw translateDatabaseError(error);
    });
  }
}

/** Makes a session good again as the same principal after a refusal, where that can be done. */
function heal(session: ServerSession, id: Uuid, error: unknown): boolean {
  if (isUnknownSession(error)) {
    void session.rebuild(id);
    return true;
  }
  if (!isExpiredSession(error) || session.state.principal.type !== 'tenant') return false;
  session.expire();
  return true;
}
