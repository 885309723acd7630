import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { Controller, Get, Headers, type INestApplication, Post, UseGuards } from '@nestjs/common';
import {
  RecordUser,
  RecordUserGuard,
  SkipRecordUser,
  Table,
  Tenancy,
  type Tenant,
  TenantAuth,
  TenantGuard,
  TenantSession,
} from 'nestjs-surreal';
import { listen, moduleOptions, TenantMap } from '../support/application.js';
import { anna, bert, defineTenantWithPeople, mint } from '../support/people.js';
import { type Database, dropConnections, hasFaults, startDatabase } from '../support/surreal.js';

const ROUNDS = Number(process.env.ISOLATION_ROUNDS ?? 1);
const TEXTS = { 'user:anna': ['of Anna', 'shared by Bert'], 'user:bert': ['of Bert', 'shared by Bert'] };

@Controller()
@UseGuards(TenantGuard, RecordUserGuard)
class MineController {
  constructor(
    private readonly db: TenantSession,
    private readonly auth: TenantAuth,
  ) {}

  @Get('mine')
  async mine(@RecordUser() { id }: RecordUser) {
    const [auth, memos] = await Promise.all([
      this.db.query<[string]>('RETURN <string> $auth'),
      this.db.select<{ text: string }>(new Table('memo')),
    ]);
    return [String(id), ...auth, memos.map(({ text }) => text).sort()];
  }

  @Get('set')
  async set(@Headers('x-value') value: string) {
    await this.db.set('value', value);
    return await this.db.query('RETURN [$value, <string> $auth]');
  }

  @Post('signout')
  async signout() {
    await this.auth.invalidate();
  }

  @Get('all')
  @SkipRecordUser()
  async all() {
    const [auth, memos] = await Promise.all([
      this.db.query('RETURN $auth'),
      this.db.select<{ text: string }>(new Table('memo')),
    ]);
    return [...auth, memos.length];
  }
}

let database: Database;
let acme: Tenant;
let app: INestApplication;
let url: string;

beforeAll(async () => {
  database = await startDatabase();
  acme = await defineTenantWithPeople(database.admin, { id: 'acme', type: 'jwt' });
  // One socket for all of them.
  ({ app, url } = await listen(moduleOptions(database, new TenantMap(acme), { sockets: 1 }), {
    controllers: [MineController],
  }));
});
afterAll(async () => {
  await app?.close();
  await database?.stop();
});

it('R1, R2: two record users and the system user of a tenant, at once on one socket: each is always who it is', async () => {
  const tenancy = app.get(Tenancy);
  const tokens = { 'user:anna': mint(acme), 'user:bert': mint(acme, 'user:bert') };
  let checked = 0;
  const get = async (path: string, token?: string) => {
    const headers = { 'x-tenant-id': 'acme', ...(token === undefined ? {} : { authorization: `Bearer ${token}` }) };
    const response = await fetch(`${url}/${path}`, { headers });
    // What a dropped socket has taken along says so; it is never somebody else's.
    if (response.status === 503) return undefined;
    expect(response.status).toBe(200);
    return (await response.json()) as unknown;
  };
  const asUser = async (id: keyof typeof tokens) => {
    const mine = await get('mine', tokens[id]);
    if (mine === undefined) return;
    expect(mine).toEqual([id, id, TEXTS[id]]);
    checked += 2;
  };
  const asTenant = async () => {
    const all = await get('all');
    if (all === undefined) return;
    expect(all).toEqual([null, 3]);
    checked += 2;
  };
  /** A handle that is one after the other in the middle of it all. */
  const inTurn = async () => {
    await tenancy.run(acme, async (db) => {
      for (const [variables, id] of [[anna, 'user:anna'], [bert, 'user:bert']] as const) {
        expect(await db.query("RETURN $auth")).toEqual([undefined]);
        const sides = await Promise.all([db.query('RETURN $auth'), tenancy.run(acme, async (other) => {
          await other.signin({ access: 'account', variables });
          return await other.query('RETURN <string> $auth');
        })]);
        expect(sides).toEqual([[undefined], [id]]);
        checked += 3;
      }
    }).catch((error: unknown) => {
      if ((error as { code?: string }).code !== 'CONNECTION_LOST') throw error;
    });
  }; // prettier-ignore
  const works = [() => asUser('user:anna'), () => asUser('user:bert'), asTenant];
  const worker = async (from: number) => {
    for (let round = 0; round < 110 * ROUNDS; round++) await works[(from + round) % works.length]!();
  };
  await Promise.all([
    ...Array.from({ length: 48 }, (_, index) => worker(index)),
    (async () => {
      for (let round = 0; round < 6 * ROUNDS; round++) await inTurn();
    })(),
    (async () => {
      // A drop in the middle of it: everybody comes back as who it was.
      await new Promise((resolve) => setTimeout(resolve, 1_500));
      if (hasFaults) await dropConnections(database);
    })(),
  ]);
  expect(checked).toBeGreaterThan(10_000 * ROUNDS);
}, 120_000);

it('R6, R8: far fewer sessions than users, who sign out, change theirs and lose their socket: every place comes back', async () => {
  const sessions = {
    max: 8,
    maxOwnPerTenant: 4,
    acquireTimeoutMillis: 5_000,
    idleTimeoutMillis: 300,
    maxLifetimeMillis: 700,
  };
  const store = new TenantMap(acme, await defineTenantWithPeople(database.admin, { id: 'globex' }));
  const options = moduleOptions(database, store, { sessions, sockets: 2, recordUsers: { recheckMillis: 200 } });
  const crowded = await listen(options, { controllers: [MineController] });
  const tenancy = crowded.app.get(Tenancy);
  try {
    let tokens = 0;
    const newToken = (tenant: Tenant) => mint(tenant, 'user:anna', { jti: `crowd ${tokens++}` });
    const users = [...store.tenants.values()].flatMap((tenant) =>
      Array.from({ length: 8 }, () => ({ tenant, token: newToken(tenant) })),
    );
    const end = Date.now() + 3_000 * ROUNDS;
    const seen: Record<string, number> = {};
    const ask = async (path: string, user: (typeof users)[number], value = '', method = 'GET') => {
      const headers = { 'x-tenant-id': user.tenant.id, authorization: `Bearer ${user.token}`, 'x-value': value };
      const response = await fetch(`${crowded.url}/${path}`, { method, headers });
      const body = (await response.text()) || 'null';
      seen[response.status] = (seen[response.status] ?? 0) + 1;
      return { status: response.status, body: JSON.parse(body) as unknown };
    };
    const worker = async (number: number) => {
      for (let round = number; Date.now() < end; round++) {
        const user = users[(round * 7) % users.length]!;
        const value = `${number} ${round}`;
        const { status, body } = await ask(round % 3 === 0 ? 'set' : round % 5 === 0 ? 'all' : 'mine', user, value);
        if (status === 200 && round % 3 === 0) expect(body).toEqual([[value, 'user:anna']]);
        if (round % 40 !== 0) continue;
        const { token } = user;
        await ask('signout', user, '', 'POST');
        if (user.token === token) user.token = newToken(user.tenant);
      }
    };
    const drops = (async () => {
      for (; hasFaults && Date.now() < end; await sleep(1_500)) await dropConnections(database);
    })();
    await Promise.all([...Array.from({ length: 24 }, (_, number) => worker(number)), drops]);
    expect(seen[200]).toBeGreaterThan(300);
    // Signed out, or the socket was away: nothing else goes wrong.
    expect(Object.keys(seen).filter((status) => !['200', '201', '401', '503'].includes(status))).toEqual([]);
    for (let tries = 0; tries < 200 && tenancy.stats().sessions.inUse > 0; tries++) await sleep(10);
    expect(tenancy.stats().sessions).toMatchObject({ inUse: 0, waiting: 0 });
    // The whole of a tenant's share is there again.
    const own = await Promise.all(Array.from({ length: 4 }, () => tenancy.attach(acme)));
    await Promise.all(own.map((db) => db.detach()));
  } finally {
    await crowded.app.close();
  }
}, 60_000);
