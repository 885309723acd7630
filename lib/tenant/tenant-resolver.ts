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
  resolve(context: ExecutionContext): Promise<Tenant> | Tenant {
    // Where strategies and store answer at once, so does this: a promise less for every request.
    const found: string[] = [];
    const { strategies } = this.#options;
    for (let index = 0; index < strategies.length; index++) {
      const answer = (strategies[index] as TenantStrategy).identify(context);
      if (isPromiseLike(answer)) return this.#resolveFrom(context, index, answer, found);
      if (this.#note(answer, found)) break;
    }
    return this.#findAll(found);
  }

  /**
   * Looks up one identifier.
   * @throws TenantInvalidError, TenantNotFoundError, TenantSuspendedError
   */
  find(identifier: string): Promise<Tenant> | Tenant {
    const answer = this.#options.store.findByIdentifier(validateIdentifier(identifier));
    return isPromiseLike(answer)
      ? Promise.resolve(answer).then((tenant) => this.#admitFound(identifier, tenant))
      : this.#admitFound(identifier, answer);
  }

  /**
   * Takes a tenant record in: checked, sealed, and refused when it is suspended. The same record gives the same object,
   * until something in it changes.
   * @throws TenantSigninFailedError the record is not sound
   */
  admit(tenant: Tenant): Tenant {
    const known = this.#sealed.get(tenant);
    const isKnown = known !== undefined && (known === tenant || sameTenant(tenant, known));
    const sealed = isKnown ? known : this.#seal(tenant);
    if (sealed.status === 'suspended') throw new TenantSuspendedError(`Tenant "${sealed.id}" is suspended.`);
    return sealed;
  }

  #seal(tenant: Tenant): Tenant {
    const sealed = sealTenant(validateTenant(tenant));
    this.#sealed.set(tenant, sealed);
    this.#sealed.set(sealed, sealed);
    return sealed;
  }

  #admitFound(identifier: string, tenant: Tenant | null | undefined): Tenant {
    if (tenant === undefined || tenant === null)
      throw new TenantNotFoundError(`The tenant store knows no tenant "${identifier}".`);
    return this.admit(tenant);
  }

  async #resolveFrom(
    context: ExecutionContext,
    index: number,
    pending: PromiseLike<string | undefined>,
    found: string[],
  ): Promise<Tenant> {
    let isEnough = this.#note(await pending, found);
    for (const strategy of this.#options.strategies.slice(index + 1)) {
      if (isEnough) break;
      isEnough = this.#note(await strategy.identify(context), found);
    }
    return await this.#findAll(found);
  }

  /**
   * Takes note of what a strategy said: each identifier once.
   * @returns whether no other needs to be asked: without cross-check the first that answers decides
   */
  #note(identifier: string | null | undefined, found: string[]): boolean {
    if (identifier === undefined || identifier === null) return false;
    if (!found.includes(validateIdentifier(identifier))) found.push(identifier);
    return !this.#options.crossCheck;
  }

  #findAll([first, ...others]: string[]): Promise<Tenant> | Tenant {
    if (first === undefined) {
      throw new TenantNotIdentifiedError(
        'No strategy of tenants.strategies found a tenant in this request. Send what they look for, or mark the handler ' +
          'with @SkipTenant() when it is for nobody in particular.',
      );
    }
    return others.length === 0 ? this.find(first) : this.#findAgreeing(first, others);
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

/** Also for promises of another realm or library: `instanceof` would take them for an answer. */
export function isPromiseLike<Value>(value: Value | PromiseLike<Value>): value is PromiseLike<Value> {
  return typeof (value as { then?: unknown } | undefined)?.then === 'function';
}
