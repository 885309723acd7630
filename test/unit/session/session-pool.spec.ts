import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import type { Tenant } from 'nestjs-surreal';
import { type PoolableSession, SessionPool, type SessionPoolOptions } from '../../../lib/session/session-pool.js';

class FakeSession implements PoolableSession {
  readonly createdAt = Date.now();
  lastUsedAt = this.createdAt;
  uses = 0;
  retired = false;
  closedBecause: string | undefined;

  constructor(
    readonly tenant: Tenant | undefined,
    readonly own: boolean,
    readonly key = own ? undefined : tenant?.id,
    readonly takesShare = own,
  ) {}

  renew(): void {}

  async close(because: string): Promise<void> {
    if (this.uses > 0 && !/evicted|shutting down/.test(because)) throw new Error('Closed while in use');
    this.closedBecause = because;
    await sleep(1);
  }
}

const tenant = (id: string): Tenant => ({
  id,
  namespace: id,
  database: 'main',
  credentials: { type: 'user', username: 'u', password: 'p' },
});
const [a, b, c] = [tenant('a'), tenant('b'), tenant('c')];

describe('SessionPool', () => {
  let pool: SessionPool<FakeSession>;
  const make = (options: Partial<SessionPoolOptions> = {}) => {
    const limits = {
      max: 2,
      maxOwnPerTenant: 100,
      maxWaiting: 1_000,
      maxWaitingPerTenant: 1_000,
      idleTimeoutMillis: 60_000,
      maxLifetimeMillis: 60_000,
      recheckMillis: 60_000,
      acquireTimeoutMillis: 100,
      ...options,
    };
    pool = new SessionPool(limits);
  };

  const acquireOwn = (of: Tenant) =>
    pool.acquire({ tenantId: of.id, key: undefined, takesShare: true, open: () => new FakeSession(of, true) });
  const acquireShared = (of: Tenant) =>
    pool.acquire({ tenantId: of.id, key: of.id, takesShare: false, open: () => new FakeSession(of, false) });
  /** The session of one of a tenant's callers. */
  const acquireOf = (of: Tenant, caller: string) => {
    const open = () => new FakeSession(of, false, caller, true);
    return pool.acquire({ tenantId: of.id, key: caller, takesShare: true, open });
  };

  beforeEach(() => {
    make();
  });
  afterEach(async () => {
    jest.restoreAllMocks();
    await pool.close();
  });

  it('gives units of work of one principal one session, and others another', async () => {
    const [first, second, other] = [await acquireShared(a), await acquireShared(a), await acquireShared(b)];
    expect(first).toBe(second);
    expect(other).not.toBe(first);
    expect(first.uses).toBe(2);
  });

  it('gives an own session to one alone, and closes it with its last use', async () => {
    const [first, second] = [await acquireOwn(a), await acquireOwn(a)];
    expect(first).not.toBe(second);
    pool.retain(first);
    expect(pool.release(first)).toBeUndefined();
    expect(first.closedBecause).toBeUndefined();
    await pool.release(first);
    expect(first.closedBecause).toMatch(/released/);
    expect(pool.sessions.size).toBe(1);
  });

  it('closes the idle session that was used longest ago to make room, and none in use ever', async () => {
    const first = await acquireShared(a);
    const second = await acquireShared(b);
    void pool.release(second);
    void pool.release(first);
    await acquireShared(c);
    expect([first.closedBecause, second.closedBecause]).toEqual([undefined, expect.stringMatching(/made room/)]);
    await acquireShared(a);
    await expect(Promise.resolve(acquireShared(b))).rejects.toMatchObject({ code: 'POOL_EXHAUSTED' });
  });

  it('R5: says POOL_EXHAUSTED after acquireTimeoutMillis, and how to mend it', async () => {
    await acquireOwn(a);
    await acquireOwn(b);
    await expect(Promise.resolve(acquireOwn(c))).rejects.toMatchObject({
      code: 'POOL_EXHAUSTED',
      message: expect.stringMatching(
        /All 2 sessions \(sessions.max\).*within 100 ms \(sessions.acquireTimeoutMillis\)/,
      ),
    });
  });

  it('serves those who wait in their order, and newcomers behind them', async () => {
    make({ max: 1, acquireTimeoutMillis: 5_000 });
    const held = await acquireOwn(a);
    const order: string[] = [];
    const waiting = ['first', 'second'].map(async (name) => {
      const session = await acquireOwn(a);
      order.push(name);
      await pool.release(session);
    });
    void pool.release(held);
    waiting.push(
      (async () => {
        const session = await acquireOwn(a);
        order.push('newcomer');
        await pool.release(session);
      })(),
    );
    await Promise.all(waiting.map(async (one) => one));
    expect(order).toEqual(['first', 'second', 'newcomer']);
  });

  it('R6: lets tenants that wait take turns', async () => {
    make({ max: 1, acquireTimeoutMillis: 5_000 });
    const held = await acquireOwn(c);
    const order: string[] = [];
    const waiting = [a, a, a, b, b].map(async (of) => {
      const session = await acquireOwn(of);
      order.push(of.id);
      await pool.release(session);
    });
    void pool.release(held);
    await Promise.all(waiting.map(async (one) => one));
    expect(order).toEqual(['a', 'b', 'a', 'b', 'a']);
  });

  it('R6: passes over a tenant whose share is used up', async () => {
    make({ max: 2, maxOwnPerTenant: 1, acquireTimeoutMillis: 5_000 });
    const [first, other] = [await acquireOwn(a), await acquireOwn(c)];
    const order: string[] = [];
    const waiting = [a, b].map(async (of) => {
      const session = await acquireOwn(of);
      order.push(of.id);
      return session;
    });
    await pool.release(other);
    await sleep(5);
    expect(order).toEqual(['b']);
    await pool.release(first);
    for (const session of await Promise.all(waiting)) void pool.release(session);
    expect(order).toEqual(['b', 'a']);
  });

  it('a unit of work that may not have a session of its own yet keeps none from the shared one', async () => {
    make({ max: 2, maxOwnPerTenant: 1, acquireTimeoutMillis: 5_000 });
    const [first, other] = [await acquireOwn(a), await acquireOwn(c)];
    const own = acquireOwn(a);
    const shared = Promise.all([acquireShared(a), acquireShared(a)]);
    await pool.release(other);
    for (const session of await shared) void pool.release(session);
    await pool.release(first);
    void pool.release(await own);
    expect(pool.waiters.size).toBe(0);
  });

  it('closes idle sessions after idleTimeoutMillis, with one timer for all, and none when there are none', async () => {
    const intervals = jest.spyOn(globalThis, 'setInterval');
    const timeouts = jest.spyOn(globalThis, 'setTimeout');
    make({ idleTimeoutMillis: 40, max: 1_000 });
    const sessions = await Promise.all(
      Array.from({ length: 100 }, async (_, index) => acquireShared(tenant(`t${index}`))),
    );
    expect([intervals.mock.calls.length, timeouts.mock.calls.length]).toEqual([1, 0]);
    for (const session of sessions.slice(1)) void pool.release(session);
    for (let tries = 0; tries < 50 && pool.sessions.size > 1; tries++) await sleep(10);
    expect(pool.sessions.size).toBe(1);
    expect(sessions[0]?.closedBecause).toBeUndefined();
  });

  it('gives no new users to a session older than maxLifetimeMillis, and closes it when the last one leaves', async () => {
    make({ maxLifetimeMillis: 20 });
    const old = await acquireShared(a);
    await sleep(30);
    const fresh = await acquireShared(a);
    expect(fresh).not.toBe(old);
    expect(old.closedBecause).toBeUndefined();
    await pool.release(old);
    expect(old.closedBecause).toBeDefined();
  });

  it('evicts the sessions of one tenant, in use or not', async () => {
    make({ max: 10 });
    const [shared, own, other] = [await acquireShared(a), await acquireOwn(a), await acquireShared(b)];
    await pool.evict('a');
    expect([shared, own, other].map(({ closedBecause }) => closedBecause)).toEqual([
      'Tenant "a" was evicted.',
      'Tenant "a" was evicted.',
      undefined,
    ]);
    void pool.release(shared);
    void pool.release(own);
    expect(await acquireShared(a)).not.toBe(shared);
  });

  it('refuses everything after close(), also those who wait', async () => {
    make({ max: 1, acquireTimeoutMillis: 5_000 });
    const held = await acquireOwn(a);
    const waiting = Promise.resolve(acquireOwn(b));
    waiting.catch(() => undefined);
    await pool.close();
    expect(held.closedBecause).toMatch(/shutting down/);
    await expect(waiting).rejects.toMatchObject({ code: 'SESSION_CLOSED' });
    await expect(Promise.resolve(acquireShared(a))).rejects.toMatchObject({ code: 'SESSION_CLOSED' });
  });

  it("R6: a tenant's callers take from its share, of which idle ones give way, and other tenants keep theirs", async () => {
    make({ max: 10, maxOwnPerTenant: 2 });
    const first = await acquireOf(a, 'caller 1');
    const second = await acquireOf(a, 'caller 2');
    expect(await acquireOf(a, 'caller 2')).toBe(second);
    await expect(Promise.resolve(acquireOf(a, 'caller 3'))).rejects.toMatchObject({
      code: 'POOL_EXHAUSTED',
      limit: 'sessions.maxOwnPerTenant',
    });
    await acquireOf(b, 'caller of b');
    await acquireShared(a);
    void pool.release(first);
    const third = await acquireOf(a, 'caller 3');
    expect(first.closedBecause).toMatch(/made room/);
    expect(second.closedBecause).toBeUndefined();
    // Whoever waits for a share gets it from one that becomes idle.
    const waiting = Promise.resolve(acquireOf(a, 'caller 4'));
    void pool.release(third);
    await waiting;
    expect(third.closedBecause).toMatch(/made room/);
  });

  it('gives nobody a session that was retired, and closes it with its last use', async () => {
    const first = await acquireOf(a, 'caller');
    first.retired = true;
    const second = await acquireOf(a, 'caller');
    expect(second).not.toBe(first);
    await pool.release(first);
    expect(first.closedBecause).toMatch(/released/);
    expect(await acquireOf(a, 'caller')).toBe(second);
  });

  it('R8: counts a session once for each of those who have waited for it', async () => {
    make({ max: 1 });
    const held = await acquireOwn(a);
    const waiting = [acquireShared(b), acquireShared(b), acquireShared(b)];
    await pool.release(held);
    const [first, ...others] = await Promise.all(waiting.map(async (one) => one));
    for (const other of others) expect(other).toBe(first);
    expect(first!.uses).toBe(3);
    for (let use = 0; use < 3; use++) void pool.release(first!);
    expect(first!.uses).toBe(0);
    // And so it can make room.
    await acquireShared(c);
  });

  it('R6: a session that has come is for those who share it; all others wait for their turn', async () => {
    make({ max: 2, acquireTimeoutMillis: 1_000 });
    const held = [await acquireOwn(a), await acquireOwn(a)];
    const order: string[] = [];
    const wait = (name: string, acquiring: FakeSession | Promise<FakeSession>) =>
      void Promise.resolve(acquiring).then(
        () => order.push(name),
        () => undefined,
      );
    for (const name of ['a1', 'a2', 'a3']) wait(name, acquireOf(a, name));
    wait('a1 again', acquireOf(a, 'a1'));
    wait('b', acquireShared(b));
    await pool.release(held[0]!);
    await pool.release(held[1]!);
    await sleep(20);
    expect(order).toEqual(['a1', 'a1 again', 'b']);
  });

  it('R8: gives the place that it has made to whoever asked, once, though others wait', async () => {
    make({ max: 2, maxOwnPerTenant: 1 });
    await acquireOwn(a);
    // Waits for its share, of which there is no more.
    void Promise.resolve(acquireOwn(a)).catch(() => undefined);
    void pool.release(await acquireShared(b));
    const session = await acquireShared(c);
    expect([session.uses, pool.sessions.size]).toEqual([1, 2]);
    void pool.release(session);
    expect([...pool.sessions].map(({ uses }) => uses).sort()).toEqual([0, 1]);
  });
});
