import { InvalidOptionsError } from '../surreal.errors.js';
import type { Tenant } from './tenant.js';
import { tenantProblem } from './tenant.validation.js';

/**
 * Answers which tenant an identifier names. Implement it over whatever keeps your tenants; the class can be given to
 * `tenants.store` and is then created by Nest with its dependencies.
 */
export interface TenantStore {
  /**
   * @param identifier already validated: letters, digits, `_`, `-`, `.`
   * @returns the tenant, or undefined (or null) when there is none; an error thrown here fails the request with 500
   */
  findByIdentifier(identifier: string): Promise<Tenant | null | undefined> | Tenant | null | undefined;
}

/** Injection token of the store in use (`@Inject(TenantStore) store: TenantStore`): one name for token and type. */
export const TenantStore = Symbol.for('nestjs-surreal.TenantStore');

/** Tenants from a list: for tests, samples, and services whose tenants are part of their configuration. */
export class InMemoryTenantStore implements TenantStore {
  readonly #tenants: ReadonlyMap<string, Tenant>;

  /** @throws InvalidOptionsError when a record is not sound or two have one id */
  constructor(tenants: readonly Tenant[]) {
    for (const [index, tenant] of tenants.entries()) {
      const problem = tenantProblem(tenant);
      if (problem !== undefined) throw new InvalidOptionsError(`InMemoryTenantStore: tenant ${index}: ${problem}`);
    }
    this.#tenants = new Map(tenants.map((tenant) => [tenant.id, tenant]));
    if (this.#tenants.size < tenants.length)
      throw new InvalidOptionsError('InMemoryTenantStore: two tenants have the same id.');
  }

  findByIdentifier(identifier: string): Tenant | undefined {
    return this.#tenants.get(identifier);
  }
}
