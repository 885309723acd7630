import { type BoundQuery, CborCodec, type LiveMessage, type Uuid } from 'surrealdb';
import type { RpcTransport } from '../connection/rpc-transport.js';
import { isNotSent, SessionClosedError } from '../surreal.errors.js';
import type { Tenant } from '../tenant/tenant.js';
import { isExpiredSession, isUnknownSession, translateDatabaseError } from './database-errors.js';
import { enterDatabase } from './identity.js';
import { LiveSubscriptions } from './live-subscriptions.js';
import type { QueryRoad, RpcQueryResult } from './query-connection.js';
import type { Dependent, ServerSession, SessionState } from './server-session.js';
import { type Admission, SessionSlot, type SlotResources } from './session-slot.js';

const CODEC = new CborCodec({});

export interface LeaseResources extends SlotResources {
  transport: RpcTransport;
  requestTimeoutMillis: number;
}

/**
 * One unit of work's use of the pool, and the one way by which its queries leave (R1, R3). It takes the principal's
 * shared session at the first query, moves to one of its own at the first change, and gives everything back at `close()`.
 */
export class SessionLease implements QueryRoad {
  readonly #resources: LeaseResources;
  readonly #slot: SessionSlot;
  readonly #dependents = new Set<Dependent>();
  readonly #lives: LiveSubscriptions;
  #hasListened = false;
  #lastChange: Promise<unknown> = Promise.resolve();

  /** @param admission asked at the first query: a session may be handed out before a guard has found the tenant */
  constructor(resources: LeaseResources, admission: () => Admission) {
    this.#resources = resources;
    this.#slot = new SessionSlot(resources, admission);
    this.#lives = new LiveSubscriptions(resources.transport, (query, session) => {
      // One that was started before this unit signed in as somebody else would go on as who it was.
      if (session !== this.#slot.session) throw new SessionClosedError('The session was changed meanwhile.');
      return this.adopt(query, session);
    });
  }

  get isClosed(): boolean {
    return this.#slot.isClosed;
  }

  /** The session's id on the server; undefined before there is one. */
  get id(): Uuid | undefined {
    return this.#slot.session?.id;
  }

  get tenant(): Tenant | undefined {
    return this.#slot.tenant;
  }

  /** Where a session without a tenant works, once that is known. */
  get target(): SessionState['target'] {
    return this.#slot.changed?.target;
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
      const call = { method: 'query', params: [query, bindings], session: id };
      if (!/\b(live|kill)\b/i.test(query)) return await this.transport.send<RpcQueryResult[]>(call);
      const track = (results: RpcQueryResult[]) => this.#lives.track(session, id, { query, bindings }, results);
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
      const session = await this.#slot.ready();
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
      const state = this.#slot.own();
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
      const state = this.#slot.own();
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
      await this.#slot.replace(this.#slot.stateAs({ type: 'bearer', token }), () => this.#lives.end());
    });
  }

  /** Signs out, at once: what is sent from now on is refused. What runs already ends as who it was. */
  async signOut(): Promise<void> {
    await this.#serially(async () => {
      await this.#slot.vacate(() => this.#lives.end());
    });
  }

  /** Makes a session of its own on the server now; one that is nobody's is only attached. */
  async attach(): Promise<void> {
    await this.#serially(async () => {
      const { principal } = this.#slot.own();
      if (principal.type === 'nobody') await (await this.#slot.arrive()).attach();
      else await this.withSession(() => Promise.resolve());
    });
  }

  /** Ends all that was begun and gives the sessions back. Never throws. Safe to call twice. */
  close(because: string): Promise<void> | undefined {
    if (this.isClosed) return undefined;
    this.#slot.close(because);
    // The steady state ends here, without a promise: nothing was begun, and the session is a shared one.
    const isIdle = this.#dependents.size === 0 && !this.#hasListened && !this.#slot.isArriving;
    return isIdle ? this.#slot.giveBack() : this.#endAll();
  }

  /** @throws SessionClosedError after `close()` */
  assertOpen(): void {
    this.#slot.assertOpen();
  }

  async #endAll(): Promise<void> {
    await this.#lives.end();
    await Promise.all([...this.#dependents].map((dependent) => dependent.end()));
    await this.#slot.arrived();
    await this.#slot.giveBack();
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
