import { LRUCache } from 'lru-cache';
import { PoolExhaustedError, SessionClosedError } from '../surreal.errors.js';
import { principalKey, type Tenant } from '../tenant/tenant.js';

/** What the pool knows of a session; `ServerSession` is the real one. */
export interface PoolableSession {
  readonly tenant: Tenant | undefined;
  readonly own: boolean;
  readonly createdAt: number;
  lastUsedAt: number;
  uses: number;
  retired: boolean;
  close(because: string): Promise<void>;
}

export interface SessionPoolOptions {
  /** How many sessions there may be on the server at once. */
  max: number;
  /** A session that nobody used for this long is closed. */
  idleTimeoutMillis: number;
  /** A session older than this gets no new users, and is closed when the last one leaves. */
  maxLifetimeMillis: number;
  /** How long to wait for a session when `max` are in use. */
  acquireTimeoutMillis: number;
}

/** Takes what ends a wait with an error. */
type OnWait = (cancel: (error: Error) => void) => void;

interface Waiter {
  /** Takes a session if there is one to be had now. */
  attempt: () => boolean;
  fail: (error: Error) => void;
}

/** More units of work than this do not wait for a session: they are refused at once (R5). */
const MAX_WAITING = 10_000;
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
  readonly #waiting = new Set<Waiter>();
  readonly #closing = new Set<Promise<void>>();
  /** By tenant, at which count of evictions it was evicted last. */
  readonly #evicted = new LRUCache<string, number>({ max: MAX_EVICTED });
  #evictions = 0;
  #sweeper: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(options: SessionPoolOptions, openShared: (tenant: Tenant) => Session) {
    this.#options = options;
    this.#openShared = openShared;
  }

  /** How many sessions there are, in use or idle. */
  get size(): number {
    return this.#sessions.size;
  }

  /**
   * The session that all units of work of this principal share. Whoever acquires must release, once.
   * @param onWait is given what ends the wait with an error, if there is one
   * @throws PoolExhaustedError after `acquireTimeoutMillis`
   */
  acquireShared(tenant: Tenant, onWait?: OnWait): Session | Promise<Session> {
    const key = principalKey(tenant);
    return (
      this.#existing(key) ??
      this.#acquire(() => this.#existing(key) ?? this.#addIfRoom(() => this.#openShared(tenant), key), onWait)
    );
  }

  /**
   * A session for one unit of work alone. Whoever acquires must release, once.
   * @param open makes it, once there is room
   * @param onWait as above
   * @throws PoolExhaustedError after `acquireTimeoutMillis`
   */
  acquireOwn(open: () => Session, onWait?: OnWait): Session | Promise<Session> {
    return this.#acquire(() => this.#addIfRoom(open, undefined), onWait);
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
    this.#serveWaiting();
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
    for (const waiter of [...this.#waiting]) waiter.fail(new SessionClosedError(SHUTTING_DOWN));
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
  #acquire(take: () => Session | undefined, onWait: OnWait | undefined): Session | Promise<Session> {
    if (this.#closed) return Promise.reject(new SessionClosedError(SHUTTING_DOWN));
    return (this.#waiting.size === 0 ? take() : undefined) ?? this.#wait(take, onWait);
  }

  #addIfRoom(open: () => Session, key: string | undefined): Session | undefined {
    return this.#makeRoom() ? this.#add(open, key) : undefined;
  }

  #add(open: () => Session, key: string | undefined): Session {
    const session = open();
    this.#sessions.add(session);
    if (key !== undefined) this.#shared.set(key, session);
    this.#sweeper ??= this.#startSweeper();
    return this.retain(session);
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
    this.#sessions.delete(session);
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
    this.#serveWaiting();
    await closing.finally(() => this.#closing.delete(closing));
  }

  /** One timer for all sessions, and only while there are any; it keeps no process alive. */
  #startSweeper(): NodeJS.Timeout {
    const { idleTimeoutMillis } = this.#options;
    return setInterval(() => this.#closeIdle(), Math.max(10, idleTimeoutMillis / 2)).unref();
  }

  #closeIdle(): void {
    const { idleTimeoutMillis, maxLifetimeMillis } = this.#options;
    const now = Date.now();
    for (const session of [...this.#shared.values()]) {
      if (session.uses > 0) continue;
      if (now - session.lastUsedAt < idleTimeoutMillis && now - session.createdAt < maxLifetimeMillis) continue;
      void this.#close(session, 'The session was idle for sessions.idleTimeoutMillis.');
    }
  }

  #wait(take: () => Session | undefined, onWait: OnWait | undefined): Promise<Session> {
    const { max, acquireTimeoutMillis } = this.#options;
    const exhausted = (why: string) =>
      new PoolExhaustedError(
        `All ${max} sessions (sessions.max) are in use${why}. Raise it, or shorten units of work.`,
      );
    if (this.#waiting.size >= MAX_WAITING) {
      return Promise.reject(exhausted(`, and ${MAX_WAITING} units of work wait already`));
    }
    return new Promise<Session>((resolve, reject) => {
      const leave = () => {
        clearTimeout(timer);
        this.#waiting.delete(waiter);
      };
      const waiter: Waiter = {
        attempt: () => {
          const session = take();
          if (session === undefined) return false;
          leave();
          resolve(session);
          return true;
        },
        fail: (error) => {
          leave();
          reject(error);
        },
      };
      const why = `: none came free within ${acquireTimeoutMillis} ms (sessions.acquireTimeoutMillis)`;
      const timer = setTimeout(() => waiter.fail(exhausted(why)), acquireTimeoutMillis);
      this.#waiting.add(waiter);
      onWait?.(waiter.fail);
    });
  }

  /** Serves those who wait, in their order, as far as the room goes. */
  #serveWaiting(): void {
    for (const waiter of this.#waiting) if (!waiter.attempt()) break;
  }
}
