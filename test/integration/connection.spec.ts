import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { CborCodec } from 'surrealdb';
import {
  RecordId,
  SURREAL,
  type Surreal,
  SurrealModule,
  type SurrealModuleOptions,
  Table,
  Tenancy,
} from 'nestjs-surreal';
import { Test } from '@nestjs/testing';
import { type WebSocket, WebSocketServer } from 'ws';
import { SocketTransport } from '../../lib/connection/socket-transport.js';
import { createContext, moduleOptions, TenantMap } from '../support/application.js';
import { type Database, defineTenant, faultsOf, itWithFaults, startDatabase } from '../support/surreal.js';

const root = { username: 'root', password: 'root' };

/** A server that answers every call with one value, for what a real one of today would not say. */
async function answering(answer: (socket: WebSocket, id: unknown) => void) {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1' });
  await once(server, 'listening');
  const codec = new CborCodec({});
  server.on('connection', (socket) =>
    socket.on('message', (data: Buffer) => answer(socket, codec.decode<{ id: unknown }>(data).id)),
  );
  const { port } = server.address() as { port: number };
  const close = async () => {
    for (const client of server.clients) client.terminate();
    await new Promise((resolve) => server.close(resolve));
  };
  return { url: `ws://127.0.0.1:${port}/rpc`, close, codec };
}

describe('the start of an application', () => {
  const start = (options: Partial<SurrealModuleOptions>) =>
    createContext({ ...moduleOptions({ url: 'mem://', root }, new TenantMap()), ...options });

  it('names the url, the cause and what to try when nobody answers', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as { port: number };
    server.close();
    await expect(start({ url: `ws://127.0.0.1:${port}`, connectTimeoutMillis: 300 })).rejects.toMatchObject({
      code: 'CONNECTION_LOST',
      message: expect.stringMatching(new RegExp(`ws://127\\.0\\.0\\.1:${port}/rpc.*ECONNREFUSED.*surreal start`, 's')),
    });
  });

  it('takes the next url of a cluster when one does not answer', async () => {
    const database = await startDatabase();
    const app = await start({ url: ['ws://127.0.0.1:9/rpc', database.url], authentication: database.root });
    expect(await app.get<Surreal>(SURREAL).query('RETURN 1')).toEqual([1]);
    await app.close();
    await database.stop();
  });

  it('refuses a server before 3.0', async () => {
    const old = await answering((socket, id) => socket.send(old.codec.encode({ id, result: 'surrealdb-2.3.7' })));
    await expect(start({ url: old.url })).rejects.toMatchObject({
      code: 'SESSIONS_UNSUPPORTED',
      message: expect.stringMatching(/surrealdb-2\.3\.7.*SurrealDB 3/),
    });
    await old.close();
  });

  it('survives a server that sends garbage', async () => {
    const garbage = await answering((socket) => socket.send(Buffer.from([0xff, 0x00, 0x13])));
    await expect(start({ url: garbage.url, connectTimeoutMillis: 500 })).rejects.toMatchObject({
      code: 'CONNECTION_LOST',
    });
    await garbage.close();
  });

  it('says that the sign-in of the service is refused, without showing it', async () => {
    const database = await startDatabase();
    const error: unknown = await start({
      url: database.url,
      authentication: { username: 'root', password: 'pa55' },
    }).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: 'INVALID_OPTIONS', message: expect.stringContaining('"authentication"') });
    expect(String(error)).not.toContain('pa55');
    await database.stop();
  });

  it('works by forRootAsync, with a factory and with a class', async () => {
    class Options {
      createSurrealOptions(): SurrealModuleOptions {
        return moduleOptions({ url: 'mem://', root }, new TenantMap());
      }
    }
    for (const module of [
      SurrealModule.forRootAsync({ useFactory: () => new Options().createSurrealOptions() }),
      SurrealModule.forRootAsync({ useClass: Options }),
    ]) {
      const app = await Test.createTestingModule({ imports: [module] }).compile();
      expect(await app.get<Surreal>(SURREAL).query('RETURN 1')).toEqual([1]);
      await app.close();
    }
  });
});

describe('the central connection', () => {
  let database: Database;
  beforeAll(async () => {
    database = await startDatabase();
  });
  afterAll(() => database?.stop());

  it('is signed in as the service, in its namespace and database', async () => {
    const tenant = await defineTenant(database.admin);
    const { namespace, database: name } = tenant;
    const app = await createContext(moduleOptions(database, new TenantMap(), { namespace, database: name }));
    const surreal = app.get<Surreal>(SURREAL);
    expect(await surreal.query('RETURN [session::ns(), session::db(), $token.ID]')).toEqual([
      [namespace, name, database.root.username],
    ]);
    await app.close();
  });

  itWithFaults('keeps its sign-in to itself: the sockets of tenants never see it', async () => {
    const tenant = await defineTenant(database.admin);
    const app = await createContext(moduleOptions(database, new TenantMap(tenant)));
    const tenancy = app.get(Tenancy);
    faultsOf(database).clearRequests();
    await tenancy.run(tenant, (db) => db.query('RETURN 1'));
    for (const { method, session } of faultsOf(database).requests) {
      if (method !== 'signin') expect(session).toBeDefined();
    }
    await using nobody = await tenancy.attach();
    await expect(Promise.resolve(nobody.query('INFO FOR ROOT'))).rejects.toMatchObject({ code: 'UNAUTHENTICATED' });
    await app.close();
  });

  it('close() ends calls that are in flight', async () => {
    const app = await createContext(moduleOptions(database, new TenantMap()));
    const surreal = app.get<Surreal>(SURREAL);
    const call = surreal
      .query('SLEEP 5s')
      .collect()
      .catch((error: unknown) => error);
    await new Promise((resolve) => setTimeout(resolve, 100));
    await app.close();
    expect(await call).toMatchObject({ code: 'CONNECTION_LOST', outcome: 'unknown' });
  });
});

describe('the embedded engine', () => {
  it('keeps its data in a directory, with the service’s user defined at the first start', async () => {
    const parent = await mkdtemp(join(tmpdir(), 'nestjs-surreal-'));
    const directory = join(parent, 'with a space');
    const options = moduleOptions({ url: `surrealkv://${directory}`, root }, new TenantMap());
    for (const expected of [undefined, { text: 'kept' }]) {
      const app = await createContext({ ...options, namespace: 'n', database: 'd' });
      const surreal = app.get<Surreal>(SURREAL);
      const id = new RecordId('note', 1);
      await surreal.query('DEFINE TABLE IF NOT EXISTS note');
      const found = await surreal.select(id);
      if (expected === undefined) expect(found).toBeUndefined();
      else expect(found).toMatchObject(expected);
      await surreal.upsert(id).content({ text: 'kept' });
      expect(await surreal.query('RETURN $token.ID')).toEqual(['root']);
      await app.close();
    }
    expect(await readdir(parent)).toEqual(['with a space']);
    await rm(parent, { recursive: true });
  });

  it('R1: never runs a query as the superuser that an anonymous session is there', async () => {
    const store = new TenantMap();
    const app = await createContext(moduleOptions({ url: 'mem://', root }, store));
    const surreal = app.get<Surreal>(SURREAL);
    const tenant = await defineTenant({
      query: <Result>(sql: string) => surreal.query(sql) as PromiseLike<unknown> as PromiseLike<Result>,
    });
    await app.get(Tenancy).run(tenant, async (db) => {
      await db.query('RETURN 1');
      await Promise.allSettled([
        db.invalidate(),
        ...Array.from({ length: 50 }, () => db.create(new Table('note')).content({ by: 'nobody' })),
        ...Array.from({ length: 50 }, () => db.query('INFO FOR ROOT')),
      ]).then((outcomes) => {
        for (const outcome of outcomes.slice(51)) expect(outcome.status).toBe('rejected');
      });
      await expect(Promise.resolve(db.query('INFO FOR ROOT'))).rejects.toMatchObject({ code: 'UNAUTHENTICATED' });
    });
    await app.close();
  });
});

describe('the process', () => {
  /** A program in a process of its own; gives its exit code, and fails when it does not end by itself. */
  async function run(program: string): Promise<{ code: number | null; output: string }> {
    const child = spawn(process.execPath, ['--input-type=module', '--eval', program], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let output = '';
    child.stdout.on('data', (data) => (output += String(data)));
    child.stderr.on('data', (data) => (output += String(data)));
    const timer = setTimeout(() => child.kill('SIGKILL'), 10_000);
    const [code] = (await once(child, 'exit')) as [number | null];
    clearTimeout(timer);
    return { code, output };
  }

  const program = (url: string, work: string, authentication = root) => `
    import 'reflect-metadata';
    import { NestFactory } from '@nestjs/core';
    import { SurrealModule, SURREAL, Tenancy, fromTenantId, InMemoryTenantStore } from './dist/index.js';
    const store = new InMemoryTenantStore([{ id: 'acme', namespace: 'acme', database: 'main', credentials: { type: 'user', username: 'u', password: 'p' } }]);
    const module = SurrealModule.forRoot({ url: '${url}', authentication: ${JSON.stringify(authentication)}, tenants: { strategies: [fromTenantId('acme')], store } });
    const app = await NestFactory.createApplicationContext(module, { logger: false });
    await app.get(SURREAL).query("DEFINE NAMESPACE IF NOT EXISTS acme; USE NS acme; DEFINE DATABASE IF NOT EXISTS main; USE DB main; DEFINE USER OVERWRITE u ON DATABASE PASSWORD 'p' ROLES EDITOR");
    const tenancy = app.get(Tenancy);
    ${work}
    await app.close();
    console.log('closed');`;

  it.each(['ws://', 'mem://'])(
    'ends by itself after close(), with sessions, waits and live queries left behind on %s',
    async (kind) => {
      const database = kind === 'ws://' ? await startDatabase() : undefined;
      const work = `
      await tenancy.run('acme', async (db) => { await db.set('a', 1); await db.query('DEFINE TABLE IF NOT EXISTS note').catch(() => 0); await db.live({ toString: () => 'note' }).catch(() => 0); await db.begin(); });
      await tenancy.attach('acme');
      await tenancy.run('nobody', () => 1).catch((error) => console.log(error.code));`;
      const { code, output } = await run(program(database?.url ?? kind, work, database?.root));
      expect(output).toContain('TENANT_NOT_FOUND\nclosed');
      expect(code).toBe(0);
      await database?.stop();
    },
    20_000,
  );

  // In processes of its own: within one, the engine 3.0.2 does not let go of a RocksDB directory before its end.
  it('keeps the data of rocksdb:// for the next process', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'nestjs-surreal-'));
    const work = `
      const surreal = app.get(SURREAL);
      await surreal.query('USE NS acme DB main; DEFINE TABLE IF NOT EXISTS note');
      console.log('found', JSON.stringify(await tenancy.run('acme', (db) => db.query('SELECT VALUE text FROM note'))));
      await tenancy.run('acme', (db) => db.query("CREATE note SET text = 'kept'"));`;
    for (const found of ['found [[]]', 'found [["kept"]]']) {
      const { code, output } = await run(program(`rocksdb://${directory}/data`, work));
      expect(output).toBe(`${found}\nclosed\n`);
      expect(code).toBe(0);
    }
    await rm(directory, { recursive: true });
  }, 30_000);

  it('names the package to install when an embedded url is used without it', async () => {
    const hidden = `
      import { register } from 'node:module';
      register('data:text/javascript,' + encodeURIComponent("export function resolve(name, context, next) { if (name === '@surrealdb/node') throw Object.assign(new Error('not found'), { code: 'ERR_MODULE_NOT_FOUND' }); return next(name, context); }"));
      const { SurrealModule } = await import('./dist/index.js');
      const { NestFactory } = await import('@nestjs/core');
      await NestFactory.createApplicationContext(SurrealModule.forRoot({ url: 'mem://' }), { logger: false, abortOnError: false }).catch((error) => console.log(error.code, error.message));`;
    const { output } = await run(hidden);
    expect(output).toMatch(/INVALID_OPTIONS .*npm install @surrealdb\/node/);
  });
});

const transportTo = (port: number) => {
  const times = { requestTimeoutMillis: 2_000, pingIntervalMillis: 2_000, reconnect: {} };
  return new SocketTransport({ urls: [new URL(`ws://127.0.0.1:${port}`)], ...times });
};

describe('a server that begins to close and then says nothing more', () => {
  it('is left at once: no epoch to send in, and a new socket for whoever waits', async () => {
    const codec = new CborCodec({});
    let sockets = 0;
    const server = new WebSocketServer({ port: 0, host: '127.0.0.1' });
    await once(server, 'listening');
    server.on('connection', (socket, request) => {
      const isFirst = ++sockets === 1;
      socket.on('message', (data: Buffer) => {
        // A close frame by hand, and the TCP connection left open behind it.
        if (isFirst) request.socket.pause().write(Buffer.from([0x88, 0x02, 0x03, 0xe9]));
        else socket.send(codec.encode({ id: codec.decode<{ id: string }>(data).id, result: 'answered' }));
      });
    });
    const { port } = server.address() as { port: number };
    const transport = transportTo(port);
    await transport.ready();
    const lost = transport.send({ method: 'ping' }).catch((error: unknown) => error);
    for (let tries = 0; tries < 100 && transport.epoch !== 0; tries++)
      await new Promise((resolve) => setTimeout(resolve, 5));
    expect(transport.epoch).toBe(0);
    await transport.ready();
    expect(await lost).toMatchObject({ code: 'CONNECTION_LOST', outcome: 'unknown' });
    expect(await transport.send({ method: 'ping' })).toBe('answered');
    await transport.close();
    for (const client of server.clients) client.terminate();
    await new Promise((resolve) => server.close(resolve));
  });
});

describe('a server that takes connections and drops them', () => {
  it('R6: is tried with growing pauses, not in a loop', async () => {
    let connections = 0;
    const server = new WebSocketServer({ port: 0, host: '127.0.0.1' });
    await once(server, 'listening');
    server.on('connection', (socket) => {
      connections++;
      socket.terminate();
    });
    const { port } = server.address() as { port: number };
    const transport = transportTo(port);
    await transport.ready();
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    expect(connections).toBeLessThan(12);
    await transport.close();
    await new Promise((resolve) => server.close(resolve));
  });
});
