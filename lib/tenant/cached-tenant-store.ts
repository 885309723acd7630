import { LRUCache } from 'lru-cache';
import type { TenantStore } from './tenant-store.js';
import type { Tenant } from './tenant.js';

export interface TenantCacheOptions {
  /** How long a tenant is remembered, in milliseconds: also how late a suspension or new credentials are seen. Default 30,000. */
  ttlMillis?: number;
  /** How long it is remembered that an identifier names nobody, in milliseconds. Default 5,000. */
  negativeTtlMillis?: number;
  /** How many identifiers are remembered; the least recently used goes first. Default 10,000. */
  max?: number;
}

/**
 * Remembers what a store answered. Misses are remembered apart from hits and in a cache of their own, so that a flood of
 * made-up identifiers cannot push out tenants (R5, R6). Questions for one identifier at one time are asked once.
 */
export class CachedTenantStore implements TenantStore {
  readonly #store: TenantStore;
  readonly #hits: LRUCache<string, Tenant>;
  readonly #misses: LRUCache<string, true>;
  readonly #asking = new Map<string, Promise<Tenant | undefined>>();
  #generation = 0;

  constructor(
    store: TenantStore,
    { ttlMillis = 30_000, negativeTtlMillis = 5_000, max = 10_000 }: TenantCacheOptions = {},
  ) {
    this.#store = store;
    this.#hits = new LRUCache({ max, ttl: ttlMillis });
    this.#misses = new LRUCache({ max, ttl: negativeTtlMillis });
  }

  findByIdentifier(identifier: string): Promise<Tenant | undefined> | Tenant | undefined {
    const hit = this.#hits.get(identifier);
    if (hit !== undefined || this.#misses.has(identifier)) return hit;
    let question = this.#asking.get(identifier);
    if (question === undefined) {
      question = this.#ask(identifier).finally(() => {
        if (this.#asking.get(identifier) === question) this.#asking.delete(identifier);
      });
      this.#asking.set(identifier, question);
    }
    return question;
  }

  /** Forgets what is known of a tenant, under every identifier; an answer that is under way is not remembered. */
  forget(tenantId: string): void {
    for (const [identifier, tenant] of this.#hits.entries()) if (tenant.id === tenantId) this.#hits.delete(identifier);
    this.#misses.delete(tenantId);
    // Whose answers are under way is not known before they are there: none of them is kept.
    this.#generation++;
    this.#asking.clear();
  }

  async #ask(identifier: string): Promise<Tenant | undefined> {
    const generation = this.#generation;
    const tenant = (await this.#store.findByIdentifier(identifier)) ?? undefined;
    if (generation !== this.#generation) return tenant;
    if (tenant === undefined) this.#misses.set(identifier, true);
    else this.#hits.set(identifier, tenant);
    return tenant;
  }
}
