import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { SurrealTestServer } from 'nestjs-surreal/testing';
import { AlreadyExistsError, NotAllowedError, NotFoundError, RecordId, Uuid, ValidationError } from 'surrealdb';
import { connect, type RawClient } from '../support/raw-client.js';

const ANONYMOUS = 'Anonymous access not allowed: Not enough permissions to perform this action';

let server: SurrealTestServer;
const clients: RawClient[] = [];

async function client(to: SurrealTestServer = server): Promise<RawClient> {
  const opened = await connect(to.url);
  clients.push(opened);
  return opened;
}

/** A client whose default session is root in a namespace and database of its own choice. */
async function rootClient(to: SurrealTestServer = server, database = 'd'): Promise<RawClient> {
  const opened = await client(to);
  await opened.call('signin', [{ user: to.root.username, pass: to.root.password }]);
  await opened.call('use', ['n', database]);
  return opened;
}

async function rootSession(of: RawClient): Promise<Uuid> {
  const session = Uuid.v4();
  await of.call('attach', undefined, { session });
  await of.call('signin', [{ user: 'root', pass: 'root' }], { session });
  await of.call('use', ['n', 'd'], { session });
  return session;
}

async function until(what: () => boolean | Promise<boolean>): Promise<void> {
  const end = Date.now() + 5_000;
  while (!(await what())) {
    if (Date.now() > end) throw new Error(`never: ${what.toString()}`);
    await sleep(10);
  }
}

async function recordsOf(opened: RawClient, table: string): Promise<string[]> {
  const [ids] = await opened.query<[RecordId[]]>(`SELECT VALUE id FROM ${table}`);
  return ids.map(String);
}

beforeAll(async () => {
  server = await SurrealTestServer.start();
});
afterEach(async () => {
  await Promise.all(clients.splice(0).map((opened) => opened.close()));
  await until(async () => (await server.sessions()) === 0);
});
afterAll(async () => {
  await server.stop();
});

describe('start', () => {
  it('refuses an unknown option by its name', async () => {
    await expect(SurrealTestServer.start({ storge: 'mem://' } as object)).rejects.toThrow('unknown option "storge"');
    const root = { username: 'a', password: 'b', role: 'c' };
    await expect(SurrealTestServer.start({ root })).rejects.toThrow('unknown option "role"');
  });

  it.each([
    [{ storage: 'http://x' as 'mem://' }, '"storage"'],
    [{ port: 70_000 }, '"port"'],
    [{ root: { username: '', password: 'x' } }, '"root.username"'],
    [{ root: { username: 'x', password: 'secret\u0000' } }, '"root.password"'],
  ])('refuses a wrong value: %j', async (options, named) => {
    await expect(SurrealTestServer.start(options)).rejects.toThrow(named);
    await expect(SurrealTestServer.start(options)).rejects.not.toThrow('secret');
  });

  it('tells that the port is in use', async () => {
    const squatter = createServer().listen(0, '127.0.0.1');
    await once(squatter, 'listening');
    const { port } = squatter.address() as AddressInfo;
    await expect(SurrealTestServer.start({ port })).rejects.toThrow(`port ${port} of 127.0.0.1 is in use`);
    squatter.close();
  });

  it('tells that the storage cannot be opened', async () => {
    await expect(SurrealTestServer.start({ storage: 'surrealkv:///proc/no' })).rejects.toThrow('cannot be opened');
  });

  it('takes any printable name and password for root', async () => {
    const root = { username: '1o\'b`r\\"⟩;--', password: 'p"\\`\'$x {}é🎉' };
    await using other = await SurrealTestServer.start({ root });
    const opened = await rootClient(other);
    await expect(opened.query('RETURN 1')).resolves.toEqual([1]);
    await opened.close();
  });
});

describe('sign-in', () => {
  it('lets root in, and says as which', async () => {
    const opened = await rootClient();
    const [info] = await opened.query<[{ users: object }]>('INFO FOR ROOT');
    expect(Object.keys(info.users)).toEqual(['root']);
  });

  it.each(['query', 'select', 'begin', 'commit', 'live', 'run'])('refuses %s to the anonymous', async (method) => {
    const opened = await client();
    const refused = opened.call(method, method === 'query' ? ['RETURN 1'] : [Uuid.v4()]);
    await expect(refused).rejects.toMatchObject({
      constructor: NotAllowedError,
      code: -32002,
      message: ANONYMOUS,
      details: { kind: 'Method', details: { name: method } },
    });
  });

  it('leaves the anonymous what a sign-in needs', async () => {
    const opened = await client();
    const session = Uuid.v4();
    await expect(opened.call('version')).resolves.toBe('surrealdb-3.0.2');
    await opened.call('ping');
    await opened.call('attach', undefined, { session });
    await opened.call('use', ['n', 'd'], { session });
    await opened.call('let', ['a', 1], { session });
    await opened.call('unset', ['a'], { session });
    expect((await opened.call<Uuid[]>('sessions')).map(String)).toEqual([session.toString()]);
    await opened.call('detach', undefined, { session });
  });

  it('keeps the state when a sign-in fails, and loses it with invalidate and reset', async () => {
    const opened = await client();
    const wrong = () => opened.call('signin', [{ user: 'root', pass: 'wrong' }]);
    const right = () => opened.call<string>('signin', [{ user: 'root', pass: 'root' }]);
    await expect(wrong()).rejects.toThrow('There was a problem with authentication');
    await expect(opened.query('RETURN 1')).rejects.toThrow(ANONYMOUS);
    const token = await right();
    await expect(wrong()).rejects.toThrow(NotAllowedError);
    await expect(opened.query('RETURN 1')).resolves.toEqual([1]);
    await opened.call('invalidate');
    await expect(opened.query('RETURN 1')).rejects.toThrow(ANONYMOUS);
    await opened.call('authenticate', [token]);
    await expect(opened.query('RETURN 1')).resolves.toEqual([1]);
    await opened.call('reset');
    await expect(opened.query('RETURN 1')).rejects.toThrow(ANONYMOUS);
  });

  it('never lets a query overtake a sign-out', async () => {
    const opened = await rootClient();
    const slow = opened.query('SLEEP 100ms; RETURN $auth; RETURN 1');
    const out = opened.call('invalidate');
    const late = opened.query('RETURN 2');
    await expect(late).rejects.toThrow(ANONYMOUS);
    await expect(slow).resolves.toMatchObject({ 2: 1 });
    await out;
  });

  it('signs record users up and in', async () => {
    const root = await rootClient();
    await root.query(`DEFINE ACCESS people ON DATABASE TYPE RECORD
      SIGNUP (CREATE person SET name = $name, pass = crypto::argon2::generate($pass))
      SIGNIN (SELECT * FROM person WHERE name = $name AND crypto::argon2::compare(pass, $pass))`);
    const credentials = { ns: 'n', db: 'd', ac: 'people', name: 'ann', pass: 'hidden' };
    const ann = await client();
    await ann.call('signup', [credentials]);
    await expect(ann.query('RETURN record::tb($auth)')).resolves.toEqual(['person']);
    const again = await client();
    await again.call('signin', [credentials]);
    await expect(again.query('RETURN record::tb($auth)')).resolves.toEqual(['person']);
    await root.query('REMOVE ACCESS people ON DATABASE; REMOVE TABLE person');
  });

  it('survives a use() that would abort the engine', async () => {
    const opened = await rootClient();
    await expect(opened.call('use', [null, 'd'])).rejects.toBeInstanceOf(ValidationError);
    await expect(opened.call('use', [undefined, 'd'])).rejects.toBeInstanceOf(ValidationError);
    await expect(opened.query('RETURN 1')).resolves.toEqual([1]);
  });
});

describe('two connections', () => {
  it('have default sessions of their own', async () => {
    const [a, b] = [await rootClient(server, 'a'), await rootClient(server, 'b')];
    await a.call('let', ['x', 1]);
    await expect(a.query('RETURN [session::db(), $x]')).resolves.toEqual([['a', 1]]);
    await expect(b.query('RETURN [session::db(), $x ?? 0]')).resolves.toEqual([['b', 0]]);
  });

  it('do not know each other’s sessions', async () => {
    const [a, b] = [await client(), await client()];
    const session = await rootSession(a);
    await expect(b.call('query', ['RETURN 1'], { session })).rejects.toMatchObject({
      constructor: NotFoundError,
      message: `Session not found: ${session.toString()}`,
      details: { kind: 'Session', details: { id: session.toString() } },
    });
    await expect(b.call('sessions')).resolves.toEqual([]);
    await b.call('detach', undefined, { session });
    await expect(a.query('RETURN 1', {}, { session })).resolves.toEqual([1]);
    await expect(server.sessions()).resolves.toBe(1);
  });

  it('may use the same session id', async () => {
    const [a, b] = [await client(), await client()];
    const session = await rootSession(a);
    expect(String(await a.query('RETURN session::id()', {}, { session }))).toBe(session.toString());
    await b.call('attach', undefined, { session });
    await expect(b.query('RETURN 1', {}, { session })).rejects.toThrow(ANONYMOUS);
    await expect(a.query('RETURN 1', {}, { session })).resolves.toEqual([1]);
  });

  it('do not know each other’s transactions', async () => {
    const [a, b] = [await rootClient(), await rootClient()];
    const txn = await a.call<Uuid>('begin');
    for (const intrusion of [b.query('RETURN 1', {}, { txn }), b.call('commit', [txn]), b.call('cancel', [txn])]) {
      await expect(intrusion).rejects.toMatchObject({ constructor: ValidationError, message: 'Transaction not found' });
    }
    await expect(server.openTransactions()).resolves.toBe(1);
    await a.query('CREATE kept:1', {}, { txn });
    await a.call('commit', [txn]);
    await expect(recordsOf(b, 'kept')).resolves.toEqual(['kept:1']);
    await expect(server.openTransactions()).resolves.toBe(0);
    await a.query('REMOVE TABLE kept');
  });

  it('run the calls of one socket side by side', async () => {
    const opened = await rootClient();
    const order: string[] = [];
    await Promise.all([
      opened.query('SLEEP 200ms').then(() => order.push('slow')),
      opened.query('RETURN 1').then(() => order.push('quick')),
    ]);
    expect(order).toEqual(['quick', 'slow']);
  });
});

describe('errors', () => {
  it('come as the engine gives them', async () => {
    const opened = await rootClient();
    const session = await rootSession(opened);
    await expect(opened.call('attach', undefined, { session })).rejects.toMatchObject({
      constructor: AlreadyExistsError,
      code: -32000,
      message: `Session already exists: ${session.toString()}`,
      details: { kind: 'Session', details: { id: session.toString() } },
    });
    await expect(opened.call('signin', [{ user: 'no', pass: 'no' }])).rejects.toMatchObject({
      constructor: NotAllowedError,
      code: -32002,
      details: { kind: 'Auth', details: { kind: 'InvalidAuth' } },
    });
    await expect(opened.call('nonsense')).rejects.toMatchObject({ constructor: NotFoundError, code: -32601 });
    await expect(opened.call('query')).rejects.toMatchObject({
      constructor: ValidationError,
      code: -32603,
      details: { kind: 'InvalidParams' },
    });
    await expect(opened.call('attach')).rejects.toThrow('Expected a session ID');
    await expect(opened.call('query', ['THROW "x"'])).resolves.toMatchObject([
      { status: 'ERR', kind: 'Thrown', result: 'An error occurred: x' },
    ]);
  });

  it('answers a frame that is no request, and closes on one that cannot be read', async () => {
    const opened = await client();
    await expect(opened.call(7 as unknown as string)).rejects.toThrow('Invalid request');
    for (const [garbage, code] of [
      [Buffer.from([0xff, 0x00]), 1007],
      [Buffer.from([0x01]), 1007],
      ['text', 1003],
    ] as const) {
      const broken = await client();
      broken.socket.send(garbage);
      const [closedWith] = (await once(broken.socket, 'close')) as [number];
      expect(closedWith).toBe(code);
    }
    await expect(opened.call('ping')).resolves.toBeUndefined();
  });
});

describe('live queries', () => {
  it('reach their socket alone, until KILL', async () => {
    const [a, b] = [await rootClient(), await rootClient()];
    await a.query('DEFINE TABLE heard');
    const [id] = await a.query<[Uuid]>('LIVE SELECT * FROM heard');
    await expect(server.liveQueries()).resolves.toBe(1);
    await b.query('CREATE heard:1 SET x = 1');
    await until(() => a.notifications.length === 1);
    const [notification] = a.notifications;
    // As strings: ids keep their value in private fields, which toEqual() does not see.
    expect(String(notification?.id)).toBe(id.toString());
    expect(notification?.record).toBeInstanceOf(RecordId);
    expect(JSON.parse(JSON.stringify(notification))).toMatchObject({
      action: 'CREATE',
      record: 'heard:1',
      result: { id: 'heard:1', x: 1 },
    });
    await a.query('KILL $id', { id });
    await until(async () => (await server.liveQueries()) === 0);
    await b.query('CREATE heard:2');
    await sleep(50);
    expect(a.notifications.map(({ action }) => action)).toEqual(['CREATE', 'KILLED']);
    expect(b.notifications).toEqual([]);
  });

  it.each(['detach', 'reset'])('end with the %s of their session', async (method) => {
    const opened = await rootClient();
    const session = await rootSession(opened);
    await opened.query('DEFINE TABLE OVERWRITE heard; LIVE SELECT * FROM heard', {}, { session });
    await expect(server.liveQueries()).resolves.toBe(1);
    await opened.call(method, undefined, { session });
    await expect(server.liveQueries()).resolves.toBe(0);
    await opened.query('CREATE heard');
    await sleep(50);
    expect(opened.notifications).toEqual([]);
    await expect(opened.query('INFO FOR TABLE heard')).resolves.toMatchObject([{ lives: {} }]);
  });
});

describe('request log', () => {
  it('is exact the moment a call is answered', async () => {
    const opened = await rootClient();
    server.clearRequests();
    for (let i = 1; i <= 300; i++) {
      await opened.query(`RETURN ${i}`);
      if (server.count('query') !== i) throw new Error(`count is ${server.count('query')} after ${i} answers`);
    }
    await opened.call('ping');
    expect(server.count()).toBe(301);
    expect(server.requests[299]).toEqual({ method: 'query', sql: 'RETURN 300' });
    server.clearRequests();
    expect(server.requests).toEqual([]);
    await opened.query('RETURN "é🎉"');
    expect(server.requests).toEqual([{ method: 'query', sql: 'RETURN "é🎉"' }]);
  });

  it('knows the session, and no secret', async () => {
    const opened = await client();
    server.clearRequests();
    const session = await rootSession(opened);
    const token = await opened.call<string>('signin', [{ user: 'root', pass: 'root' }], { session });
    await opened.call('authenticate', [token], { session });
    await opened.query('RETURN $secret', { secret: 'hush' }, { session });
    await opened.call('let', ['secret', 'hush'], { session });
    expect(server.requests.at(-2)).toEqual({ method: 'query', session: session.toString(), sql: 'RETURN $secret' });
    const text = JSON.stringify(server.requests);
    expect(text).not.toContain('pass');
    expect(text).not.toContain('hush');
    expect(text).not.toContain(token);
  });
});

describe('faults', () => {
  it('dropConnections cuts every socket and cleans up', async () => {
    const [a, b] = [await rootClient(), await rootClient()];
    await rootSession(a);
    await b.call('begin');
    const codes = Promise.all([once(a.socket, 'close'), once(b.socket, 'close')]);
    await server.dropConnections();
    expect((await codes).map(([code]) => code as number)).toEqual([1006, 1006]);
    await expect(server.sessions()).resolves.toBe(0);
    await expect(server.openTransactions()).resolves.toBe(0);
    await expect((await rootClient()).query('RETURN 1')).resolves.toEqual([1]);
  });

  it('loseCall cuts the socket of the call instead of running it, once', async () => {
    const [a, b] = [await rootClient(), await rootClient()];
    await a.query('DEFINE TABLE unheard');
    server.clearRequests();
    await server.loseCall({ method: 'query', match: 'CREATE unheard' });
    await a.query('RETURN 1');
    await expect(a.query('CREATE unheard:1')).rejects.toThrow('socket closed');
    expect(server.requests.map(({ sql }) => sql)).toEqual(['RETURN 1']);
    await expect(b.query('CREATE unheard:2')).resolves.toHaveLength(1);
    await expect(recordsOf(b, 'unheard')).resolves.toEqual(['unheard:2']);
  });

  it('loseCall leaves what is armed for answers to the next call', async () => {
    const [a, b] = [await rootClient(), await rootClient()];
    await server.loseCall({ method: 'query' });
    await server.loseAnswer({ method: 'query' });
    await expect(a.query('CREATE first:1')).rejects.toThrow('socket closed');
    await expect(b.query('CREATE second:1')).rejects.toThrow('socket closed');
    const after = await rootClient();
    await expect(after.query('INFO FOR DB')).resolves.toMatchObject([{ tables: { second: expect.anything() } }]);
    await expect(after.query('INFO FOR DB')).resolves.not.toMatchObject([{ tables: { first: expect.anything() } }]);
  });

  it('sendGarbage sends every socket frames that answer no call', async () => {
    const [a, b] = [await client(), await client()];
    const heard = [a, b].map(({ socket }) => {
      const frames: string[] = [];
      socket.removeAllListeners('message');
      socket.on('message', (data: Buffer, isBinary: boolean) => {
        frames.push(isBinary ? data.toString('hex') : `text: ${data.toString()}`);
      });
      return frames;
    });
    await server.sendGarbage();
    await until(() => heard.every((frames) => frames.length === 9));
    expect(heard[0]).toEqual(heard[1]);
    expect(heard[0]).toEqual(expect.arrayContaining(['a0', '820102', 'f6', 'text: no CBOR', 'text: ', 'ff00']));
    await expect((await rootClient()).query('RETURN 1')).resolves.toEqual([1]);
  });

  it('loseAnswer runs the call once and cuts its socket', async () => {
    const [a, b] = [await rootClient(), await rootClient()];
    await server.loseAnswer({ method: 'query', match: 'CREATE lost' });
    await a.query('RETURN 1');
    await expect(a.query('CREATE lost:1')).rejects.toThrow('socket closed');
    await expect(recordsOf(b, 'lost')).resolves.toEqual(['lost:1']);
    await expect(b.query('CREATE lost:2')).resolves.toHaveLength(1);
  });

  it('holdAnswers withholds matching answers until release', async () => {
    const opened = await rootClient();
    const hold = await server.holdAnswers({ match: /create +late/i });
    let answered = false;
    const late = opened.query('CREATE late:1').then(() => (answered = true));
    await until(async () => (await hold.held()) === 1);
    await expect(recordsOf(opened, 'late')).resolves.toEqual(['late:1']);
    expect(answered).toBe(false);
    await hold.release();
    await late;
    await hold.release();
    await expect(hold.held()).resolves.toBe(0);
    await opened.query('CREATE late:2');
  });

  it('refuses an unknown filter key', async () => {
    await expect(server.loseAnswer({ sql: 'x' } as object)).rejects.toThrow('unknown option "sql"');
    await expect(server.loseCall({ sql: 'x' } as object)).rejects.toThrow('unknown option "sql"');
  });
});

describe('when a socket closes', () => {
  it('its sessions, transactions and live queries are gone', async () => {
    const [a, b] = [await rootClient(), await rootClient()];
    const session = await rootSession(a);
    await a.query('DEFINE TABLE OVERWRITE heard; LIVE SELECT * FROM heard');
    await a.query('LIVE SELECT * FROM heard', {}, { session });
    const txn = await a.call<Uuid>('begin', undefined, { session });
    await a.query('CREATE undone:1', {}, { session, txn });
    await expect(server.sessions()).resolves.toBe(1);
    await expect(server.liveQueries()).resolves.toBe(2);
    await expect(server.openTransactions()).resolves.toBe(1);
    await a.close();
    await until(async () => (await server.sessions()) === 0);
    await expect(server.liveQueries()).resolves.toBe(0);
    await expect(server.openTransactions()).resolves.toBe(0);
    await expect(b.query('INFO FOR TABLE heard')).resolves.toMatchObject([{ lives: {} }]);
    await expect(b.query('DEFINE TABLE OVERWRITE undone; SELECT * FROM undone')).resolves.toMatchObject([
      undefined,
      [],
    ]);
  });

  it('a client that comes back may attach the same id at once', async () => {
    const a = await client();
    const session = await rootSession(a);
    a.socket.terminate();
    const b = await rootClient();
    await b.call('attach', undefined, { session });
    await expect(b.query('RETURN 1', {}, { session })).rejects.toThrow(ANONYMOUS);
  });
});

describe('the process', () => {
  it.each(['surrealkv', 'rocksdb'] as const)('keeps acknowledged data of %s over kill and restart', async (engine) => {
    const directory = await mkdtemp(join(tmpdir(), 'surreal-data-'));
    await using other = await SurrealTestServer.start({ storage: `${engine}://${directory}/db` });
    const { url } = other;
    const before = await rootClient(other);
    let acknowledged = 0;
    const writing = (async () => {
      for (let i = 1; ; i++) {
        await before.query(`CREATE row:${i}`);
        acknowledged = i;
      }
    })();
    await until(() => acknowledged >= 50);
    const stopped = expect(writing).rejects.toThrow('socket closed');
    await other.kill();
    await stopped;
    await expect(other.sessions()).rejects.toThrow('ended with SIGKILL');
    await other.restart();
    expect(other.url).toBe(url);
    const after = await rootClient(other);
    const [count] = await after.query<[number]>('RETURN count(SELECT * FROM row)');
    expect(count).toBeGreaterThanOrEqual(acknowledged);
    expect(other.count('signin')).toBe(2);
    await after.close();
    await rm(directory, { recursive: true, force: true });
  });

  it('is gone after stop, and comes back with restart', async () => {
    const other = await SurrealTestServer.start();
    const opened = await rootClient(other);
    await other.stop();
    await other.stop();
    expect(opened.socket.readyState).not.toBe(opened.socket.OPEN);
    expect(other.count('signin')).toBe(1);
    await expect(connect(other.url)).rejects.toThrow('ECONNREFUSED');
    await expect(other.dropConnections()).rejects.toThrow('stopped');
    await other.restart();
    await expect((await rootClient(other)).query('RETURN 1')).resolves.toEqual([1]);
    expect(other.count('signin')).toBe(2);
    await other.stop();
  });

  it('is stopped by a stop() that comes during restart()', async () => {
    const other = await SurrealTestServer.start();
    await Promise.all([other.restart(), other.stop()]);
    await expect(connect(other.url)).rejects.toThrow('ECONNREFUSED');
  });

  it.each([
    ['stops', 'await server.stop()'],
    ['is killed', "process.kill(process.pid, 'SIGKILL')"],
  ])('outlives nothing when the process that started it %s', async (_, end) => {
    const script = `import { SurrealTestServer } from 'nestjs-surreal/testing';
      const server = await SurrealTestServer.start(); console.log(server.url); await server.sessions(); ${end};`;
    // With a reason to live left over, the script would not end and the test would time out.
    const directory = await mkdtemp(join(tmpdir(), 'surreal-temporary-'));
    const env = { ...process.env, TMPDIR: directory };
    const parent = spawn(process.execPath, ['--input-type=module', '-e', script], { env });
    const [output] = (await once(parent.stdout, 'data')) as [Buffer];
    await once(parent, 'close');
    await until(() => connect(output.toString().trim()).then(() => false, () => true)); // prettier-ignore
    await until(async () => (await readdir(directory)).length === 0);
    await rm(directory, { recursive: true });
  });
});
