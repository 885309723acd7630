import { LRUCache } from 'lru-cache';
import { SessionClosedError } from '../surreal.errors.js';
import type { Tenant } from '../tenant/tenant.js';
import { type Attempt, type OnWait, SessionWaiters, type WaitingOptions } from './session-waiters.js';

/** What the pool knows of a session; `ServerSession` is the real one. */
export interface PoolableSession {
  readonly tenant: Tenant | undefined;
  /** One unit of work's alone. */
  readonly own: boolean;
  /** What those who share it ask for it by; undefined for one of one's own. */
  readonly key: string | undefined;
  /** Whether it counts as one of `maxOwnPerTenant`. */
  readonly takesShare: boolean;
  readonly createdAt: number;
  lastUsedAt: number;
  uses: number;
  retired: boolean;
  /** Called now and then while it is in use, and again after so many milliseconds. */
  renew(withinMillis: number): void;
  close(because: string): Promise<void>;
}

export interface SessionPoolOptions extends WaitingOptions {
  /** How many sessions one tenant may have besides the one that its own units share: of their own, and of its callers. */
  maxOwnPerTenant: number;
  /** A session that nobody used for this long is closed. */
  idleTimeoutMillis: number;
  /** A session older than this gets no new users, and is closed when the last one leaves. */
  maxLifetimeMillis: number;
  /** After this time a caller's session signs in again. */
  recheckMillis: number;
}

/** A session that somebody asks for. */
export interface SessionRequest<Session> {
  /** Of whose share it is; empty for a session that belongs to no tenant. */
  tenantId: string;
  /** As `PoolableSession.key`. */
  key: string | undefined;
  /** As `PoolableSession.takesShare`. */
  takesShare: boolean;
  /** Makes it, when it is not there and there is room. */
  open: () => Session;
}

/** Of so many evicted tenants it is known; units of work that are older than the eviction of one before are let go on. */
const MAX_EVICTED = 10_000;
const SHUTTING_DOWN = 'The application is shutting down.';

/**
 * The sessions of all tenants. Units of work of one principal share one session; a unit of work that changes its session
 * gets one of its own. Knows nothing of databases: it counts, waits and decides what to close.
 */
export class SessionPool<Session extends PoolableSession> {
  readonly #options: SessionPoolOptions;
  /** By principal, the least recently given back first: the order in which idle ones are closed. */
  readonly #shared = new Map<string, Session>();
  readonly #sessions = new Set<Session>();
  readonly #waiters: SessionWaiters;
  /** How many sessions count as a tenant's share, by tenant. */
  readonly #shares = new Map<string, number>();
  readonly #closing = new Set<Promise<void>>();
  /** By tenant, at which count of evictions it was evicted last. */
  readonly #evicted = new LRUCache<string, number>({ max: MAX_EVICTED });
  #evictions = 0;
  #sweeper: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(options: SessionPoolOptions) {
    this.#options = options;
    this.#waiters = new SessionWaiters(options);
  }

  /** All sessions, in use or idle. */
  get sessions(): ReadonlySet<Session> {
    return this.#sessions;
  }

  /** Units of work that wait for a session. */
  get waiters(): Pick<SessionWaiters, 'size' | 'sizeOf' | 'keys'> {
    return this.#waiters;
  }

  /** The one that is shared by this key, to be looked at and not to be used. */
  peek(key: string): Session | undefined {
    return this.#shared.get(key);
  }

  /** As `acquire`, when it is there; undefined elsewhere. */
  existingShared(key: string): Session | undefined {
    const session = this.#shared.get(key);
    if (session === undefined) return undefined;
    const isYoung = Date.now() - session.createdAt < this.#options.maxLifetimeMillis;
    if (isYoung && !session.retired) return this.retain(session);
    session.retired = true;
    this.#shared.delete(key);
    if (session.uses === 0) void this.#close(session, 'The session has reached sessions.maxLifetimeMillis.');
    return undefined;
  }

  /**
   * A session as it is asked for: the one that others with the same key have, or a new one. Whoever acquires must release,
   * once.
   * @param onWait is given what ends the wait with an error, if there is one
   * @throws PoolExhaustedError after `acquireTimeoutMillis`
   */
  acquire(request: SessionRequest<Session>, onWait?: OnWait): Session | Promise<Session> {
    if (this.#closed) return Promise.reject(new SessionClosedError(SHUTTING_DOWN));
    const { tenantId, key } = request;
    const existing = key === undefined ? undefined : this.existingShared(key);
    if (existing !== undefined) return existing;
    const take = () => this.#take(request);
    // In turn, behind those who wait already.
    const taken = this.#waiters.size === 0 ? take() : 'no room';
    if (typeof taken !== 'string') return taken;
    const taking = this.#waiters.wait(tenantId, request, take, onWait);
    if (key === undefined) return taking;
    // Only now that whoever has made it waits no more: who is served while he still does would be served twice.
    return taking.then((session) => {
      this.#waiters.serveSharing(tenantId, key);
      return session;
    });
  }

  /**
   * One that takes the place of a session of one's own, which the caller releases next; so it needs no room. It could
   * wait for ever for the place that its own predecessor holds.
   */
  acquireSuccessor(predecessor: Session, open: () => Session): Session {
    if (this.#closed || !predecessor.own) throw new SessionClosedError(SHUTTING_DOWN);
    return this.#add(open());
  }

  /** What `wasEvicted` compares with: grows with every eviction. */
  get evictions(): number {
    return this.#evictions;
  }

  /** Whether a tenant was evicted after `since`, a former value of `evictions`. */
  wasEvicted(tenantId: string, since: number): boolean {
    return (this.#evicted.get(tenantId) ?? 0) > since;
  }

  /** Counts one more use of a session that is in use already. */
  retain(session: Session): Session {
    session.uses++;
    return session;
  }

  /**
   * Gives back one use. A session of one's own, or a retired one, is closed with its last use.
   * @returns when it is closed by this, a promise of its having left the server
   */
  release(session: Session): Promise<void> | undefined {
    if (--session.uses > 0 || !this.#sessions.has(session)) return undefined;
    const { key } = session;
    if (key === undefined || session.retired || this.#closed) {
      return this.#close(session, 'The session was released: its unit of work is over.');
    }
    session.lastUsedAt = Date.now();
    this.#shared.delete(key);
    this.#shared.set(key, session);
    if (this.#waiters.size > 0) this.#waiters.serve();
    return undefined;
  }

  /** Closes a tenant's sessions now, in use or not. What runs on them fails with SESSION_CLOSED at its next query. */
  async evict(tenantId: string): Promise<void> {
    this.#evicted.set(tenantId, ++this.#evictions);
    await this.closeWhere((session) => session.tenant?.id === tenantId, `Tenant "${tenantId}" was evicted.`);
  }

  /** Closes some sessions now, in use or not. */
  async closeWhere(test: (session: Session) => boolean, because: string): Promise<void> {
    await Promise.all([...this.#sessions].filter(test).map((session) => this.#close(session, because)));
  }

  /** Closes all sessions and refuses new ones. Safe to call twice. */
  async close(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#sweeper);
    this.#waiters.fail(new SessionClosedError(SHUTTING_DOWN));
    await Promise.all([...this.#sessions].map((session) => this.#close(session, SHUTTING_DOWN)));
    await this.settled();
  }

  /** Resolves when every session that is being closed now has left the server. */
  async settled(): Promise<void> {
    await Promise.all(this.#closing);
  }

  #take({ tenantId, key, takesShare, open }: SessionRequest<Session>): Session | Exclude<Attempt, 'taken'> {
    const existing = key === undefined ? undefined : this.existingShared(key);
    if (existing !== undefined) return existing;
    if (takesShare && !this.#hasShare(tenantId)) return 'share is used up';
    return this.#makeRoom() ? this.#add(open()) : 'no room';
  }

  #add(session: Session): Session {
    this.#sessions.add(session);
    if (session.key !== undefined) this.#shared.set(session.key, session);
    this.#countShare(session, 1);
    this.#sweeper ??= this.#startSweeper();
    this.retain(session);
    return session;
  }

  #countShare({ tenant, takesShare }: Session, change: 1 | -1): void {
    if (!takesShare) return;
    const key = tenant?.id ?? '';
    const count = (this.#shares.get(key) ?? 0) + change;
    if (count > 0) this.#shares.set(key, count);
    else this.#shares.delete(key);
  }

  /** Whether a tenant may have one more of its share; closes the one of an idle caller's if that is what it takes. */
  #hasShare(tenantId: string): boolean {
    if ((this.#shares.get(tenantId) ?? 0) < this.#options.maxOwnPerTenant) return true;
    return this.#closeFirstIdle((session) => session.takesShare && session.tenant?.id === tenantId);
  }

  /** Whether one more session may be opened; closes the idle one that was used longest ago if that is what it takes. */
  #makeRoom(): boolean {
    if (this.#sessions.size < this.#options.max) return true;
    return this.#closeFirstIdle(() => true);
  }

  /** Of the shared ones, which are in the order in which they were used. */
  #closeFirstIdle(test: (session: Session) => boolean): boolean {
    for (const session of this.#shared.values()) {
      if (session.uses > 0 || !test(session)) continue;
      void this.#leave(session, 'The session made room for another.');
      return true;
    }
    return false;
  }

  /** Closes a session, whose place is free for those who wait. */
  async #close(session: Session, because: string): Promise<void> {
    const leaving = this.#leave(session, because);
    if (this.#waiters.size > 0) this.#waiters.serve();
    await leaving;
  }

  /** Closes a session, whose place is somebody's already. */
  async #leave(session: Session, because: string): Promise<void> {
    if (this.#sessions.delete(session)) this.#countShare(session, -1);
    const { key } = session;
    if (key !== undefined && this.#shared.get(key) === session) this.#shared.delete(key);
    if (this.#sessions.size === 0) {
      clearInterval(this.#sweeper);
      this.#sweeper = undefined;
    }
    const closing = session.close(because);
    this.#closing.add(closing);
    await closing.finally(() => this.#closing.delete(closing));
  }

  /** One timer for all sessions, and only while there are any; it keeps no process alive. */
  #startSweeper(): NodeJS.Timeout {
    const { idleTimeoutMillis, maxLifetimeMillis, recheckMillis } = this.#options;
    const periodMillis = Math.max(10, Math.min(idleTimeoutMillis, maxLifetimeMillis, recheckMillis) / 2);
    return setInterval(() => this.#sweep(periodMillis), periodMillis).unref();
  }

  #sweep(periodMillis: number): void {
    const { idleTimeoutMillis, maxLifetimeMillis } = this.#options;
    const now = Date.now();
    for (const session of this.#sessions) if (session.uses > 0) session.renew(periodMillis);
    for (const session of [...this.#shared.values()]) {
      if (session.uses > 0) continue;
      if (now - session.lastUsedAt < idleTimeoutMillis && now - session.createdAt < maxLifetimeMillis) continue;
      void this.#close(session, 'The session was idle for sessions.idleTimeoutMillis.');
    }
  }
}
