import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { Controller, Get } from '@nestjs/common';
import { HealthCheck, type HealthCheckResult, HealthCheckService, TerminusModule } from '@nestjs/terminus';
import { Test } from '@nestjs/testing';
import { SurrealModule, type SurrealModuleOptions, Tenancy, type Tenant } from 'nestjs-surreal';
import { SurrealHealthIndicator } from 'nestjs-surreal/terminus';
import { moduleOptions, TenantMap } from '../support/application.js';
import { type Database, defineTenant, faultsOf, hasFaults, startDatabase } from '../support/surreal.js';

@Controller('health')
class HealthController {
  constructor(
    private readonly health: HealthCheckService,
    private readonly surreal: SurrealHealthIndicator,
  ) {}

  @Get()
  @HealthCheck()
  check(): Promise<HealthCheckResult> {
    return this.health.check([() => this.surreal.pingCheck('surrealdb', { timeoutMillis: 500 })]);
  }
}

describe('SurrealHealthIndicator', () => {
  let database: Database;
  let acme: Tenant;
  let globex: Tenant;
  const closing: (() => Promise<void>)[] = [];

  const start = async (options: Partial<SurrealModuleOptions> = {}) => {
    const module = await Test.createTestingModule({
      imports: [
        SurrealModule.forRoot(moduleOptions(database, new TenantMap(acme, globex), options)),
        TerminusModule.forRoot({ logger: false }),
      ],
      controllers: [HealthController],
      providers: [SurrealHealthIndicator],
    }).compile();
    const app = module.createNestApplication({ logger: false });
    await app.listen(0, '127.0.0.1');
    closing.push(() => app.close());
    const url = `${await app.getUrl()}/health`;
    const check = async () => {
      const response = await fetch(url);
      const text = await response.text();
      return { status: response.status, text, body: JSON.parse(text) };
    };
    return { app, check, tenancy: app.get(Tenancy) };
  };

  beforeAll(async () => {
    database = await startDatabase();
    [acme, globex] = [await defineTenant(database.admin), await defineTenant(database.admin)];
  });
  afterAll(() => database?.stop());
  afterEach(async () => {
    await Promise.all(closing.splice(0).map((close) => close()));
  });

  it('is up, with counts and the version', async () => {
    const { check, tenancy } = await start({ sessions: { max: 7 } });
    await tenancy.run(acme, (db) => db.query('RETURN 1'));
    const { status, body } = await check();
    expect(status).toBe(200);
    expect(body).toMatchObject({ status: 'ok' });
    expect(body.details.surrealdb).toEqual({
      status: 'up',
      version: expect.stringMatching(/^\d+\.\d+\.\d+/),
      // The central one, that of sessions, that of sign-ins.
      sockets: { open: 3, total: 3 },
      sessions: { total: 1, max: 7, inUse: 0, waiting: 0 },
      calls: { inFlight: 0, waiting: 0 },
    });
  });

  it('is up without rights: a service that is not signed in gets a refusal for its answer', async () => {
    const { check } = await start({ authentication: undefined as never });
    expect(await check()).toMatchObject({ status: 200, body: { status: 'ok' } });
  });

  it('is degraded while units of work wait for sessions, and up again', async () => {
    const { check, tenancy } = await start({ sessions: { max: 1, acquireTimeoutMillis: 5_000 } });
    let waiting: Promise<unknown> | undefined;
    await tenancy.run(acme, async (db) => {
      await db.query('RETURN 1');
      waiting = tenancy.run(globex, (other) => other.query('RETURN 1'));
      await new Promise((resolve) => setTimeout(resolve, 20));
      const { status, text, body } = await check();
      expect(status).toBe(200);
      expect(body.status).toBe('degraded');
      expect(body.details.surrealdb).toMatchObject({
        status: 'degraded',
        reasons: ['SESSIONS_WAITING'],
        sessions: { total: 1, max: 1, inUse: 1, waiting: 1 },
      });
      expectQuiet(text);
    });
    await waiting;
    expect(await check()).toMatchObject({ status: 200, body: { status: 'ok' } });
  });

  it('is degraded while the application shuts down', async () => {
    const { app, tenancy, check } = await start();
    await tenancy.run(acme, async () => {
      void app.close();
      await new Promise((resolve) => setTimeout(resolve, 20));
      // Terminus itself says 503 now.
      const { body } = await check();
      expect(body).toMatchObject({ status: 'shutting_down' });
      expect(body.details.surrealdb).toMatchObject({ status: 'degraded', reasons: ['SHUTTING_DOWN'] });
    });
  });

  it('refuses a setting that it does not know', async () => {
    const { app } = await start();
    const indicator = app.get(SurrealHealthIndicator);
    for (const settings of [{ timeout: 5 }, { timeoutMillis: 0 }, { timeoutMillis: 2 ** 31 }]) {
      await expect(indicator.pingCheck('a', settings)).rejects.toMatchObject({ code: 'INVALID_OPTIONS' });
    }
  });

  (hasFaults ? describe : describe.skip)('when the database does not answer', () => {
    it('is down within its time, says so to all at once, and comes back', async () => {
      const { check, tenancy } = await start();
      await tenancy.run(acme, (db) => db.query('RETURN 1'));
      const held = await faultsOf(database).holdAnswers({ method: 'query', match: 'RETURN 1' });
      faultsOf(database).clearRequests();
      const startedAt = Date.now();
      const answers = await Promise.all([check(), check(), check()]);
      expect(Date.now() - startedAt).toBeLessThan(1_500);
      for (const { status, text, body } of answers) {
        expect(status).toBe(503);
        expect(body.error.surrealdb).toMatchObject({ status: 'down', reasons: ['NO_ANSWER'] });
        expectQuiet(text);
      }
      expect(faultsOf(database).count('query')).toBe(1);
      await held.release();
      expect(await check()).toMatchObject({ status: 200, body: { status: 'ok' } });
    });

    it('is down within its time when the server has stopped', async () => {
      const { check, tenancy } = await start();
      await tenancy.run(acme, (db) => db.query('RETURN 1'));
      await faultsOf(database).stop();
      const startedAt = Date.now();
      const { status, text, body } = await check();
      expect(Date.now() - startedAt).toBeLessThan(1_500);
      expect(status).toBe(503);
      expect(body.error.surrealdb).toMatchObject({
        status: 'down',
        reasons: ['NO_ANSWER'],
        sockets: { open: 0, total: 3 },
      });
      expectQuiet(text);
      await faultsOf(database).restart();
      for (let tries = 0; tries < 50 && (await check()).body.status !== 'ok'; tries++) {
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
      expect(await check()).toMatchObject({ status: 200, body: { status: 'ok' } });
    });
  });

  /** R7: no tenant, no secret, no address. */
  function expectQuiet(text: string): void {
    const { username, password } = acme.credentials as { username: string; password: string };
    const { host } = new URL(database.url);
    for (const secret of [
      acme.id,
      acme.namespace,
      globex.id,
      username,
      password,
      host,
      JSON.stringify(database.root.password),
    ]) {
      expect(text).not.toContain(secret);
    }
  }
});
