import type { Type } from '@nestjs/common';
import type { ModuleRef } from '@nestjs/core';
import { InvalidOptionsError } from '../surreal.errors.js';
import type { TenantsOptions } from '../surreal.options.js';
import { CachedTenantStore } from './cached-tenant-store.js';
import { TenantResolver } from './tenant-resolver.js';
import type { TenantStore } from './tenant-store.js';
import type { TenantStrategy, TenantStrategyInput } from './tenant-strategy.js';

/** How tenants are found, as the options say. */
export interface TenantSide {
  resolver: TenantResolver;
  store: TenantStore;
}

/**
 * Puts the strategies and the store together, once they are asked for the first time: only then have the application's
 * own providers, which they may be, been made.
 */
export function tenantSide(
  options: TenantsOptions | undefined,
  moduleRef: ModuleRef,
): () => Promise<TenantSide> | TenantSide {
  let made: Promise<TenantSide> | TenantSide | undefined;
  return () => {
    if (options === undefined) {
      throw new InvalidOptionsError('Option "tenants" is missing: without it there are no tenants to find.');
    }
    made ??= make(options, moduleRef).then(
      (side) => (made = side),
      (error: unknown) => {
        made = undefined;
        throw error;
      },
    );
    return made;
  };
}

async function make({ strategies, store, crossCheck = true, cache = false }: TenantsOptions, moduleRef: ModuleRef) {
  const asked = await makeStore(store, moduleRef);
  const cached = cache === false ? asked : new CachedTenantStore(asked, cache === true ? {} : cache);
  const made = await Promise.all(strategies.map((strategy) => makeStrategy(strategy, moduleRef)));
  return { resolver: new TenantResolver({ strategies: made, store: cached, crossCheck }), store: cached };
}

async function makeStore(store: TenantsOptions['store'], moduleRef: ModuleRef): Promise<TenantStore> {
  if (typeof store === 'object') return store as TenantStore;
  const found = findProvider<TenantStore>(store, moduleRef);
  if (found !== undefined) return found;
  if (isClassWith<TenantStore>(store, 'findByIdentifier'))
    return await createWithNest(store, moduleRef, 'tenants.store');
  throw new InvalidOptionsError(
    `Option "tenants.store" is the token ${String(store)}, but no module provides it. Add a provider for it, or give the ` +
      'store itself or its class.',
  );
}

async function makeStrategy(strategy: TenantStrategyInput, moduleRef: ModuleRef): Promise<TenantStrategy> {
  if (typeof strategy === 'object') return strategy;
  if (!isClassWith<TenantStrategy>(strategy, 'identify')) return { identify: strategy };
  return (
    findProvider<TenantStrategy>(strategy, moduleRef) ??
    (await createWithNest(strategy, moduleRef, 'tenants.strategies'))
  );
}

function isClassWith<T>(value: unknown, method: keyof T & string): value is Type<T> {
  return typeof value === 'function' && typeof (value.prototype as Partial<T> | undefined)?.[method] === 'function';
}

function findProvider<T>(token: Parameters<ModuleRef['get']>[0], moduleRef: ModuleRef): T | undefined {
  try {
    return moduleRef.get<T>(token, { strict: false });
  } catch {
    // Nest throws where it knows no such provider.
    return undefined;
  }
}

async function createWithNest<T>(type: Type<T>, moduleRef: ModuleRef, option: string): Promise<T> {
  try {
    return await moduleRef.create(type);
  } catch (cause) {
    throw new InvalidOptionsError(
      `Option "${option}": Nest cannot create ${type.name}. Make it a provider of a module that has what it depends on.`,
      { cause },
    );
  }
}
