import { setTimeout as sleep } from 'node:timers/promises';
import { beforeEach, describe, expect, it } from '@jest/globals';
import type { Tenant } from 'nestjs-surreal';
import { CachedTenantStore } from '../../../lib/tenant/cached-tenant-store.js';
import { TenantMap } from '../../support/application.js';

const tenant = (id: string): Tenant => ({
  id,
  namespace: id,
  database: 'main',
  credentials: { type: 'user', username: 'u', password: 'p' },
});

describe('CachedTenantStore', () => {
  let store: TenantMap;
  beforeEach(() => {
    store = new TenantMap(tenant('acme'), tenant('globex'));
  });

  it('asks once for as long as it remembers', async () => {
    const cached = new CachedTenantStore(store, { ttlMillis: 50 });
    for (let round = 0; round < 3; round++)
      expect(await cached.findByIdentifier('acme')).toBe(store.tenants.get('acme'));
    expect(store.asked).toBe(1);
    await sleep(80);
    await cached.findByIdentifier('acme');
    expect(store.asked).toBe(2);
  });

  it('asks once however many ask at once', async () => {
    const cached = new CachedTenantStore(store);
    await Promise.all(Array.from({ length: 50 }, async () => cached.findByIdentifier('acme')));
    expect(store.asked).toBe(1);
  });

  it('remembers that there is no such tenant, for a time of its own', async () => {
    const cached = new CachedTenantStore(store, { negativeTtlMillis: 50 });
    expect([await cached.findByIdentifier('initech'), await cached.findByIdentifier('initech')]).toEqual([
      undefined,
      undefined,
    ]);
    expect(store.asked).toBe(1);
    store.tenants.set('initech', tenant('initech'));
    await sleep(80);
    expect(await cached.findByIdentifier('initech')).toMatchObject({ id: 'initech' });
  });

  it('R5, R6: made-up identifiers are bounded, and push out no tenant', async () => {
    const cached = new CachedTenantStore(store, { max: 10 });
    await cached.findByIdentifier('acme');
    for (let number = 0; number < 1_000; number++) await cached.findByIdentifier(`nobody${number}`);
    const asked = store.asked;
    await cached.findByIdentifier('acme');
    expect(store.asked).toBe(asked);
  });

  it('does not remember a failure', async () => {
    let fails = true;
    const cached = new CachedTenantStore({
      findByIdentifier: () => (fails ? Promise.reject(new Error('down')) : Promise.resolve(tenant('acme'))),
    });
    await expect(cached.findByIdentifier('acme')).rejects.toThrow('down');
    fails = false;
    expect(await cached.findByIdentifier('acme')).toMatchObject({ id: 'acme' });
  });

  it('forgets a tenant, also one whose answer is under way', async () => {
    let answer: (tenant: Tenant) => void = () => undefined;
    const cached = new CachedTenantStore({
      findByIdentifier: () => {
        store.asked++;
        return new Promise((resolve) => (answer = resolve));
      },
    });
    const first = cached.findByIdentifier('acme');
    cached.forget('acme');
    const second = cached.findByIdentifier('acme');
    answer(tenant('acme'));
    await second;
    void first;
    expect(store.asked).toBe(2);
    cached.forget('acme');
    void cached.findByIdentifier('acme');
    expect(store.asked).toBe(3);
  });
});
