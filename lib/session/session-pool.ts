import { LRUCache } from 'lru-cache';
import { SessionClosedError } from '../surreal.errors.js';
import { principalKey, type Tenant } from '../tenant/tenant.js';
import { type Attempt, type OnWait, SessionWaiters, type WaitingOptions } from './session-waiters.js';

/** What the pool knows of a session; `ServerSession` is the real one. */
export interface PoolableSession {
  readonly tenant: Tenant | undefined;
  readonly own: boolean;
  readonly createdAt: number;
  lastUsedAt: number;
  uses: number;
  retired: boolean;
  /** Called now and then while it is in use. */
  renew(): void;
  close(because: string): Promise<void>;
}

export interface SessionPoolOptions extends WaitingOptions {
  /** How many units of work of one tenant may have a session of their own. */
  maxOwnPerTenant: number;
  /** A session that nobody used for this long is closed. */
  idleTimeoutMillis: number;
  /** A session older than this gets no new users, and is closed when the last one leaves. */
  maxLifetimeMillis: number;
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
  readonly #openShared: (tenant: Tenant) => Session;
  /** By principal, the least recently given back first: the order in which idle ones are closed. */
  readonly #shared = new Map<string, Session>();
  readonly #sessions = new Set<Session>();
  readonly #waiters: SessionWaiters;
  /** How many sessions of their own units of work have, by tenant. */
  readonly #own = new Map<string, number>();
  readonly #closing = new Set<Promise<void>>();
  /** By tenant, at which count of evictions it was evicted last. */
  readonly #evicted = new LRUCache<string, number>({ max: MAX_EVICTED });
  #evictions = 0;
  #sweeper: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(options: SessionPoolOptions, openShared: (tenant: Tenant) => Session) {
    this.#options = options;
    this.#openShared = openShared;
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

  /** As `acquireShared`, when it is there; undefined elsewhere. */
  existingShared(tenant: Tenant): Session | undefined {
    return this.#existing(principalKey(tenant));
  }

  /**
   * The session that all units of work of this principal share. Whoever acquires must release, once.
   * @param onWait is given what ends the wait with an error, if there is one
   * @throws PoolExhaustedError after `acquireTimeoutMillis`
   */
  acquireShared(tenant: Tenant, onWait?: OnWait): Session | Promise<Session> {
    const key = principalKey(tenant);
    const take = () => this.#existing(key) ?? this.#addIfRoom(() => this.#openShared(tenant), key);
    return this.#existing(key) ?? this.#acquire(tenant.id, false, take, onWait);
  }

  /**
   * A session for one unit of work alone. Whoever acquires must release, once.
   * @param tenantId of whose share it is
   * @param open makes it, once there is room
   * @param onWait as above
   * @throws PoolExhaustedError after `acquireTimeoutMillis`
   */
  acquireOwn(tenantId: string | undefined, open: () => Session, onWait?: OnWait): Session | Promise<Session> {
    const key = tenantId ?? '';
    const take = () => {
      if ((this.#own.get(key) ?? 0) >= this.#options.maxOwnPerTenant) return 'share is used up';
      return this.#addIfRoom(open, undefined);
    };
    return this.#acquire(key, true, take, onWait);
  }

  /**
   * One that takes the place of a session of one's own, which the caller releases next; so it needs no room. It could
   * wait for ever for the place that its own predecessor holds.
   */
  acquireSuccessor(predecessor: Session, open: () => Session): Session {
    if (this.#closed || !predecessor.own) throw new SessionClosedError(SHUTTING_DOWN);
    return this.#add(open, undefined);
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
    if (session.own || session.retired || this.#closed) {
      return this.#close(session, 'The session was released: its unit of work is over.');
    }
    session.lastUsedAt = Date.now();
    const key = principalKey(session.tenant as Tenant);
    this.#shared.delete(key);
    this.#shared.set(key, session);
    if (this.#waiters.size > 0) this.#waiters.serve();
    return undefined;
  }

  /** Closes a tenant's sessions now, in use or not. What runs on them fails with SESSION_CLOSED at its next query. */
  async evict(tenantId: string): Promise<void> {
    this.#evicted.set(tenantId, ++this.#evictions);
    const evicted = [...this.#sessions].filter((session) => session.tenant?.id === tenantId);
    await Promise.all(evicted.map((session) => this.#close(session, `Tenant "${tenantId}" was evicted.`)));
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

  /** The principal's shared session, unless there is none or its time is over. */
  #existing(key: string): Session | undefined {
    const session = this.#shared.get(key);
    if (session === undefined) return undefined;
    if (Date.now() - session.createdAt < this.#options.maxLifetimeMillis) return this.retain(session);
    session.retired = true;
    this.#shared.delete(key);
    if (session.uses === 0) void this.#close(session, 'The session has reached sessions.maxLifetimeMillis.');
    return undefined;
  }

  /** Takes a session at once, or in turn behind those who wait already. */
  #acquire(
    tenantId: string,
    isOwn: boolean,
    take: () => Session | Exclude<Attempt, 'taken'>,
    onWait: OnWait | undefined,
  ): Session | Promise<Session> {
    if (this.#closed) return Promise.reject(new SessionClosedError(SHUTTING_DOWN));
    const taken = this.#waiters.size === 0 ? take() : 'no room';
    return typeof taken === 'string' ? this.#waiters.wait(tenantId, isOwn, take, onWait) : taken;
  }

  #addIfRoom(open: () => Session, key: string | undefined): Session | 'no room' {
    return this.#makeRoom() ? this.#add(open, key) : 'no room';
  }

  #add(open: () => Session, key: string | undefined): Session {
    const session = open();
    this.#sessions.add(session);
    if (key !== undefined) this.#shared.set(key, session);
    if (session.own) this.#countOwn(session, 1);
    this.#sweeper ??= this.#startSweeper();
    this.retain(session);
    if (key !== undefined && this.#waiters.size > 0) this.#waiters.serveTenant((session.tenant as Tenant).id);
    return session;
  }

  #countOwn({ tenant }: Session, change: 1 | -1): void {
    const key = tenant?.id ?? '';
    const count = (this.#own.get(key) ?? 0) + change;
    if (count > 0) this.#own.set(key, count);
    else this.#own.delete(key);
  }

  /** Whether one more session may be opened; closes the idle one that was used longest ago if that is what it takes. */
  #makeRoom(): boolean {
    if (this.#sessions.size < this.#options.max) return true;
    for (const session of this.#shared.values()) {
      if (session.uses > 0) continue;
      void this.#close(session, 'The session made room for another.');
      return true;
    }
    return false;
  }

  async #close(session: Session, because: string): Promise<void> {
    if (this.#sessions.delete(session) && session.own) this.#countOwn(session, -1);
    if (!session.own) {
      const key = principalKey(session.tenant as Tenant);
      if (this.#shared.get(key) === session) this.#shared.delete(key);
    }
    if (this.#sessions.size === 0) {
      clearInterval(this.#sweeper);
      this.#sweeper = undefined;
    }
    const closing = session.close(because);
    this.#closing.add(closing);
    if (this.#waiters.size > 0) this.#waiters.serve();
    await closing.finally(() => this.#closing.delete(closing));
  }

  /** One timer for all sessions, and only while there are any; it keeps no process alive. */
  #startSweeper(): NodeJS.Timeout {
    const { idleTimeoutMillis, maxLifetimeMillis } = this.#options;
    return setInterval(
      () => this.#closeIdle(),
      Math.max(10, Math.min(idleTimeoutMillis, maxLifetimeMillis) / 2),
    ).unref();
  }

  #closeIdle(): void {
    const { idleTimeoutMillis, maxLifetimeMillis } = this.#options;
    const now = Date.now();
    for (const session of this.#sessions) if (session.uses > 0) session.renew();
    for (const session of [...this.#shared.values()]) {
      if (session.uses > 0) continue;
      if (now - session.lastUsedAt < idleTimeoutMillis && now - session.createdAt < maxLifetimeMillis) continue;
      void this.#close(session, 'The session was idle for sessions.idleTimeoutMillis.');
    }
  }
}
