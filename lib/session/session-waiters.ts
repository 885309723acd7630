import { PoolExhaustedError } from '../surreal.errors.js';

/** Takes what ends a wait with an error. */
export type OnWait = (cancel: (error: Error) => void) => void;

export interface WaitingOptions {
  /** Most sessions at once; for what the error says. */
  max: number;
  /** How long to wait, in milliseconds. */
  acquireTimeoutMillis: number;
  maxWaiting: number;
  maxWaitingPerTenant: number;
}

/** What came of an attempt to take a session: had, none for this tenant at the moment, none for anybody. */
export type Attempt = 'taken' | 'share is used up' | 'no room';

/** What is waited for. */
export interface Wanted {
  /** What those who share the session ask for it by; undefined for one of one's own. */
  key: string | undefined;
  /** Whether it is one of its tenant's share. */
  takesShare: boolean;
}

interface Waiter extends Wanted {
  attempt: () => Attempt;
  fail: (error: Error) => void;
}

/** Units of work that wait for a session. Tenants take turns, so one with many waiters keeps no other from its turn (R6). */
export class SessionWaiters {
  readonly #options: WaitingOptions;
  /** By tenant, whose turn it is first. */
  readonly #waiting = new Map<string, Set<Waiter>>();
  #size = 0;
  #isServing = false;

  constructor(options: WaitingOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#size;
  }

  /** Tenants of whom units of work wait. */
  get keys(): string[] {
    return [...this.#waiting.keys()];
  }

  /** How many units of work of one tenant wait. */
  sizeOf(key: string): number {
    return this.#waiting.get(key)?.size ?? 0;
  }

  /**
   * Waits for a session.
   * @param take tries to take one now
   * @throws PoolExhaustedError when too many wait already, or none was to be had within `acquireTimeoutMillis`
   */
  wait<Session extends object>(
    tenantId: string,
    { key, takesShare }: Wanted,
    take: () => Session | Exclude<Attempt, 'taken'>,
    onWait: OnWait | undefined,
  ): Promise<Session> {
    return new Promise<Session>((resolve, reject) => {
      this.#assertRoom(tenantId);
      let lastAttempt: Attempt = 'no room';
      let isAttempting = false;
      let isOver = false;
      const leave = () => {
        isOver = true;
        clearTimeout(timer);
        this.#remove(tenantId, waiter);
      };
      const waiter: Waiter = {
        key,
        takesShare,
        attempt: () => {
          // An attempt can close a session, and that serves all who wait: this one is at it already, or has been served.
          if (isOver || isAttempting) return isOver ? 'taken' : 'no room';
          isAttempting = true;
          const taken = take();
          isAttempting = false;
          if (typeof taken === 'string') return (lastAttempt = taken);
          leave();
          resolve(taken);
          return 'taken';
        },
        fail: (error) => {
          leave();
          reject(error);
        },
      };
      const { acquireTimeoutMillis } = this.#options;
      const timer = setTimeout(() => waiter.fail(this.#exhausted(lastAttempt)), acquireTimeoutMillis);
      this.#add(tenantId, waiter);
      lastAttempt = waiter.attempt();
      if (lastAttempt !== 'taken') onWait?.(waiter.fail);
    });
  }

  /** Serves those who wait, one of each tenant in turn, as far as the room goes. */
  serve(): void {
    // An attempt may close a session to make room, which calls this again: the loop below is at it already.
    if (this.#isServing) return;
    this.#isServing = true;
    for (const [key, waiters] of this.#waiting) {
      const attempt = serveFirst(waiters);
      if (attempt === 'no room') break;
      // To the end; met there again by this very loop.
      if (attempt === 'taken' && this.#waiting.delete(key) && waiters.size > 0) this.#waiting.set(key, waiters);
    }
    this.#isServing = false;
  }

  /** Serves those who wait for a session that has come, and which they share. */
  serveSharing(tenantId: string, key: string): void {
    const waiters = [...(this.#waiting.get(tenantId) ?? [])];
    for (const waiter of waiters) if (waiter.key === key) waiter.attempt();
  }

  fail(error: Error): void {
    for (const waiters of [...this.#waiting.values()]) for (const waiter of [...waiters]) waiter.fail(error);
  }

  #add(key: string, waiter: Waiter): void {
    const waiters = this.#waiting.get(key) ?? new Set();
    this.#waiting.set(key, waiters.add(waiter));
    this.#size++;
  }

  #remove(key: string, waiter: Waiter): void {
    const waiters = this.#waiting.get(key);
    if (waiters?.delete(waiter) !== true) return;
    this.#size--;
    if (waiters.size === 0) this.#waiting.delete(key);
  }

  #assertRoom(key: string): void {
    const { maxWaiting, maxWaitingPerTenant } = this.#options;
    const isTenant = this.sizeOf(key) >= maxWaitingPerTenant;
    if (!isTenant && this.#size < maxWaiting) return;
    const limit = isTenant ? 'calls.maxWaitingPerTenant' : 'calls.maxWaiting';
    throw new PoolExhaustedError(
      `${isTenant ? `${maxWaitingPerTenant} units of work of this tenant` : `${maxWaiting} units of work`} wait for a session ` +
        `already (${limit}). Raise it, or shorten units of work.`,
      { limit },
    );
  }

  #exhausted(attempt: Attempt): PoolExhaustedError {
    const { max, acquireTimeoutMillis } = this.#options;
    const limit = attempt === 'no room' ? 'sessions.max' : 'sessions.maxOwnPerTenant';
    const what =
      attempt === 'no room'
        ? `All ${max} sessions (sessions.max) are in use`
        : 'This tenant has as many sessions of its own as it may (sessions.maxOwnPerTenant)';
    return new PoolExhaustedError(
      `${what}: none came free within ${acquireTimeoutMillis} ms (sessions.acquireTimeoutMillis). Raise it, or shorten ` +
        'units of work.',
      { limit },
    );
  }
}

/** Serves the first that can be served: one whose tenant's share is used up lets those pass that need none of it. */
function serveFirst(waiters: ReadonlySet<Waiter>): Attempt | undefined {
  let attempt: Attempt | undefined;
  for (const waiter of waiters) {
    if (waiter.takesShare && attempt === 'share is used up') continue;
    attempt = waiter.attempt();
    if (attempt !== 'share is used up') return attempt;
  }
  return attempt;
}
