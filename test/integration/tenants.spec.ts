import { EventEmitter } from 'node:events';
import { generateKeyPairSync } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { Controller, type ExecutionContext, Get, Global, Inject, Injectable, Module, UseGuards } from '@nestjs/common';
import { Test } from '@nestjs/testing';
import {
  CurrentTenant,
  type SurrealModuleOptions,
  SurrealModule,
  Tenancy,
  type Tenant,
  TenantGuard,
  TenantSession,
  TenantStore,
  type TenantStrategy,
} from 'nestjs-surreal';
import { createContext, listen, moduleOptions, TenantMap } from '../support/application.js';
import { type Database, defineTenant, startDatabase } from '../support/surreal.js';

@Injectable()
class Directory {
  readonly tenants = new Map<string, Tenant>();
}

@Injectable()
class DirectoryStore implements TenantStore {
  constructor(private readonly directory: Directory) {}

  findByIdentifier(identifier: string): Tenant | undefined {
    return this.directory.tenants.get(identifier);
  }
}

@Injectable()
class LastLabelStrategy implements TenantStrategy {
  constructor(@Inject('prefix') private readonly prefix: string) {}

  identify(context: ExecutionContext): string | undefined {
    const { headers } = context.switchToHttp().getRequest<{ headers: Record<string, string | undefined> }>();
    return headers.label?.replace(this.prefix, '');
  }
}

@Global()
@Module({
  providers: [
    Directory,
    DirectoryStore,
    { provide: 'prefix', useValue: 'tenant:' },
    { provide: 'STORE', useExisting: DirectoryStore },
  ],
  exports: [Directory, DirectoryStore, 'prefix', 'STORE'],
})
class DirectoryModule {}

@Controller()
@UseGuards(TenantGuard)
class WhoController {
  constructor(private readonly db: TenantSession) {}

  @Get()
  async who(@CurrentTenant() { id }: Tenant) {
    return [id, (await this.db.query('RETURN session::ns()'))[0]];
  }

  @Get('hold')
  async hold(@TenantSession() db: TenantSession) {
    await db.set('x', 1);
    await new Promise((resolve) => setTimeout(resolve, 600));
    return 'held';
  }
}

let database: Database;
let acme: Tenant;
const open: { close(): Promise<void> }[] = [];

beforeAll(async () => {
  database = await startDatabase();
  acme = await defineTenant(database.admin, { id: 'acme' });
});
afterAll(() => database?.stop());
afterEach(async () => {
  for (const one of open.splice(0)) await one.close();
});

async function serve(tenants: Partial<NonNullable<SurrealModuleOptions['tenants']>>) {
  const options = moduleOptions(database, new TenantMap());
  const module = await Test.createTestingModule({
    imports: [DirectoryModule, SurrealModule.forRoot({ ...options, tenants: { ...options.tenants!, ...tenants } })],
    controllers: [WhoController],
  }).compile();
  module.get(Directory).tenants.set('acme', acme);
  const app = module.createNestApplication({ logger: false });
  await app.listen(0, '127.0.0.1');
  open.push(app);
  const ask = async (headers: Record<string, string>) => {
    const response = await fetch(await app.getUrl(), { headers: { ...headers, connection: 'close' } });
    return (await response.json()) as unknown;
  };
  return { app, ask };
}

describe('tenants.store and tenants.strategies', () => {
  it.each<[string, NonNullable<SurrealModuleOptions['tenants']>['store']]>([
    ['a class that a module provides', DirectoryStore],
    ['the token of a provider', 'STORE'],
  ])('take %s', async (_case, store) => {
    const { app, ask } = await serve({ store });
    expect(await ask({ 'x-tenant-id': 'acme' })).toEqual(['acme', acme.namespace]);
    expect(await app.get<TenantStore>(TenantStore).findByIdentifier('acme')).toMatchObject({ id: 'acme' });
  });

  it('take a strategy that Nest creates, and a function', async () => {
    const byFunction = (context: ExecutionContext) =>
      context.switchToHttp().getRequest<{ headers: Record<string, string | undefined> }>().headers.other;
    const { ask } = await serve({ store: DirectoryStore, strategies: [LastLabelStrategy, byFunction] });
    expect(await ask({ label: 'tenant:acme' })).toEqual(['acme', acme.namespace]);
    expect(await ask({ other: 'acme' })).toEqual(['acme', acme.namespace]);
    expect(await ask({ label: 'tenant:acme', other: 'globex' })).toMatchObject({ code: 'TENANT_MISMATCH' });
  });

  it('say which token nobody provides', async () => {
    const { ask, app } = await serve({ store: 'NOWHERE' });
    expect(await ask({ 'x-tenant-id': 'acme' })).toMatchObject({ statusCode: 500, code: 'INVALID_OPTIONS' });
    await expect(app.get(Tenancy).run('acme', () => 1)).rejects.toThrow(/"tenants.store" is the token NOWHERE/);
  });

  it('crossCheck: false lets the first that answers decide', async () => {
    const strategies = [() => 'acme', () => 'globex'];
    const { ask } = await serve({ store: DirectoryStore, strategies, crossCheck: false });
    expect(await ask({})).toEqual(['acme', acme.namespace]);
  });
});

describe('tenants.cache', () => {
  it('asks the store once, and again after evict()', async () => {
    const store = new TenantMap(acme);
    const options = moduleOptions(database, store);
    const app = await createContext({ ...options, tenants: { ...options.tenants!, cache: true } });
    open.push(app);
    const tenancy = app.get(Tenancy);
    for (let round = 0; round < 3; round++) await tenancy.run('acme', (db) => db.query('RETURN 1'));
    expect(store.asked).toBe(1);
    store.tenants.set('acme', { ...acme, status: 'suspended' });
    await tenancy.run('acme', (db) => db.query('RETURN 1'));
    await tenancy.evict('acme');
    await expect(tenancy.run('acme', () => 1)).rejects.toMatchObject({ code: 'TENANT_SUSPENDED' });
  });
});

describe('the context', () => {
  it('goes through event emitters: a listener works for the tenant that emits', async () => {
    const globex = await defineTenant(database.admin, { id: 'globex' });
    @Injectable()
    class Audit {
      readonly events = new EventEmitter();
      readonly seen: Promise<unknown>[] = [];

      constructor(db: TenantSession) {
        this.events.on('saved', () => this.seen.push(Promise.resolve(db.query('RETURN session::ns()'))));
      }
    }
    const app = await createContext(moduleOptions(database, new TenantMap(acme, globex)), { providers: [Audit] });
    open.push(app);
    const audit = app.get(Audit);
    for (const tenant of [acme, globex]) {
      await app.get(Tenancy).run(tenant, async () => {
        audit.events.emit('saved');
        await audit.seen.at(-1);
      });
    }
    expect(await Promise.all(audit.seen)).toEqual([[acme.namespace], [globex.namespace]]);
  });
});

describe('jwt credentials', () => {
  it.each([
    ['RS256', () => generateKeyPairSync('rsa', { modulusLength: 2048 })],
    ['ES256', () => generateKeyPairSync('ec', { namedCurve: 'P-256' })],
  ] as const)('sign with a private key: %s', async (algorithm, generate) => {
    const { publicKey, privateKey } = generate();
    const pem = publicKey.export({ type: 'spki', format: 'pem' }).toString();
    const schema = `DEFINE ACCESS asym ON DATABASE TYPE JWT ALGORITHM ${algorithm} KEY '${pem}'`;
    const tenant = await defineTenant(database.admin, { schema });
    const key = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
    const record: Tenant = {
      ...tenant,
      credentials: { type: 'jwt', access: 'asym', key, algorithm, roles: ['Viewer'] },
    };
    const app = await createContext(moduleOptions(database, new TenantMap(record)));
    open.push(app);
    await app.get(Tenancy).run(record, async (db) => {
      expect(await db.query('RETURN session::ns()')).toEqual([tenant.namespace]);
      // A VIEWER: SurrealDB answers a write with nothing, and refuses a definition.
      expect(await db.query('CREATE note')).toEqual([[]]);
      await expect(Promise.resolve(db.query('DEFINE TABLE x'))).rejects.toMatchObject({ code: 'NOT_ALLOWED' });
    });
  });
});

describe('R5: more requests than sessions', () => {
  it('are POOL_EXHAUSTED: 503 with Retry-After', async () => {
    const sessions = { max: 1, acquireTimeoutMillis: 100 };
    const options = moduleOptions(database, new TenantMap(acme), { sessions });
    const { app, url } = await listen(options, { controllers: [WhoController] });
    open.push(app);
    const headers = { 'x-tenant-id': 'acme', connection: 'close' };
    const held = fetch(`${url}/hold`, { headers });
    await new Promise((resolve) => setTimeout(resolve, 200));
    const refused = await fetch(url, { headers });
    expect([refused.status, refused.headers.get('retry-after')]).toEqual([503, '1']);
    expect(await refused.json()).toMatchObject({ code: 'POOL_EXHAUSTED' });
    expect(await (await held).text()).toBe('held');
  });
});
