import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { Injectable } from '@nestjs/common';
import * as fc from 'fast-check';
import { RecordId, Table, Tenancy, type Tenant, TenantSession } from 'nestjs-surreal';
import { createContext, moduleOptions, TenantMap } from '../support/application.js';
import { connect } from '../support/raw-client.js';
import { asRoot, type Database, defineTenant, hasFaults, startDatabase } from '../support/surreal.js';

@Injectable()
class Rows {
  constructor(private readonly db: TenantSession) {}

  async all(): Promise<string[]> {
    return (await this.db.select<{ mark: string }>(new Table('note'))).map(({ mark }) => mark);
  }
}

/** One thing that a unit of work can do. `other` is the index of a tenant it has no business with. */
type Step =
  | { do: 'read' | 'write' | 'fail' | 'transaction' | 'evict' | 'timer' | 'signin' }
  | { do: 'set'; value: number }
  | { do: 'use' | 'useText' | 'authenticate'; other: number };

interface Unit {
  tenant: number;
  steps: Step[];
}

const TENANTS = 20;
const UNITS_AT_ONCE = 25;
const ROUNDS = 180;
/** The CI's share; a longer run is `ISOLATION_ROUNDS=2000 npm test -- isolation`. */
const rounds = Number(process.env.ISOLATION_ROUNDS ?? ROUNDS);

const index = fc.integer({ min: 0, max: TENANTS - 1 });
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom<Step[]>({ do: 'read' }, { do: 'write' }, { do: 'transaction' }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('set' as const), value: fc.nat() }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constantFrom('use', 'useText', 'authenticate' as const), other: index }) },
  { weight: 1, arbitrary: fc.constantFrom<Step[]>({ do: 'fail' }, { do: 'evict' }, { do: 'timer' }, { do: 'signin' }) },
);
const unit: fc.Arbitrary<Unit> = fc.record({ tenant: index, steps: fc.array(step, { minLength: 3, maxLength: 8 }) });

let database: Database;
let app: Awaited<ReturnType<typeof createContext>>;
let tenants: Tenant[];
let tokens: string[];
let operations = 0;

beforeAll(async () => {
  database = await startDatabase();
  tenants = [];
  for (let number = 0; number < TENANTS; number++) {
    const id = `tenant${number}`;
    const schema = `DEFINE USER bearer ON DATABASE PASSWORD 'bearer of ${id}' ROLES EDITOR`;
    tenants.push(await defineTenant(database.admin, { id, type: number % 3 ? 'jwt' : 'user', schema }));
  }
  // Every row carries its tenant's mark from the beginning, so that a stray read shows at once.
  for (const tenant of tenants) await asRoot(database.admin, tenant, `CREATE note:first SET mark = '${tenant.id}'`);
  tokens = await bearerTokens();
  // Few sessions for many units of work: they are waited for, taken over and closed all the time.
  const sessions = { max: 30, acquireTimeoutMillis: 20_000 };
  app = await createContext(moduleOptions(database, new TenantMap(...tenants), { sessions }), { providers: [Rows] });
}, 60_000);
afterAll(async () => {
  await app?.close();
  await database?.stop();
});

it(
  'R1, R2, R6: whatever units of work do, every row that a tenant sees carries its own mark',
  async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(unit, { minLength: UNITS_AT_ONCE, maxLength: UNITS_AT_ONCE }), async (units) => {
        const seen = await Promise.all(units.map(run));
        for (const [number, marks] of seen.entries()) {
          const { id } = tenants[units[number]!.tenant]!;
          for (const mark of marks) expect(mark).toBe(id);
        }
      }),
      // No shrinking: with so many at once the order differs each time, and the failing units say enough.
      { numRuns: rounds, endOnFailure: true },
    );
    await assertTables();
    await assertNothingLeft();
    // 10,000 operations are what this test is for; rounds are sized to it.
    if (rounds >= ROUNDS) expect(operations).toBeGreaterThan(10_000);
  },
  rounds * 1_000 + 120_000,
);

/** Runs a unit of work and gives the marks of all rows, and of all variables, that it saw. */
async function run({ tenant: number, steps }: Unit): Promise<string[]> {
  const tenant = tenants[number]!;
  const seen: string[] = [];
  try {
    await app.get(Tenancy).run(tenant.id, async (db) => {
      for (const one of steps) {
        operations++;
        await perform(one, tenant, db, seen);
        // After each: who and where, and what is there.
        seen.push(...(await app.get(Rows).all()));
      }
    });
  } catch (error) {
    // An eviction by somebody else, and the mismatches that are asked for, end a unit of work; nothing else may.
    const { code } = error as { code?: unknown };
    if (!['SESSION_CLOSED', 'TENANT_MISMATCH', 'MADE_TO_FAIL'].includes(String(code))) throw error;
  }
  return seen;
}

async function perform(one: Step, tenant: Tenant, db: TenantSession, seen: string[]): Promise<void> {
  switch (one.do) {
    case 'read':
      return void seen.push(...(await db.query<[string[]]>('SELECT VALUE mark FROM note'))[0]);
    case 'write':
      return void (await db.upsert(new RecordId('note', Math.floor(Math.random() * 20))).content({ mark: tenant.id }));
    case 'transaction': {
      await using transaction = await db.begin();
      await transaction.upsert(new RecordId('note', 'transaction')).content({ mark: tenant.id });
      seen.push(...(await transaction.query<[string[]]>('SELECT VALUE mark FROM note'))[0]);
      return Math.random() < 0.5 ? await transaction.cancel() : await transaction.commit().catch(ignoreConflict);
    }
    case 'set': {
      const mine = `${tenant.id}:${one.value}`;
      await db.set('mine', mine);
      const [stored] = await db.query<[string]>('RETURN $mine');
      expect(stored).toBe(mine);
      return;
    }
    case 'use':
      return await db.use(tenants[one.other]!);
    case 'useText': {
      const other = tenants[one.other]!;
      // Its own credentials do not reach there: what it sees is nothing, or an error.
      const use = `USE NS ${other.namespace} DB ${other.database}; SELECT VALUE mark FROM note`;
      const answers = await db.query(use).responses();
      const answer = answers[1] as { success: boolean; result?: string[] };
      return void (answer.success && seen.push(...(answer.result ?? [])));
    }
    case 'authenticate':
      return await db.authenticate(tokens[one.other]!);
    case 'signin':
      return void (await db.signin({ username: 'nobody', password: 'wrong' }).catch(() => undefined));
    case 'timer':
      return void (await sleep(Math.random() * 10));
    case 'evict':
      return await app.get(Tenancy).evict(tenant.id);
    case 'fail':
      throw Object.assign(new Error('on purpose'), { code: 'MADE_TO_FAIL' });
  }
}

/** What is really in the tables, asked as root. */
async function assertTables(): Promise<void> {
  for (const tenant of tenants) {
    const [marks] = await asRoot<[string[]]>(database.admin, tenant, 'SELECT VALUE mark FROM note');
    expect(new Set(marks)).toEqual(new Set([tenant.id]));
  }
}

async function assertNothingLeft(): Promise<void> {
  if (!hasFaults) return;
  for (let tries = 0; tries < 100 && (await database.server!.openTransactions()) > 0; tries++) await sleep(20);
  expect(await database.server!.openTransactions()).toBe(0);
  expect(await database.server!.sessions()).toBeLessThanOrEqual(TENANTS);
}

/** A token for each tenant, of a user that is not the one its sessions sign in as. */
async function bearerTokens(): Promise<string[]> {
  const client = await connect(database.url);
  const given: string[] = [];
  for (const { id, namespace, database: db } of tenants) {
    given.push(await client.call('signin', [{ ns: namespace, db, user: 'bearer', pass: `bearer of ${id}` }]));
  }
  await client.close();
  return given;
}

function ignoreConflict(error: unknown): void {
  if ((error as { code?: string }).code !== 'TRANSACTION_CONFLICT') throw error;
}
