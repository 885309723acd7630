import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { isLiveGap, Table, Tenancy, type Tenant } from 'nestjs-surreal';
import { SigninChannel } from '../../lib/connection/signin-channel.js';
import { SocketTransport } from '../../lib/connection/socket-transport.js';
import { TokenSource } from '../../lib/session/token-source.js';
import { createContext, moduleOptions, TenantMap } from '../support/application.js';
import { asRoot, type Database, defineTenant, startDatabase } from '../support/surreal.js';

let database: Database;
beforeAll(async () => {
  database = await startDatabase();
});
afterAll(() => database?.stop());

const usernameOf = (tenant: Tenant) => (tenant.credentials as { username: string }).username;

/** A tenant whose user has durations. */
async function tenantWith(duration: string): Promise<Tenant> {
  const tenant = await defineTenant(database.admin);
  const { username, password } = tenant.credentials as { username: string; password: string };
  await asRoot(
    database.admin,
    tenant,
    `DEFINE USER OVERWRITE ${username} ON DATABASE PASSWORD '${password}' ROLES EDITOR DURATION ${duration}`,
  );
  return tenant;
}

describe('the token of a tenant', () => {
  it('is got once for all who ask, and renewed before it ends, once, without a timer', async () => {
    const tenant = await tenantWith('FOR TOKEN 4s');
    const times = { requestTimeoutMillis: 5_000, pingIntervalMillis: 5_000, reconnect: {} };
    const transport = new SocketTransport({ urls: [new URL(database.url)], ...times });
    const signins = SigninChannel.onSocket(transport);
    const tokens = new TokenSource(signins, 5_000);
    const ask = async () => {
      const got = await Promise.all(Array.from({ length: 50 }, () => tokens.get(tenant)));
      expect(new Set(got).size).toBe(1);
      return got[0]!;
    };
    const first = await ask();
    expect([await ask(), signins.requests]).toEqual([first, 1]);
    const timers = process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;
    await sleep(first.renewAt - Date.now() + 10);
    expect(Date.now()).toBeLessThan(first.expiresAt);
    expect(process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length).toBeLessThanOrEqual(timers);
    expect(signins.requests).toBe(1);
    const second = await ask();
    expect(second.value).not.toBe(first.value);
    expect(signins.requests).toBe(2);
    await transport.close();
  });
});

describe('sessions.maxLifetimeMillis', () => {
  let app: Awaited<ReturnType<typeof createContext>> | undefined;
  afterEach(async () => {
    await app?.close();
    app = undefined;
  });
  const start = async (tenant: Tenant) => {
    const sessions = { maxLifetimeMillis: 600 };
    app = await createContext(moduleOptions(database, new TenantMap(tenant), { sessions }));
    return app.get(Tenancy);
  };
  const removeUser = (tenant: Tenant) =>
    asRoot(database.admin, tenant, `REMOVE USER ${usernameOf(tenant)} ON DATABASE`);

  it.each<[string, boolean]>([
    ['shared', false],
    ['its own', true],
  ])(
    'bounds how long a removed user goes on in a unit of work that does not end, its session %s',
    async (_what, own) => {
      const tenant = await defineTenant(database.admin);
      const tenancy = await start(tenant);
      await tenancy.run(tenant, async (db) => {
        if (own) await db.set('color', 'red');
        expect(await db.query('RETURN $color')).toEqual([own ? 'red' : undefined]);
        await removeUser(tenant);
        await sleep(700);
        await expect(Promise.resolve(db.query('RETURN 1'))).rejects.toMatchObject({ code: 'TENANT_SIGNIN_FAILED' });
      });
    },
  );

  it('ends a live query of a removed user, though nobody queries any more', async () => {
    const tenant = await defineTenant(database.admin);
    const tenancy = await start(tenant);
    await tenancy.run(tenant, async (db) => {
      const heard: string[] = [];
      const subscription = await db.live(new Table('note'));
      subscription.subscribe((message) => heard.push(isLiveGap(message) ? 'GAP' : message.action));
      await sleep(100);
      await removeUser(tenant);
      for (let tries = 0; tries < 300 && heard.length === 0; tries++) await sleep(10);
      expect(heard).toEqual(['KILLED']);
    });
  });

  it('lets a unit of work that is allowed go on, variables and transaction and all', async () => {
    const tenant = await defineTenant(database.admin, { type: 'jwt' });
    const tenancy = await start(tenant);
    await tenancy.run(tenant, async (db) => {
      await db.set('color', 'red');
      const transaction = await db.begin();
      await transaction.query('CREATE note:kept');
      const { id } = db;
      await sleep(700);
      expect(await db.query('RETURN [$color, session::ns()]')).toEqual([['red', tenant.namespace]]);
      await transaction.commit();
      expect(db.id).toEqual(id);
      expect(await db.query('SELECT VALUE id FROM note')).toHaveLength(1);
    });
  });
});
