import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import type { Tenant } from 'nestjs-surreal';
import { SigninChannel } from '../../lib/connection/signin-channel.js';
import { SocketTransport } from '../../lib/connection/socket-transport.js';
import { obtainToken, type TokenisedCredentials } from '../../lib/session/credentials.js';
import { SessionSockets } from '../../lib/connection/session-sockets.js';
import { CallStatistics } from '../../lib/session/call-statistics.js';
import { SessionHandle } from '../../lib/session/session-handle.js';
import { SessionPool } from '../../lib/session/session-pool.js';
import { ServerSession, type SessionState } from '../../lib/session/server-session.js';
import { type SessionToken, TokenSource } from '../../lib/session/token-source.js';
import { type Database, defineTenant, faultsOf, itWithFaults, startDatabase } from '../support/surreal.js';

const LIMITS = {
  max: 10,
  maxOwnPerTenant: 10,
  idleTimeoutMillis: 60_000,
  maxLifetimeMillis: 60_000,
  recheckMillis: 60_000,
  acquireTimeoutMillis: 1_000,
  maxInFlight: 10,
  maxInFlightPerTenant: 10,
  maxWaiting: 10,
  maxWaitingPerTenant: 10,
};

const stateOf = (tenant: Tenant): SessionState => ({
  tenant,
  principal: { type: 'tenant' },
  variables: new Map(),
  target: tenant,
});

describe('ServerSession', () => {
  let database: Database;
  let acme: Tenant;
  let globex: Tenant;
  const open: { close(): Promise<void> }[] = [];

  beforeAll(async () => {
    database = await startDatabase();
    [acme, globex] = [await defineTenant(database.admin), await defineTenant(database.admin)];
  });
  afterAll(() => database?.stop());
  afterEach(() => Promise.all(open.splice(0).map((transport) => transport.close())));

  const connect = () => {
    const times = { requestTimeoutMillis: 5_000, pingIntervalMillis: 5_000, reconnect: {} };
    const transport = new SocketTransport({ urls: [new URL(database.url)], ...times });
    open.push(transport);
    const sockets = new SessionSockets([transport], LIMITS);
    const tokens = new TokenSource(SigninChannel.onSocket(transport), 5_000);
    const limits = { prepareTimeoutMillis: 5_000, maxLifetimeMillis: 60_000, recheckMillis: 60_000 };
    return { transport, sockets, tokens, ...limits, recordExists: () => Promise.resolve(false) };
  };

  /** Gives every tenant the token of another one, as a confused store, cache or signing service would. */
  class ConfusedTokens extends TokenSource {
    constructor(
      private readonly signins: SigninChannel,
      private readonly wrong: Tenant,
    ) {
      super(signins, 5_000);
    }

    override async get(): Promise<SessionToken> {
      const credentials = this.wrong.credentials as TokenisedCredentials;
      const value = await obtainToken(this.wrong, credentials, this.signins, 5_000);
      return { value, expiresAt: Infinity, renewAt: Infinity, verified: undefined };
    }
  }

  it("R1: is not ready when a token leads into another tenant's database", async () => {
    const { transport, ...rest } = connect();
    const tokens = new ConfusedTokens(SigninChannel.onSocket(transport), globex);
    const session = new ServerSession({ ...rest, tokens }, stateOf(acme), false);
    await expect(session.prepare()).rejects.toMatchObject({ code: 'TENANT_SIGNIN_FAILED' });
    expect(session.prepare()).toBeInstanceOf(Promise);
    await expect(session.prepare()).rejects.toMatchObject({ code: 'TENANT_SIGNIN_FAILED' });
  });

  it('R1: is not ready when a token is of another user in the same database', async () => {
    await database.admin.query(
      `USE NS ${acme.namespace} DB main; DEFINE USER second ON DATABASE PASSWORD 'two' ROLES OWNER`,
    );
    const { transport, ...rest } = connect();
    const second: Tenant = { ...acme, credentials: { type: 'user', username: 'second', password: 'two' } };
    const tokens = new ConfusedTokens(SigninChannel.onSocket(transport), second);
    const session = new ServerSession({ ...rest, tokens }, stateOf(acme), false);
    await expect(session.prepare()).rejects.toThrow(/own principal/);
  });

  it('is ready after prepare(), without a promise, and no more after close()', async () => {
    const resources = connect();
    const session = new ServerSession(resources, stateOf(acme), false);
    await session.prepare();
    expect(session.prepare()).toBeUndefined();
    await session.close('It was closed by the test.');
    await expect(session.prepare()).rejects.toThrow('It was closed by the test.');
    const query = { method: 'query', params: ['RETURN 1', {}], session: session.id };
    await expect(resources.transport.send(query)).rejects.toThrow(/Session not found/);
  });

  itWithFaults('R1: one that is given up while it signs in is not ready under the id that took its place', async () => {
    const resources = connect();
    // With a token that was seen to lead where it should, the sign-in ends with its answer.
    const first = new ServerSession(resources, stateOf(acme), false);
    await first.prepare();
    await first.close('over');
    const session = new ServerSession(resources, stateOf(acme), false);
    const hold = await faultsOf(database).holdAnswers({ method: 'authenticate' });
    const preparing = session.prepare();
    for (let tries = 0; tries < 200 && (await hold.held()) === 0; tries++) await sleep(10);
    await session.rebuild(session.id);
    await hold.release();
    await preparing;
    expect(session.isReady).toBe(true);
    const query = { method: 'query', params: ['RETURN session::ns()', {}], session: session.id };
    expect(await resources.transport.send(query)).toMatchObject([{ result: acme.namespace }]);
    await session.close('over');
  });

  it('leaves nothing on the server when it is closed while it is being prepared', async () => {
    const before = (await database.server?.sessions()) ?? 0;
    const resources = connect();
    const session = new ServerSession(resources, stateOf(acme), false);
    const preparing = session.prepare();
    await session.close('It was closed by the test.');
    await expect(preparing).rejects.toThrow('It was closed by the test.');
    expect((await database.server?.sessions()) ?? 0).toBe(before);
  });

  it('R1: one that the server has forgotten is attached anew and signed in, not used as anonymous', async () => {
    const resources = connect();
    const pool = new SessionPool<ServerSession>(LIMITS);
    const openShared = (tenant: Tenant) => new ServerSession(resources, stateOf(tenant), false);
    const openOwn = (state: SessionState) => new ServerSession(resources, state, true);
    const logins = SigninChannel.onSocket(resources.transport);
    const statistics = new CallStatistics();
    const settings = { requestTimeoutMillis: 5_000, strictWrites: false, transactionsKeepAuth: false };
    const all = { ...resources, ...settings, pool, openShared, openOwn, logins, statistics };
    const owner = { requireTenant: () => acme, evictions: 0, options: undefined, origin: undefined };
    const handle = new SessionHandle(all, owner);
    await handle.set('color', 'red');
    await resources.transport.send({ method: 'detach', session: handle.id });
    expect(await handle.query('RETURN [session::ns(), $color]')).toEqual([[acme.namespace, 'red']]);
    await handle.close('over');
    await pool.close();
  });
});
