import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it } from '@jest/globals';
import { SURREAL, type Surreal, Tenancy, type Tenant } from 'nestjs-surreal';
import { SurrealTestServer } from 'nestjs-surreal/testing';
import { CborCodec } from 'surrealdb';
import { type WebSocket, WebSocketServer } from 'ws';
import { SocketTransport } from '../../lib/connection/socket-transport.js';
import { createContext, moduleOptions, TenantMap } from '../support/application.js';
import {
  asRoot,
  type Database,
  defineTenant,
  faultsOf,
  hasFaults,
  itWithFaults,
  startDatabase,
  dropConnections,
} from '../support/surreal.js';

const codec = new CborCodec({});

/** A peer at the level of frames, for what an engine behind it cannot be made to do. */
async function listen(onCall: (socket: WebSocket, id: string) => void, port = 0) {
  const server = new WebSocketServer({ port, host: '127.0.0.1', autoPong: false });
  await once(server, 'listening');
  const sockets: WebSocket[] = [];
  server.on('connection', (socket) => {
    sockets.push(socket);
    socket.on('message', (data: Buffer) => onCall(socket, codec.decode<{ id: string }>(data).id));
  });
  const address = server.address() as { port: number };
  return {
    sockets,
    server,
    port: address.port,
    url: new URL(`ws://127.0.0.1:${address.port}`),
    stop: async () => {
      for (const client of server.clients) client.terminate();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

const answer = (name: string) => (socket: WebSocket, id: string) => socket.send(codec.encode({ id, result: name }));

describe('the socket', () => {
  const open: { close(): Promise<void> }[] = [];
  const stops: (() => Promise<void>)[] = [];
  afterEach(async () => {
    await Promise.all(open.splice(0).map((transport) => transport.close()));
    await Promise.all(stops.splice(0).map((stop) => stop()));
  });
  const start = async (...onCall: Parameters<typeof listen>) => {
    const peer = await listen(...onCall);
    stops.push(peer.stop);
    return peer;
  };
  const transportTo = (urls: URL[], pingIntervalMillis = 5_000, maxAttempts?: number) => {
    const reconnect = {
      firstDelayMillis: 5,
      maxDelayMillis: 20,
      ...(maxAttempts === undefined ? {} : { maxAttempts }),
    };
    const transport = new SocketTransport({ urls, requestTimeoutMillis: 5_000, pingIntervalMillis, reconnect });
    open.push(transport);
    return transport;
  };

  /** Waits until a transport has seen that the socket of an epoch is gone. */
  const noticed = async (transport: SocketTransport, epoch: number) => {
    for (let tries = 0; tries < 200 && transport.epoch === epoch; tries++) await sleep(5);
  };

  it('R4: whose peer is silent is dropped within two intervals, and what it carried fails as unknown', async () => {
    const peer = await start(() => undefined);
    const transport = transportTo([peer.url], 100);
    await transport.ready();
    const began = Date.now();
    await expect(transport.send({ method: 'query' })).rejects.toMatchObject({
      code: 'CONNECTION_LOST',
      outcome: 'unknown',
      cause: expect.objectContaining({ message: expect.stringContaining('ping') }),
    });
    expect(Date.now() - began).toBeLessThan(2_000);
    await transport.ready();
    expect(transport.connects).toBeGreaterThan(1);
  });

  it('R4: asks a peer that has gone silent once, however much it said before', async () => {
    const peer = await start(answer('alive'));
    let pings = 0;
    peer.server.on('connection', (socket) => socket.on('ping', () => pings++));
    const transport = transportTo([peer.url], 150, 1);
    await transport.ready();
    expect(await transport.send({ method: 'query' })).toBe('alive');
    await noticed(transport, 1);
    expect(pings).toBe(1);
  });

  it('stays with a peer that answers pings, or says anything at all', async () => {
    const peer = await start(answer('alive'));
    const transport = transportTo([peer.url], 50);
    await transport.ready();
    peer.sockets[0]!.on('ping', (data) => peer.sockets[0]!.pong(data));
    await sleep(400);
    peer.sockets[0]!.removeAllListeners('ping');
    for (let round = 0; round < 20; round++) {
      expect(await transport.send({ method: 'query' })).toBe('alive');
      await sleep(20);
    }
    expect(transport.connects).toBe(1);
  });

  itWithFaults('is not dropped because this process itself was held up', async () => {
    const database = await startDatabase();
    stops.push(() => database.stop());
    const transport = transportTo([new URL(database.url)], 100);
    await transport.ready();
    // Timers come first after each hold-up, before what has arrived is read: ping, hold-up, and the next look.
    for (let round = 0; round < 10; round++) {
      await new Promise(setImmediate);
      const until = Date.now() + 120;
      while (Date.now() < until);
    }
    await sleep(50);
    expect(transport.connects).toBe(1);
  });

  it('R6: is not dropped while a large answer takes its time', async () => {
    const peer = await start((socket, id) => {
      // A pong cannot come in the middle of a frame; its bytes are the sign of life.
      const payload = Buffer.from(codec.encode({ id, result: 'x'.repeat(100_000) }));
      const header = Buffer.alloc(10);
      header.writeUInt16BE(0x827f);
      header.writeBigUInt64BE(BigInt(payload.length), 2);
      const { stream } = streams.get(socket)!;
      stream.write(header);
      void (async () => {
        for (let at = 0; at < payload.length; at += 5_000) {
          stream.write(payload.subarray(at, at + 5_000));
          await sleep(40);
        }
      })();
    });
    const streams = new Map<WebSocket, { stream: Duplex }>();
    peer.server.on('connection', (socket, { socket: stream }) => streams.set(socket, { stream }));
    const transport = transportTo([peer.url], 100);
    await transport.ready();
    expect(await transport.send({ method: 'query' })).toHaveLength(100_000);
    expect(transport.connects).toBe(1);
  });

  it('goes to the next node when one is gone, and round again', async () => {
    const [first, second] = [await start(answer('first')), await start(answer('second'))];
    const transport = transportTo([first.url, second.url]);
    await transport.ready();
    expect(await transport.send({ method: 'query' })).toBe('first');
    await first.stop();
    await noticed(transport, 1);
    await transport.ready();
    expect(await transport.send({ method: 'query' })).toBe('second');
    await start(answer('first again'), first.port);
    await second.stop();
    await noticed(transport, 2);
    await transport.ready();
    expect(await transport.send({ method: 'query' })).toBe('first again');
  });

  it('tries on without end, with growing pauses', async () => {
    const peer = await start(answer('first'));
    const transport = transportTo([peer.url]);
    await transport.ready();
    await peer.stop();
    await sleep(700);
    await start(answer('back'), peer.port);
    await transport.ready();
    expect(await transport.send({ method: 'query' })).toBe('back');
  });

  it('gives up after maxAttempts, tells those who wait at once, and begins again with the next call', async () => {
    const peer = await start(answer('first'));
    const transport = transportTo([peer.url], 5_000, 3);
    await peer.stop();
    const began = Date.now();
    await expect(transport.ready()).rejects.toMatchObject({
      code: 'CONNECTION_LOST',
      outcome: 'not-sent',
      message: expect.stringMatching(/3 attempts.*ECONNREFUSED/),
    });
    expect(Date.now() - began).toBeLessThan(2_000);
    expect(transport.state).toBe('idle');
    await start(answer('back'), peer.port);
    await transport.ready();
    expect(await transport.send({ method: 'query' })).toBe('back');
  });

  it('closes while it is trying', async () => {
    const transport = transportTo([new URL('ws://127.0.0.1:9')]);
    const waiting = Promise.resolve(transport.ready()).catch((error: unknown) => error);
    await sleep(50);
    await transport.close();
    expect(await waiting).toMatchObject({ code: 'CONNECTION_LOST', outcome: 'not-sent' });
  });
});

(hasFaults ? describe : describe.skip)('after a drop', () => {
  let database: Database;
  let app: Awaited<ReturnType<typeof createContext>>;
  afterEach(async () => {
    await app?.close();
    await database?.stop();
  });

  const setUp = async (count: number, type: 'user' | 'jwt') => {
    database = await startDatabase();
    const tenants: Tenant[] = [];
    for (let index = 0; index < count; index++) tenants.push(await defineTenant(database.admin, { type }));
    app = await createContext(moduleOptions(database, new TenantMap(...tenants), { requestTimeoutMillis: 3_000 }));
    const tenancy = app.get(Tenancy);
    await Promise.all(tenants.map((tenant) => tenancy.run(tenant, (db) => db.query('RETURN 1'))));
    return { tenants, tenancy };
  };
  const drop = () => dropConnections(database);
  /** Calls that name a session: those of tenants. */
  const messages = () => faultsOf(database).requests.flatMap(({ session, method }) => (session ? [method] : []));

  it('R9: the first query of one tenant takes three messages, however many others there are', async () => {
    const { tenants, tenancy } = await setUp(60, 'jwt');
    await drop();
    faultsOf(database).clearRequests();
    await tenancy.run(tenants[7]!, (db) => db.query('RETURN 1'));
    await sleep(100);
    expect(messages()).toEqual(['attach', 'authenticate', 'query']);
  });

  it('the central connection comes back though reconnect.maxAttempts are used up', async () => {
    const storage = await mkdtemp(join(tmpdir(), 'nestjs-surreal-'));
    const server = await SurrealTestServer.start({ storage: `surrealkv://${storage}` });
    const reconnect = { firstDelayMillis: 5, maxDelayMillis: 5, maxAttempts: 2 };
    app = await createContext(moduleOptions(server, new TenantMap(), { reconnect, requestTimeoutMillis: 3_000 }));
    await server.kill();
    await sleep(300);
    await server.restart();
    expect(await app.get<Surreal>(SURREAL).query('RETURN 1')).toEqual([1]);
    await server.stop();
    await rm(storage, { recursive: true });
  });

  it('R9: a hundred queries at once of one tenant attach and sign in once', async () => {
    const { tenants, tenancy } = await setUp(1, 'user');
    await drop();
    const before = tenancy.stats().signins.total;
    faultsOf(database).clearRequests();
    await Promise.all(Array.from({ length: 100 }, () => tenancy.run(tenants[0]!, (db) => db.query('RETURN 1'))));
    expect(messages().filter((method) => method !== 'query')).toEqual(['attach', 'authenticate']);
    expect(tenancy.stats().signins.total).toBe(before);
  });

  it('R6: a tenant that cannot come back fails alone, is tried again with pauses, and comes back by itself', async () => {
    const { tenants, tenancy } = await setUp(2, 'user');
    const [gone, other] = tenants as [Tenant, Tenant];
    const { username, password } = gone.credentials as { username: string; password: string };
    await asRoot(database.admin, gone, `REMOVE USER ${username} ON DATABASE`);
    await drop();
    const before = tenancy.stats().signins;
    const ask = (tenant: Tenant) => tenancy.run(tenant, (db) => db.query('RETURN session::ns()'));
    for (let round = 0; round < 20; round++) {
      await expect(ask(gone)).rejects.toMatchObject({ code: 'TENANT_SIGNIN_FAILED' });
      expect(await ask(other)).toEqual([other.namespace]);
    }
    const { total, refused } = tenancy.stats().signins;
    expect(total - before.total).toBeLessThanOrEqual(2);
    expect(refused - before.refused).toBe(total - before.total);
    await asRoot(database.admin, gone, `DEFINE USER ${username} ON DATABASE PASSWORD '${password}' ROLES EDITOR`);
    let found: unknown;
    for (let tries = 0; tries < 60 && found === undefined; tries++) {
      found = await ask(gone).catch(() => undefined);
      if (found === undefined) await sleep(100);
    }
    expect(found).toEqual([gone.namespace]);
  });

  it('R4: calls that wait for their turn when the socket drops are sent once, after it is back', async () => {
    const { tenants, tenancy } = await setUp(1, 'jwt');
    const [tenant] = tenants as [Tenant];
    const hold = await faultsOf(database).holdAnswers({ match: '1_held' });
    const write = (n: number) => tenancy.run(tenant, (db) => db.query(`CREATE note SET n = ${n}, held = '${n}_held'`));
    const first = Promise.allSettled(Array.from({ length: 16 }, () => write(1)));
    const rest = Promise.allSettled(Array.from({ length: 30 }, () => write(2)));
    for (let tries = 0; tries < 100 && tenancy.stats().calls.waiting < 30; tries++) await sleep(10);
    await drop();
    const outcomes = (await first).map((outcome) => (outcome as PromiseRejectedResult).reason as unknown);
    for (const reason of outcomes) expect(reason).toMatchObject({ outcome: 'unknown' });
    expect((await rest).map(({ status }) => status)).toEqual(Array(30).fill('fulfilled'));
    await hold.release();
    expect(await asRoot(database.admin, tenant, 'RETURN count(SELECT * FROM note WHERE n = 2)')).toEqual([30]);
    expect(await asRoot(database.admin, tenant, 'RETURN count(SELECT * FROM note WHERE n = 1)')).toEqual([16]);
  });
});
