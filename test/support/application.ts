import type { Server } from 'node:http';
import type { DynamicModule, INestApplication, Type } from '@nestjs/common';
import { Test } from '@nestjs/testing';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import { fromHeader, SurrealModule, type SurrealModuleOptions, type Tenant, type TenantStore } from 'nestjs-surreal';
import type { Database } from './surreal.js';

/** A store whose tenants a test can change, and which counts how often it is asked. */
export class TenantMap implements TenantStore {
  readonly tenants = new Map<string, Tenant>();
  asked = 0;

  constructor(...tenants: Tenant[]) {
    for (const tenant of tenants) this.tenants.set(tenant.id, tenant);
  }

  findByIdentifier(identifier: string): Promise<Tenant | undefined> {
    this.asked++;
    return Promise.resolve(this.tenants.get(identifier));
  }
}

export type Platform = 'express' | 'fastify';

export interface ApplicationSetup {
  platform?: Platform;
  controllers?: Type[];
  providers?: NonNullable<DynamicModule['providers']>;
  /** Runs before the application is initialised: for what stands in front of its context. */
  before?: (app: INestApplication) => void;
}

/** The module's options for a database and some tenants, identified by the header `x-tenant-id`. */
export function moduleOptions(
  database: Pick<Database, 'url' | 'root'>,
  store: TenantStore,
  options: Partial<SurrealModuleOptions> = {},
): SurrealModuleOptions {
  return {
    url: database.url,
    authentication: database.root,
    tenants: { strategies: [fromHeader('x-tenant-id')], store },
    ...options,
  };
}

/** An application without a server, for units of work by `Tenancy`. Whoever calls closes it. */
export async function createContext(options: SurrealModuleOptions, setup: ApplicationSetup = {}) {
  const { providers = [], controllers = [] } = setup;
  const module = await Test.createTestingModule({
    imports: [SurrealModule.forRoot(options)],
    providers,
    controllers,
  }).compile();
  return await module.init();
}

/** An application that listens, and its address. Whoever calls closes it. */
export async function listen(
  options: SurrealModuleOptions,
  { platform = 'express', controllers = [], providers = [], before }: ApplicationSetup = {},
): Promise<{ app: INestApplication<Server>; url: string }> {
  const module = await Test.createTestingModule({
    imports: [SurrealModule.forRoot(options)],
    controllers,
    providers,
  }).compile();
  const app =
    platform === 'fastify'
      ? module.createNestApplication<NestFastifyApplication>(new FastifyAdapter(), { logger: false })
      : module.createNestApplication({ logger: false });
  before?.(app);
  await app.listen(0, '127.0.0.1');
  return { app: app as INestApplication<Server>, url: (await app.getUrl()).replace('[::1]', '127.0.0.1') };
}
