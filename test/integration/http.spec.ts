import { createHmac } from 'node:crypto';
import { request as httpRequest } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import {
  Body,
  type CanActivate,
  Controller,
  ForbiddenException,
  Get,
  Injectable,
  Param,
  Post,
  Query,
  StreamableFile,
  UseGuards,
} from '@nestjs/common';
import { Test } from '@nestjs/testing';
import {
  CurrentTenant,
  fromHeader,
  fromPath,
  fromQuery,
  fromToken,
  InjectRequestSession,
  RecordId,
  SkipTenant,
  SurrealModule,
  Table,
  Tenancy,
  type Tenant,
  TenantGuard,
  TenantSession,
} from 'nestjs-surreal';
import { Readable } from 'node:stream';
import { listen, moduleOptions, type Platform, TenantMap } from '../support/application.js';
import {
  asRoot,
  type Database,
  defineTenant,
  faultsOf,
  hasFaults,
  itWithFaults,
  startDatabase,
} from '../support/surreal.js';

@Injectable()
class NoteService {
  constructor(private readonly db: TenantSession) {}

  async list() {
    return await this.db.select<{ text: string }>(new Table('note'));
  }

  /** What is still allowed `millis` after the request's end. */
  later(millis: number): Promise<unknown> {
    return sleep(millis).then(() => this.db.query('RETURN 1'));
  }
}

@Injectable()
class RequestNotes {
  constructor(@InjectRequestSession() readonly db: TenantSession) {}
}

@Injectable()
class RefusingGuard implements CanActivate {
  constructor(private readonly db: TenantSession) {}

  async canActivate(): Promise<boolean> {
    await this.db.set('refused', true);
    throw new ForbiddenException();
  }
}

/** What handlers left running, for the tests to look at. */
const background: Promise<unknown>[] = [];

@Controller('notes')
@UseGuards(TenantGuard)
class NoteController {
  constructor(private readonly notes: NoteService) {}

  @Get()
  async list() {
    return (await this.notes.list()).map(({ text }) => text);
  }

  @Post()
  async create(@TenantSession() db: TenantSession, @Body() { text }: { text: string }) {
    const [note] = await db.create<{ text: string }>(new Table('note')).content({ text });
    return note?.text;
  }

  @Get('one')
  async one(@TenantSession() db: TenantSession) {
    return await db.query('RETURN session::db()');
  }

  @Get('tenant')
  tenant(@CurrentTenant() tenant: Tenant) {
    return tenant;
  }

  @Get('throws')
  async throws(@TenantSession() db: TenantSession) {
    await db.set('x', 1);
    await db.begin();
    throw new Error('of the handler');
  }

  @Get('refused')
  @UseGuards(RefusingGuard)
  refused() {
    return 'never';
  }

  @Get('slow')
  async slow(@TenantSession() db: TenantSession) {
    await db.set('x', 1);
    await sleep(200);
    const query = Promise.resolve(db.query('RETURN 1'));
    background.push(query);
    await query;
    return 'done';
  }

  @Get('stream')
  async stream(@TenantSession() db: TenantSession) {
    await db.set('mark', 'streamed');
    const read = async function* () {
      for (let row = 0; row < 3; row++) {
        await sleep(30);
        const [mark] = await db.query<[string]>('RETURN $mark');
        yield `${mark}\n`;
      }
    };
    return new StreamableFile(Readable.from(read()));
  }

  @Get('forgotten')
  forgotten() {
    background.push(this.notes.later(50));
    return 'answered';
  }

  @Get('health')
  @SkipTenant()
  health() {
    return 'ok';
  }

  @Get('skipped-but-queries')
  @SkipTenant()
  async skippedButQueries() {
    return await this.notes.list();
  }

  @Get('duplicate')
  async duplicate(@TenantSession() db: TenantSession) {
    const id = new RecordId('note', 'twice');
    await db.upsert(id).content({ text: 'secret text of the record' });
    return await db.create(id).content({ text: 'again' });
  }

  @Get('invalid')
  async invalid(@TenantSession() db: TenantSession) {
    return await db.create(new Table('strict')).content({ age: -1 });
  }

  @Get('forbidden')
  async forbidden(@TenantSession() db: TenantSession) {
    return await db.query('DEFINE USER x ON DATABASE PASSWORD "x"');
  }
}

@Controller('request')
@UseGuards(TenantGuard)
class RequestController {
  constructor(private readonly notes: RequestNotes) {}

  @Get()
  async list() {
    return await this.notes.db.select(new Table('note'));
  }
}

@Controller('unguarded')
class UnguardedController {
  constructor(private readonly notes: NoteService) {}

  @Get('parameter')
  parameter(@TenantSession() db: TenantSession) {
    return db.isClosed;
  }

  @Get('service')
  async service() {
    return await this.notes.list();
  }
}

@Controller('t/:tenant')
@UseGuards(TenantGuard)
class PathController {
  @Get()
  tenant(@CurrentTenant() tenant: Tenant, @Param('tenant') path: string, @Query('tenant') query?: string) {
    return { tenant: tenant.id, path, query };
  }
}

const KEY = 'the key of the tokens in these tests, long enough for HS256';

function token(claims: object, key = KEY, header: object = { alg: 'HS256', typ: 'JWT' }): string {
  const encode = (part: object) => Buffer.from(JSON.stringify(part)).toString('base64url');
  const text = `${encode(header)}.${encode(claims)}`;
  return `${text}.${createHmac('sha256', key).update(text).digest('base64url')}`;
}

describe.each<Platform>(['express', 'fastify'])('an application on %s', (platform) => {
  let database: Database;
  let app: Awaited<ReturnType<typeof listen>>;
  let store: TenantMap;
  let acme: Tenant;
  let globex: Tenant;

  beforeAll(async () => {
    database = await startDatabase();
    acme = await defineTenant(database.admin, {
      id: 'acme',
      schema: 'DEFINE TABLE strict SCHEMAFULL; DEFINE FIELD age ON strict TYPE int ASSERT $value >= 0',
    });
    globex = await defineTenant(database.admin, { id: 'globex', type: 'jwt' });
    store = new TenantMap(acme, globex);
    store.tenants.set('frozen', { ...globex, id: 'frozen', status: 'suspended' });
    const strategies = [
      fromHeader('x-tenant-id'),
      fromPath('tenant'),
      fromQuery('tenant'),
      fromToken({ claim: 'tid', key: KEY }),
    ];
    app = await listen(moduleOptions(database, store, { tenants: { strategies, store } }), {
      platform,
      controllers: [NoteController, RequestController, UnguardedController, PathController],
      providers: [NoteService, RequestNotes],
    });
  });
  afterAll(async () => {
    await app?.app.close();
    await database?.stop();
  });
  beforeEach(() => {
    background.length = 0;
  });

  const send = async (path: string, headers: Record<string, string> = {}, body?: object) => {
    const response = await fetch(app.url + path, {
      method: body ? 'POST' : 'GET',
      headers: { 'content-type': 'application/json', ...headers },
      ...(body ? { body: JSON.stringify(body) } : {}),
    });
    const text = await response.text();
    const body_: unknown = /^[[{]/.test(text) ? JSON.parse(text) : text;
    return { status: response.status, body: body_, text, headers: response.headers };
  };
  const as = (tenant: string) => ({ 'x-tenant-id': tenant });

  it('keeps the notes of two tenants apart', async () => {
    expect((await send('/notes', as('acme'), { text: 'of acme' })).status).toBe(201);
    expect((await send('/notes', as('globex'), { text: 'of globex' })).status).toBe(201);
    expect((await send('/notes', as('acme'))).body).toEqual(['of acme']);
    expect((await send('/notes', as('globex'))).body).toEqual(['of globex']);
    expect((await send('/request', as('acme'))).body).toMatchObject([{ text: 'of acme' }]);
    expect((await send('/request', as('globex'))).body).toMatchObject([{ text: 'of globex' }]);
  });

  it('keeps them apart when they ask at the same time', async () => {
    const tenants = [acme, globex];
    const paths = ['/notes', '/request'];
    const answers = await Promise.all(
      Array.from({ length: 200 }, (_, index) =>
        send(paths[index % 2] as string, as((tenants[(index >> 1) % 2] as Tenant).id)),
      ),
    );
    for (const [index, { text }] of answers.entries()) {
      expect(text).toContain((index >> 1) % 2 ? 'of globex' : 'of acme');
      expect(text).not.toContain((index >> 1) % 2 ? 'of acme' : 'of globex');
    }
  });

  itWithFaults('R9: 1,000 requests with one query each are 1,000 query messages and no other', async () => {
    const server = faultsOf(database);
    await Promise.all([send('/notes/one', as('acme')), send('/notes/one', as('globex'))]);
    server.clearRequests();
    for (let round = 0; round < 20; round++) {
      await Promise.all(
        Array.from({ length: 50 }, (_, index) => send('/notes/one', as(index % 2 ? 'acme' : 'globex'))),
      );
    }
    expect([server.count('query'), server.count()]).toEqual([1_000, 1_000]);
  });

  it('R7: shows a tenant without its credentials', async () => {
    const { body, text } = await send('/notes/tenant', as('acme'));
    expect(body).toEqual({ id: 'acme', namespace: acme.namespace, database: 'main' });
    expect(text).not.toContain('secret of');
  });

  it('lets a handler with @SkipTenant() pass, and gives it no session', async () => {
    expect((await send('/notes/health')).body).toBe('ok');
    expect(await send('/notes/skipped-but-queries')).toMatchObject({ status: 500, body: { code: 'CONTEXT_MISSING' } });
  });

  it.each(['/unguarded/parameter', '/unguarded/service'])(
    'R1: gives no session without the guard: %s',
    async (path) => {
      expect(await send(path, as('acme'))).toMatchObject({ status: 500, body: { code: 'CONTEXT_MISSING' } });
    },
  );

  describe('the end of a request', () => {
    const sessions = async () => (hasFaults ? await faultsOf(database).sessions() : 0);
    const openTransactions = async () => (hasFaults ? await faultsOf(database).openTransactions() : 0);

    it.each([
      ['the handler throws', '/notes/throws', 500],
      ['a later guard refuses', '/notes/refused', 403],
    ])('R8: gives everything back when %s', async (_case, path, status) => {
      await send('/notes/one', as('acme'));
      const before = await sessions();
      const answers = await Promise.all(Array.from({ length: 20 }, () => send(path, as('acme'))));
      expect(answers.map((answer) => answer.status)).toEqual(Array.from({ length: 20 }, () => status));
      await settles(sessions, before);
      await settles(openTransactions, 0);
    });

    it('R3, R8: gives everything back when the client goes away in the middle', async () => {
      await send('/notes/one', as('acme'));
      const before = await sessions();
      const client = httpRequest(`${app.url}/notes/slow`, { headers: as('acme') });
      client.on('error', () => undefined);
      client.end();
      await sleep(60);
      client.destroy();
      await settles(() => Promise.resolve(background.length), 1);
      await expect(background[0]).rejects.toMatchObject({ code: 'SESSION_CLOSED' });
      await settles(sessions, before);
    });

    it('R8: keeps the session while the answer streams, and gives it back then', async () => {
      await send('/notes/one', as('acme'));
      const before = await sessions();
      expect((await send('/notes/stream', as('acme'))).text).toBe('streamed\n'.repeat(3));
      await settles(sessions, before);
    });

    it('R3: refuses a query from a forgotten timer', async () => {
      expect((await send('/notes/forgotten', as('acme'))).body).toBe('answered');
      await expect(background[0]).rejects.toMatchObject({ code: 'SESSION_CLOSED' });
    });
  });

  describe('errors of the database', () => {
    it.each([
      ['/notes/duplicate', 409, 'ALREADY_EXISTS'],
      ['/notes/invalid', 422, 'INVALID_VALUE'],
      ['/notes/forbidden', 403, 'NOT_ALLOWED'],
    ])('%s is %i %s', async (path, status, code) => {
      const { status: answered, body, text } = await send(path, as('acme'));
      expect([answered, body]).toEqual([status, expect.objectContaining({ statusCode: status, code })]);
      expect(text).not.toMatch(/secret text|note:|-1/);
    });

    it('names the field of a value that the schema refuses', async () => {
      expect((await send('/notes/invalid', as('acme'))).body).toMatchObject({ field: 'age' });
    });
  });

  describe('bad input', () => {
    const refused: [string, string, Record<string, string>, number, string][] = [
      ['no tenant at all', '/notes', {}, 400, 'TENANT_NOT_IDENTIFIED'],
      ['an empty identifier', '/notes', as(''), 400, 'TENANT_INVALID'],
      ['one of 10 kB', '/notes', as('a'.repeat(10_000)), 400, 'TENANT_INVALID'],
      ['unicode', `/notes?tenant=${encodeURIComponent('äcme')}`, {}, 400, 'TENANT_INVALID'],
      ['quotes', '/notes', as(`ac'me"`), 400, 'TENANT_INVALID'],
      ['slashes', '/notes', as('a/b'), 400, 'TENANT_INVALID'],
      ['..', '/notes', as('a..b'), 400, 'TENANT_INVALID'],
      ['NUL', `/notes?tenant=${encodeURIComponent('ac\u0000me')}`, {}, 400, 'TENANT_INVALID'],
      ['SurrealQL', '/notes', as('acme; REMOVE DATABASE main'), 400, 'TENANT_INVALID'],
      ['__proto__', '/notes', as('__proto__'), 404, 'TENANT_NOT_FOUND'],
      ['a header sent twice', '/notes', { 'x-tenant-id': 'acme, globex' }, 400, 'TENANT_INVALID'],
      ['a parameter sent twice', '/notes?tenant=acme&tenant=globex', {}, 400, 'TENANT_INVALID'],
      ['an unknown tenant', '/notes', as('initech'), 404, 'TENANT_NOT_FOUND'],
      ['a suspended tenant', '/notes', as('frozen'), 403, 'TENANT_SUSPENDED'],
      ['two strategies that disagree', '/notes?tenant=globex', as('acme'), 403, 'TENANT_MISMATCH'],
      ['a path against a header', '/t/globex', as('acme'), 403, 'TENANT_MISMATCH'],
      ['a claim against a header', '/notes', { ...as('acme'), authorization: `Bearer ${token({ tid: 'globex' })}` }, 403, 'TENANT_MISMATCH'],
      ['a forged claim', '/notes', { authorization: `Bearer ${token({ tid: 'acme' }, 'another key')}` }, 401, 'UNAUTHENTICATED'],
      ['a claim signed by nobody', '/notes', { authorization: `Bearer ${token({ tid: 'acme' }, KEY, { alg: 'none' })}` }, 401, 'UNAUTHENTICATED'],
      ['an expired token', '/notes', { authorization: `Bearer ${token({ tid: 'acme', exp: 1 })}` }, 401, 'UNAUTHENTICATED'],
      ['a token without the claim', '/notes', { authorization: `Bearer ${token({})}` }, 401, 'UNAUTHENTICATED'],
      ['a claim that is no string', '/notes', { authorization: `Bearer ${token({ tid: ['acme'] })}` }, 401, 'UNAUTHENTICATED'],
    ]; // prettier-ignore

    it.each(refused)('%s is refused, and nothing is sent', async (_case, path, headers, status, code) => {
      database.server?.clearRequests();
      const { status: answered, body } = await send(path, headers);
      expect([answered, body]).toEqual([status, { statusCode: status, code, message: expect.any(String) }]);
      expect(database.server?.count() ?? 0).toBe(0);
    });

    it('agreeing strategies pass', async () => {
      const headers = { ...as('acme'), authorization: `Bearer ${token({ tid: 'acme' })}` };
      expect((await send('/t/acme?tenant=acme', headers)).body).toEqual({
        tenant: 'acme',
        path: 'acme',
        query: 'acme',
      });
    });
  });

  it('a tenant whose password is wrong gets 503, says nothing of it, and harms nobody', async () => {
    store.tenants.set('broken', {
      ...acme,
      id: 'broken',
      credentials: { type: 'user', username: 'nobody', password: 'pa55' },
    });
    const answers = await Promise.all(Array.from({ length: 20 }, () => send('/notes', as('broken'))));
    for (const { status, body, text } of answers) {
      expect([status, body]).toEqual([503, expect.objectContaining({ code: 'TENANT_SIGNIN_FAILED' })]);
      expect(text).not.toMatch(/pa55|nobody|ns_/);
    }
    expect((await send('/notes/one', as('acme'))).status).toBe(200);
  });

  it('R2: what a request sets, no other request of the tenant sees', async () => {
    await send('/notes/stream', as('acme'));
    const marks = await app.app.get(Tenancy).run('acme', (db) => db.query('RETURN $mark'));
    expect(marks).toEqual([undefined]);
    expect(await asRoot(database.admin, acme, 'RETURN 1')).toEqual([1]);
  });
});

describe.each<Platform>(['express', 'fastify'])('the shutdown of an application on %s', (platform) => {
  it('lets running requests end with their session, and closes the connection after them', async () => {
    const database = await startDatabase();
    const acme = await defineTenant(database.admin, { id: 'acme' });
    const setup = { platform, controllers: [NoteController], providers: [NoteService] };
    const { app, url } = await listen(moduleOptions(database, new TenantMap(acme)), setup);
    background.length = 0;
    const answer = fetch(`${url}/notes/slow`, { headers: { 'x-tenant-id': 'acme', connection: 'close' } });
    await sleep(80);
    await app.close();
    expect(await (await answer).text()).toBe('done');
    expect(await background[0]).toEqual([1]);
    await expect(app.get(Tenancy).run(acme, (db) => db.query('RETURN 1'))).rejects.toMatchObject({
      code: expect.any(String),
    });
    await database.stop();
  });
});

describe.each<Platform>(['express', 'fastify'])('something slow in front of an application on %s', (platform) => {
  it('R8: a client that leaves meanwhile leaves no session behind', async () => {
    const database = await startDatabase();
    const [acme, globex] = [
      await defineTenant(database.admin, { id: 'acme' }),
      await defineTenant(database.admin, { id: 'globex' }),
    ];
    const options = moduleOptions(database, new TenantMap(acme, globex), {
      sessions: { max: 3, acquireTimeoutMillis: 500 },
    });
    const { app, url } = await listen(options, {
      platform,
      controllers: [NoteController],
      providers: [NoteService],
      before: (made) => made.use((_request: unknown, _response: unknown, next: () => void) => setTimeout(next, 150)),
    });
    for (let client = 0; client < 3; client++) {
      const request = httpRequest(`${url}/notes/stream`, { headers: { 'x-tenant-id': 'acme' } });
      request.on('error', () => undefined);
      request.end();
      await sleep(50);
      request.destroy();
    }
    await sleep(500);
    const answer = await fetch(`${url}/notes/one`, { headers: { 'x-tenant-id': 'globex', connection: 'close' } });
    expect(answer.status).toBe(200);
    await app.close();
    await database.stop();
  });
});

describe('SurrealModule imported twice', () => {
  it('is refused: one tenant could be sent to the database of the other', async () => {
    const [first, second] = [await startDatabase(), await startDatabase()];
    const module = await Test.createTestingModule({
      imports: [first, second].map((database) => SurrealModule.forRoot(moduleOptions(database, new TenantMap()))),
    }).compile();
    const app = module.createNestApplication({ logger: false });
    await expect(app.init()).rejects.toMatchObject({
      code: 'INVALID_OPTIONS',
      message: expect.stringContaining('more than once'),
    });
    await app.close();
    await Promise.all([first.stop(), second.stop()]);
  });
});

describe('exceptionFilter: false', () => {
  it("leaves errors to the application's own filters", async () => {
    const database = await startDatabase();
    const acme = await defineTenant(database.admin, { id: 'acme' });
    const options = moduleOptions(database, new TenantMap(acme), { exceptionFilter: false });
    const { app, url } = await listen(options, { controllers: [NoteController], providers: [NoteService] });
    const response = await fetch(`${url}/notes`, { headers: { 'x-tenant-id': 'nobody' } });
    expect([response.status, await response.json()]).toEqual([
      500,
      { statusCode: 500, message: 'Internal server error' },
    ]);
    await app.close();
    await database.stop();
  });
});

async function settles(read: () => Promise<number>, expected: number): Promise<void> {
  for (let tries = 0; tries < 200 && (await read()) !== expected; tries++) await sleep(10);
  expect(await read()).toBe(expected);
}
