import { execFile } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { SpanKind, trace } from '@opentelemetry/api';
import { RecordId, type SurrealModuleOptions, Table, Tenancy, type Tenant } from 'nestjs-surreal';
import { createContext, moduleOptions, TenantMap } from '../support/application.js';
import { type Database, defineTenant, faultsOf, itWithFaults, startDatabase } from '../support/surreal.js';
import { essence, TelemetryRecorder } from '../support/telemetry.js';

const run = promisify(execFile);
const POOL = 'db.client.connection.pool.name';

describe('telemetry', () => {
  let database: Database;
  let recorder: TelemetryRecorder;
  let acme: Tenant;
  const store = new TenantMap();
  const apps: Awaited<ReturnType<typeof createContext>>[] = [];
  /** What every span and duration says of the database. */
  let common: Record<string, unknown>;
  let pool: string;

  const start = async (options: Partial<SurrealModuleOptions> = {}) => {
    const app = await createContext(moduleOptions(database, store, options));
    apps.push(app);
    return app.get(Tenancy);
  };
  /** The attributes that every span of the tenant has. */
  const ofAcme = () => ({
    ...common,
    'db.namespace': `${acme.namespace}|main`,
    'nestjs_surreal.tenant.id': acme.id,
  });
  const span = (summary: string, more: Record<string, unknown> = {}) => ({
    name: summary,
    kind: SpanKind.CLIENT,
    isError: false,
    attributes: { ...ofAcme(), 'db.query.summary': summary, ...more },
    events: [],
  });
  const spans = () => recorder.spans.map(essence);
  const valueOf = async (name: string, attributes: Record<string, unknown> = {}) => {
    const points = (await recorder.points()).filter(
      (point) =>
        point.name === name && Object.entries(attributes).every(([key, value]) => point.attributes[key] === value),
    );
    return points.length === 1 ? points[0]?.value : points;
  };

  beforeAll(async () => {
    recorder = new TelemetryRecorder();
    database = await startDatabase();
    acme = await defineTenant(database.admin, { schema: 'DEFINE FUNCTION fn::one() { RETURN 1 }' });
    store.tenants.set(acme.id, acme);
    const { hostname, port } = new URL(database.url);
    common = { 'db.system.name': 'surrealdb', 'server.address': hostname, 'server.port': Number(port) };
    pool = `${hostname}:${port}`;
  });
  afterAll(async () => {
    await database?.stop();
    TelemetryRecorder.unregister();
  });
  beforeEach(() => recorder.clearSpans());
  afterEach(async () => {
    await Promise.all(apps.splice(0).map((app) => app.close()));
  });

  describe('a span', () => {
    it('says what each query does, to which table, where and for whom', async () => {
      const tenancy = await start();
      await tenancy.run(acme, async (db) => {
        await db.select(new Table('note'));
        await db.create(new RecordId('note', 'one')).content({ text: 'bound value' });
        await db.relate(new RecordId('note', 'one'), new Table('knows'), new RecordId('note', 'two'));
        await db.query('SELECT * FROM note WHERE text = $text', { text: 'bound value' });
        await db.query("LET $a = 'pasted value'; RETURN $a");
        await db.run('fn::one');
        await db.query("'pasted value'");
      });
      expect(spans()).toEqual([
        span('SELECT note', { 'db.operation.name': 'SELECT', 'db.collection.name': 'note' }),
        span('CREATE note', { 'db.operation.name': 'CREATE', 'db.collection.name': 'note' }),
        span('RELATE knows', { 'db.operation.name': 'RELATE', 'db.collection.name': 'knows' }),
        span('SELECT note', { 'db.operation.name': 'SELECT' }),
        {
          ...span('BATCH'),
          attributes: { ...ofAcme(), 'db.operation.name': 'BATCH', 'db.operation.batch.size': 2 },
        },
        span('fn::one', { 'db.stored_procedure.name': 'fn::one' }),
        { ...span('surrealdb'), attributes: ofAcme() },
      ]);
    });

    it('is there for the beginning and the end of a transaction', async () => {
      const tenancy = await start();
      await tenancy.run(acme, async (db) => {
        const kept = await db.begin();
        await kept.create(new Table('note'));
        await kept.commit();
        await (await db.begin()).cancel();
      });
      expect(spans()).toEqual([
        span('BEGIN', { 'db.operation.name': 'BEGIN' }),
        span('CREATE note', { 'db.operation.name': 'CREATE', 'db.collection.name': 'note' }),
        span('COMMIT', { 'db.operation.name': 'COMMIT' }),
        span('BEGIN', { 'db.operation.name': 'BEGIN' }),
        span('CANCEL', { 'db.operation.name': 'CANCEL' }),
      ]);
    });

    it('says where a session without a tenant works', async () => {
      const tenancy = await start();
      await using db = await tenancy.attach();
      await expect(db.query('RETURN 1')).rejects.toMatchObject({ code: 'UNAUTHENTICATED' });
      await db.use(acme);
      const { username, password } = acme.credentials as { username: string; password: string };
      await db.signin({ namespace: acme.namespace, database: 'main', username, password });
      await db.query('RETURN 1');
      const about = { ...common, 'db.operation.name': 'RETURN', 'db.query.summary': 'RETURN' };
      expect(spans().map(({ attributes }) => attributes)).toEqual([
        { ...about, 'error.type': 'UNAUTHENTICATED' },
        { ...about, 'db.namespace': `${acme.namespace}|main` },
      ]);
    });

    it.each([
      ['CREATE note:one', 'CREATE note', 'ALREADY_EXISTS'],
      ['SELEC 1', 'surrealdb', 'Validation'],
      ["THROW 'pasted value'", 'THROW', 'Thrown'],
      ["BEGIN; CREATE note; THROW 'pasted value'; COMMIT", 'BATCH', 'Thrown'],
      ['DEFINE USER x ON ROOT PASSWORD "x"', 'DEFINE', 'NOT_ALLOWED'],
    ])('of %s that the database refuses is an error with its code', async (sql, name, code) => {
      const tenancy = await start();
      await tenancy.run(acme, (db) => db.query('UPSERT note:one'));
      recorder.clearSpans();
      await expect(tenancy.run(acme, (db) => db.query(sql))).rejects.toThrow();
      const failed = { 'error.type': code, 'db.response.status_code': code };
      expect(spans()).toMatchObject([{ name, isError: true, attributes: { ...ofAcme(), ...failed }, events: [] }]);
    });

    it('says that a transaction was in conflict', async () => {
      const tenancy = await start();
      await tenancy.run(acme, async (db) => {
        await db.query('UPSERT note:both SET n = 0');
        const [first, second] = [await db.begin(), await db.begin()];
        for (const transaction of [first, second]) await transaction.query('UPDATE note:both SET n += 1');
        await first.commit();
        recorder.clearSpans();
        await expect(second.commit()).rejects.toMatchObject({ code: 'TRANSACTION_CONFLICT' });
      });
      expect(spans()).toMatchObject([
        { name: 'COMMIT', isError: true, attributes: { 'error.type': 'TRANSACTION_CONFLICT' }, events: [] },
      ]);
    });

    it('of a call that was given up names no status of the database', async () => {
      const tenancy = await start();
      const signal = AbortSignal.timeout(20);
      await expect(tenancy.run(acme, (db) => db.query('SLEEP 1s'), { signal })).rejects.toThrow();
      expect(spans()).toMatchObject([{ isError: true, attributes: { 'error.type': 'TimeoutError' } }]);
      expect(spans()[0]?.attributes).not.toHaveProperty('db.response.status_code');
    });

    itWithFaults('tells of an answer that was lost', async () => {
      const tenancy = await start();
      await tenancy.run(acme, (db) => db.query('RETURN 1'));
      recorder.clearSpans();
      await faultsOf(database).loseAnswer({ method: 'query', match: 'UPSERT' });
      await expect(tenancy.run(acme, (db) => db.query('UPSERT note:lost'))).rejects.toThrow();
      expect(spans()).toEqual([
        { ...span('UPSERT note', { 'db.operation.name': 'UPSERT', 'error.type': 'CONNECTION_LOST' }), isError: true },
      ]);
    });

    it('is a child of the caller’s', async () => {
      const tenancy = await start();
      const traceId = await trace.getTracer('test').startActiveSpan('caller', async (caller) => {
        await tenancy.run(acme, async (db) => {
          await sleep(2);
          await Promise.all([db.select(new Table('note')), db.query('RETURN 1')]);
        });
        caller.end();
        return caller.spanContext();
      });
      const parents = recorder.spans.map(({ name, parentSpanContext }) => [name, parentSpanContext?.spanId]);
      expect(parents.sort()).toEqual([
        ['RETURN', traceId.spanId],
        ['SELECT note', traceId.spanId],
        ['caller', undefined],
      ]);
    });

    it('has the text only when it is asked for', async () => {
      const tenancy = await start({ telemetry: { queryText: true } });
      await tenancy.run(acme, async (db) => {
        await db.query("RETURN 'pasted value'");
        await db.select(new Table('note'));
      });
      expect(recorder.spans.map(({ attributes }) => attributes['db.query.text'])).toEqual([
        "RETURN 'pasted value'",
        'SELECT * FROM $bind',
      ]);
    });
  });

  describe('metrics', () => {
    it('show the pool, the sockets and the durations', async () => {
      const tenancy = await start({ sessions: { max: 5 }, sockets: 2 });
      await tenancy.run(acme, async (db) => {
        await db.query('RETURN 1');
        expect(
          await valueOf('db.client.connection.count', { [POOL]: pool, 'db.client.connection.state': 'used' }),
        ).toBe(1);
        expect(await valueOf('nestjs_surreal.unit_of_work.count', { [POOL]: pool })).toBe(1);
      });
      expect(await valueOf('db.client.connection.count', { [POOL]: pool, 'db.client.connection.state': 'used' })).toBe(
        0,
      );
      expect(await valueOf('db.client.connection.count', { [POOL]: pool, 'db.client.connection.state': 'idle' })).toBe(
        1,
      );
      expect(await valueOf('db.client.connection.max', { [POOL]: pool })).toBe(5);
      expect(await valueOf('nestjs_surreal.signin.requests', { [POOL]: pool })).toBeGreaterThan(0);
      const sessions = { [POOL]: pool, 'nestjs_surreal.socket.purpose': 'sessions' };
      expect(await valueOf('nestjs_surreal.socket.count', { ...sessions, 'nestjs_surreal.socket.state': 'open' })).toBe(
        1,
      );
      expect(await valueOf('nestjs_surreal.socket.count', { ...sessions, 'nestjs_surreal.socket.state': 'idle' })).toBe(
        1,
      );
      const durations = (await recorder.points()).filter(({ name }) => name === 'db.client.operation.duration');
      const returned = durations.find(
        ({ attributes }) => attributes['db.operation.name'] === 'RETURN' && !('error.type' in attributes),
      );
      expect(returned).toMatchObject({
        unit: 's',
        attributes: { ...common, 'db.operation.name': 'RETURN' },
        value: { buckets: { boundaries: [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10] } },
      });
      expect(Object.keys(returned?.attributes ?? {})).toHaveLength(4);
    });

    it('count refused sign-ins and an exhausted pool', async () => {
      const locked = { ...acme, id: 'locked', credentials: { ...acme.credentials, password: 'wrong' } } as Tenant;
      const options = { sessions: { max: 1, acquireTimeoutMillis: 100 } };
      const tenancy = await start(options);
      const refusals = async () => (await valueOf('nestjs_surreal.signin.refusals', { [POOL]: pool })) as number;
      const failures = async (code: string) => {
        const value = await valueOf('nestjs_surreal.call.failures', { [POOL]: pool, 'error.type': code });
        return typeof value === 'number' ? value : 0;
      };
      const before = [await refusals(), await failures('TENANT_SIGNIN_FAILED'), await failures('POOL_EXHAUSTED')];
      await expect(tenancy.run(locked, (db) => db.query('RETURN 1'))).rejects.toMatchObject({
        code: 'TENANT_SIGNIN_FAILED',
      });
      await tenancy.run(acme, async (db) => {
        await db.query('RETURN 1');
        const other = tenancy.run(locked, (second) => second.query('RETURN 1'));
        await expect(other).rejects.toMatchObject({ code: 'POOL_EXHAUSTED' });
      });
      const after = [await refusals(), await failures('TENANT_SIGNIN_FAILED'), await failures('POOL_EXHAUSTED')];
      expect(after.map((value, index) => value - (before[index] as number))).toEqual([1, 1, 1]);
    });

    itWithFaults('count reconnects', async () => {
      const tenancy = await start();
      await tenancy.run(acme, (db) => db.query('RETURN 1'));
      const of = { [POOL]: pool, 'nestjs_surreal.socket.purpose': 'sessions' };
      const before = (await valueOf('nestjs_surreal.socket.reconnects', of)) as number;
      await faultsOf(database).loseAnswer({ method: 'query', match: 'UPSERT' });
      await expect(tenancy.run(acme, (db) => db.query('UPSERT note:lost'))).rejects.toThrow();
      await tenancy.run(acme, (db) => db.query('RETURN 1'));
      expect((await valueOf('nestjs_surreal.socket.reconnects', of)) as number).toBe(before + 1);
    });

    it('are those of each application, until it is closed', async () => {
      const options = moduleOptions(database, store);
      const [first, second] = [await createContext(options), await createContext(options)];
      await first.get(Tenancy).run(acme, (db) => db.query('RETURN 1'));
      const idle = (name: string) =>
        valueOf('db.client.connection.count', { [POOL]: name, 'db.client.connection.state': 'idle' });
      expect([await idle(pool), await idle(`${pool}#2`)]).toEqual([1, 0]);
      await first.close();
      const pools = async () => [
        ...new Set((await recorder.pointsSinceLast()).map(({ attributes }) => attributes[POOL])),
      ];
      await pools();
      expect(await pools()).toEqual([`${pool}#2`]);
      await second.close();
      expect(await recorder.pointsSinceLast()).toEqual([]);
    });
  });

  it('R7: nothing shows a secret, a value or an error’s text; no metric shows a tenant', async () => {
    const tenancy = await start();
    await tenancy.run(acme, async (db) => {
      await db.create(new Table('note')).content({ text: 'bound value' });
      await db.query("CREATE note SET text = 'pasted value'");
      await db.query('UPSERT note:⟨pasted value⟩');
      await expect(db.query("THROW 'pasted value'")).rejects.toThrow();
      await expect(db.create(new RecordId('note', 'pasted value'))).rejects.toThrow();
    });
    const everything = await recorder.everything();
    expect(everything).toContain('ALREADY_EXISTS');
    const { password, username } = acme.credentials as { username: string; password: string };
    for (const secret of [
      'bound value',
      'pasted value',
      password,
      username,
      JSON.stringify(database.root.password),
      'eyJ',
    ]) {
      expect(everything).not.toContain(secret);
    }
    const metrics = JSON.stringify(await recorder.points());
    for (const name of [acme.id, acme.namespace]) expect(metrics).not.toContain(name);
  });

  it('is not there with telemetry: false', async () => {
    const tenancy = await start({ telemetry: false });
    await recorder.pointsSinceLast();
    await tenancy.run(acme, (db) => db.query('RETURN 1'));
    expect(spans()).toEqual([]);
    expect(await recorder.pointsSinceLast()).toEqual([]);
  });

  it('costs an application without the package nothing: it works', async () => {
    const hidden = `
      import { register } from 'node:module';
      register('data:text/javascript,' + encodeURIComponent("export function resolve(name, context, next) { if (name === '@opentelemetry/api') throw Object.assign(new Error('not found'), { code: 'ERR_MODULE_NOT_FOUND' }); return next(name, context); }"));
      const { SurrealModule, SURREAL } = await import('./dist/index.js');
      const { NestFactory } = await import('@nestjs/core');
      const app = await NestFactory.createApplicationContext(SurrealModule.forRoot({ url: '${database.url}' }), { logger: ['error'] });
      console.log(await import('@opentelemetry/api').catch(({ code }) => code), app.get(SURREAL).status);
      await app.close();`;
    const { stdout } = await run(process.execPath, ['--input-type=module', '-e', hidden]);
    expect(stdout.trim()).toBe('ERR_MODULE_NOT_FOUND connected');
  });

  it('does not hide that the package is broken', async () => {
    const broken = `
      import { register } from 'node:module';
      register('data:text/javascript,' + encodeURIComponent("export function resolve(name, context, next) { return name === '@opentelemetry/api' ? { url: 'data:text/javascript,throw new Error(1234)', shortCircuit: true } : next(name, context); }"));
      const { SurrealModule } = await import('./dist/index.js');
      const { NestFactory } = await import('@nestjs/core');
      await NestFactory.createApplicationContext(SurrealModule.forRoot({ url: '${database.url}' }), { logger: false, abortOnError: false }).catch((error) => console.log(error.message));
      process.exit();`;
    const { stdout } = await run(process.execPath, ['--input-type=module', '-e', broken]);
    expect(stdout.trim()).toBe('1234');
  });
});
