import type { ExecutionContext } from '@nestjs/common';
import {
  TenantMismatchError,
  TenantNotFoundError,
  TenantNotIdentifiedError,
  TenantSuspendedError,
} from '../surreal.errors.js';
import type { TenantStore } from './tenant-store.js';
import type { TenantStrategy } from './tenant-strategy.js';
import { sameTenant, sealTenant, type Tenant } from './tenant.js';
import { validateIdentifier, validateTenant } from './tenant.validation.js';

export interface TenantResolverOptions {
  strategies: readonly TenantStrategy[];
  store: TenantStore;
  /** Ask every strategy, and refuse the request when two name different tenants. */
  crossCheck: boolean;
}

/** From a request to the tenant it is for: strategies identify, the store resolves. Sends nothing to the database. */
export class TenantResolver {
  readonly #options: TenantResolverOptions;
  readonly #sealed = new WeakMap<Tenant, Tenant>();

  constructor(options: TenantResolverOptions) {
    this.#options = options;
  }

  /**
   * @throws TenantNotIdentifiedError no strategy answered
   * @throws TenantInvalidError an identifier is malformed
   * @throws TenantMismatchError two strategies name different tenants
   * @throws TenantNotFoundError, TenantSuspendedError what the store says
   */
  async resolve(context: ExecutionContext): Promise<Tenant> {
    const identifiers = await this.#identify(context);
    const [first, ...others] = identifiers;
    if (first === undefined) {
      throw new TenantNotIdentifiedError(
        'No strategy of tenants.strategies found a tenant in this request. Send what they look for, or mark the handler ' +
          'with @SkipTenant() when it is for nobody in particular.',
      );
    }
    if (others.length === 0) return await this.find(first);
    return await this.#findAgreeing(first, others);
  }

  /**
   * Looks up one identifier.
   * @throws TenantInvalidError, TenantNotFoundError, TenantSuspendedError
   */
  async find(identifier: string): Promise<Tenant> {
    const tenant = await this.#options.store.findByIdentifier(validateIdentifier(identifier));
    if (tenant === undefined || tenant === null)
      throw new TenantNotFoundError(`The tenant store knows no tenant "${identifier}".`);
    return this.admit(tenant);
  }

  /**
   * Takes a tenant record in: checked, sealed, and refused when it is suspended. The same record gives the same object,
   * until something in it changes.
   * @throws TenantSigninFailedError the record is not sound
   */
  admit(tenant: Tenant): Tenant {
    const known = this.#sealed.get(tenant);
    const sealed = known !== undefined && sameTenant(tenant, known) ? known : this.#seal(tenant);
    if (sealed.status === 'suspended') throw new TenantSuspendedError(`Tenant "${sealed.id}" is suspended.`);
    return sealed;
  }

  #seal(tenant: Tenant): Tenant {
    const sealed = sealTenant(validateTenant(tenant));
    this.#sealed.set(tenant, sealed);
    this.#sealed.set(sealed, sealed);
    return sealed;
  }

  /** The different identifiers that the strategies found, in their order; one at most without cross-check. */
  async #identify(context: ExecutionContext): Promise<string[]> {
    const found: string[] = [];
    for (const strategy of this.#options.strategies) {
      const answer = strategy.identify(context);
      const identifier = typeof answer === 'string' ? answer : await answer;
      if (identifier === undefined || identifier === null) continue;
      if (!found.includes(validateIdentifier(identifier))) found.push(identifier);
      if (!this.#options.crossCheck) break;
    }
    return found;
  }

  /** Different identifiers may be names of one tenant; anything else is refused, without saying which of them exist. */
  async #findAgreeing(first: string, others: string[]): Promise<Tenant> {
    const found = await Promise.all([first, ...others].map(async (one) => this.#options.store.findByIdentifier(one)));
    const [tenant] = found;
    if (tenant === undefined || tenant === null || found.some((other) => other?.id !== tenant.id)) {
      throw new TenantMismatchError(
        `The request names ${found.length} different tenants. All strategies that answer must agree (tenants.crossCheck).`,
      );
    }
    return this.admit(tenant);
  }
}
