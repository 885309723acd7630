import type { BoundQuery, LiveMessage, Uuid } from 'surrealdb';
import type { RpcTransport } from '../connection/rpc-transport.js';
import { isNotSent, SessionClosedError } from '../surreal.errors.js';
import type { Tenant } from '../tenant/tenant.js';
import { isExpiredSession, isUnknownSession, translateDatabaseError } from './database-errors.js';
import { LiveSubscriptions } from './live-subscriptions.js';
import type { QueryRoad, RpcQueryResult } from './query-connection.js';
import type { ServerSession } from './server-session.js';
import type { SessionPool } from './session-pool.js';

export interface LeaseResources {
  pool: SessionPool<ServerSession>;
  transport: RpcTransport;
  requestTimeoutMillis: number;
}

/** What a lease must end with itself. */
export interface LeasedResource {
  end(): Promise<void>;
}

/**
 * One unit of work's use of the pool, and the one way by which its queries leave (R1, R3). It takes the principal's
 * shared session at the first query, moves to one of its own at the first change, and gives everything back at `close()`.
 */
export class SessionLease implements QueryRoad {
  readonly #resources: LeaseResources;
  readonly #tenant: () => Tenant | undefined;
  readonly #ends = new Set<LeasedResource>();
  readonly #lives: LiveSubscriptions;
  #session: ServerSession | undefined;
  #arriving: Promise<ServerSession> | undefined;
  #closedBecause: string | undefined;

  /** @param tenant asked at the first query: a session may be handed out before a guard has found the tenant */
  constructor(resources: LeaseResources, tenant: () => Tenant | undefined) {
    this.#resources = resources;
    this.#tenant = tenant;
    this.#lives = new LiveSubscriptions(resources.transport);
  }

  get isClosed(): boolean {
    return this.#closedBecause !== undefined;
  }

  /** The session in use; undefined before the first query. */
  get session(): ServerSession | undefined {
    return this.#session;
  }

  get tenant(): Tenant | undefined {
    return this.#tenant();
  }

  get transport(): RpcTransport {
    return this.#resources.transport;
  }

  /**
   * Runs a query in the session.
   * @throws SessionClosedError after `close()`; ConnectionLostError, RequestTimeoutError; what the database says
   */
  async query({ query, bindings }: BoundQuery): Promise<RpcQueryResult[]> {
    this.assertOpen();
    return await this.#withSession(async (session) => {
      const results = await this.#send<RpcQueryResult[]>(session, 'query', [query, bindings]);
      this.#lives.track(session.id, results, bindings);
      return results;
    });
  }

  onReconnect(listener: () => void): () => void {
    return this.#lives.onReconnect(listener);
  }

  onLive(id: Uuid, listener: (message: LiveMessage) => void): () => void {
    this.assertOpen();
    return this.#lives.listen(id, listener);
  }

  /**
   * Does something with a session that is signed in, and does it again only if the server has not run it.
   */
  async #withSession<Result>(work: (session: ServerSession) => Promise<Result>): Promise<Result> {
    const { pool, requestTimeoutMillis } = this.#resources;
    const deadline = Date.now() + requestTimeoutMillis;
    let isHealed = false;
    for (;;) {
      const session = await this.#ready();
      try {
        this.assertOpen();
        return await work(session);
      } catch (error) {
        if (isNotSent(error) && Date.now() < deadline) continue;
        // A refused call was not run, so sending it once more cannot run it twice.
        if (isHealed || !refresh(session, error)) throw translateDatabaseError(error);
        isHealed = true;
      } finally {
        void pool.release(session);
      }
    }
  }

  /**
   * Begins something that lives on the session until it ends itself or the lease is closed. The session is retained for
   * it: `disown` gives it back.
   */
  async begin<Result>(work: (session: ServerSession) => Promise<Result>): Promise<Result> {
    this.assertOpen();
    return await this.#withSession(async (session) => {
      this.#resources.pool.retain(session);
      try {
        return await work(session);
      } catch (error) {
        void this.#resources.pool.release(session);
        throw error;
      }
    });
  }

  /** @throws SessionClosedError when the lease was closed meanwhile; the caller must end what it has begun */
  adopt(resource: LeasedResource): void {
    this.assertOpen();
    this.#ends.add(resource);
  }

  disown(resource: LeasedResource, session: ServerSession): void {
    this.#ends.delete(resource);
    void this.#resources.pool.release(session);
  }

  /**
   * Moves to a session of its own, which may then be changed without anybody else noticing (R2).
   * @param change is given that session, ready for queries if it is signed in at all
   */
  async change<Result>(change: (session: ServerSession) => Promise<Result>): Promise<Result> {
    this.assertOpen();
    const session = await this.#own();
    this.assertOpen();
    try {
      return await change(session);
    } catch (error) {
      throw translateDatabaseError(error);
    }
  }

  /** Ends all that was begun and gives the sessions back. Never throws. Safe to call twice. */
  close(because: string): Promise<void> | undefined {
    if (this.#closedBecause !== undefined) return undefined;
    this.#closedBecause = because;
    // The steady state ends here, without a promise: nothing was begun, and the session is a shared one.
    if (this.#ends.size === 0 && this.#lives.isEmpty && this.#arriving === undefined) return this.#giveBack();
    return this.#endAll();
  }

  assertOpen(): void {
    if (this.#closedBecause === undefined) return;
    throw new SessionClosedError(
      `${this.#closedBecause} A TenantSession can be used only while its unit of work runs: await everything before it ` +
        'ends, or give background work a unit of work of its own with tenancy.run().',
    );
  }

  async #endAll(): Promise<void> {
    await Promise.all([...this.#ends].map((resource) => resource.end().catch(() => undefined)));
    await this.#lives.end();
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
    for (;;) {
      const session = this.#session ?? (await this.#arrive(() => this.#acquireShared()));
      const preparing = session.prepare();
      if (preparing === undefined) return this.#resources.pool.retain(session);
      await preparing;
      this.assertOpen();
    }
  }

  #acquireShared(): ServerSession | Promise<ServerSession> {
    const { pool } = this.#resources;
    const tenant = this.#tenant();
    return tenant === undefined ? pool.acquireOwn(undefined) : pool.acquireShared(tenant);
  }

  async #own(): Promise<ServerSession> {
    while (this.#arriving !== undefined) await this.#arriving.catch(() => undefined);
    const current = this.#session;
    if (current?.own === true) return current;
    return await this.#arrive(() => {
      // Given back first: a unit of work that held one session while it waits for another could wait for itself.
      void this.#giveBack();
      return this.#resources.pool.acquireOwn(this.#tenant());
    });
  }

  /** One session arrives at a time; one that arrives too late goes straight back. */
  async #arrive(acquire: () => ServerSession | Promise<ServerSession>): Promise<ServerSession> {
    if (this.#arriving !== undefined) return await this.#arriving;
    this.#arriving = (async () => {
      const session = await acquire();
      if (this.#closedBecause !== undefined) void this.#resources.pool.release(session);
      this.assertOpen();
      return (this.#session = session);
    })().finally(() => (this.#arriving = undefined));
    return await this.#arriving;
  }

  #send<Result>(session: ServerSession, method: string, params: unknown[]): Promise<Result> {
    return this.#resources.transport.send<Result>({ method, params, session: session.id });
  }
}

/** Whether a refused call may be sent once more, because its session can be made good again as the same principal. */
function refresh(session: ServerSession, error: unknown): boolean {
  if (isUnknownSession(error)) {
    session.lost();
    return true;
  }
  if (!isExpiredSession(error) || !session.isTenantPrincipal) return false;
  session.expire();
  return true;
}
