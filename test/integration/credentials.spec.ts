import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { inspect } from 'node:util';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { exportJWK, type JWK, SignJWT } from 'jose';
import { type JwtCredentials, Tenancy, type Tenant, type TenantCredentials } from 'nestjs-surreal';
import { obtainToken } from '../../lib/session/credentials.js';
import { createContext, moduleOptions, TenantMap } from '../support/application.js';
import { anna, defineTenantWithPeople, forge, inSeconds, mint } from '../support/people.js';
import { connect } from '../support/raw-client.js';
import {
  asRoot,
  type Database,
  defineTenant,
  dropConnections,
  faultsOf,
  itWithFaults,
  startDatabase,
} from '../support/surreal.js';

/** Every way in which a tenant itself signs in, and how each is renewed. */

let database: Database;
const open: { close(): Promise<void> }[] = [];

beforeAll(async () => {
  database = await startDatabase();
});
afterAll(() => database?.stop());
afterEach(async () => {
  for (const one of open.splice(0)) await one.close();
});

async function start(options: object = {}) {
  const app = await createContext(moduleOptions(database, new TenantMap(), options));
  open.push(app);
  return app.get(Tenancy);
}

const withCredentials = (tenant: Tenant, credentials: TenantCredentials): Tenant => ({ ...tenant, credentials });
const whoami = 'RETURN [session::ns(), session::db(), $token.AC]';
const refused = { code: 'TENANT_SIGNIN_FAILED', status: 503 };

describe('jwt', () => {
  const pem = (key: KeyObject, type: 'spki' | 'pkcs8') => key.export({ type, format: 'pem' }).toString();
  const rsa = () => generateKeyPairSync('rsa', { modulusLength: 2048 });
  const pairs = {
    RS256: rsa, RS384: rsa, RS512: rsa, PS256: rsa, PS384: rsa, PS512: rsa,
    ES256: () => generateKeyPairSync('ec', { namedCurve: 'P-256' }),
    ES384: () => generateKeyPairSync('ec', { namedCurve: 'P-384' }),
    EdDSA: () => generateKeyPairSync('ed25519'),
  } as const; // prettier-ignore
  const define = (algorithm: string, key: string) =>
    defineTenant(database.admin, {
      schema: `DEFINE ACCESS made ON DATABASE TYPE JWT ALGORITHM ${algorithm} KEY '${key}'`,
    });
  const credentials = (rest: Pick<JwtCredentials, 'key' | 'algorithm' | 'keyId'>): JwtCredentials => ({
    type: 'jwt',
    access: 'made',
    roles: ['Editor'],
    ...rest,
  });

  it.each(Object.keys(pairs) as (keyof typeof pairs)[])(
    'signs with a private key, as PEM and as JWK: %s',
    async (algorithm) => {
      const { publicKey, privateKey } = pairs[algorithm]();
      const tenant = await define(algorithm, pem(publicKey, 'spki'));
      const jwk = { ...(await exportJWK(privateKey)), kid: 'one', alg: algorithm } as JwtCredentials['key'];
      const tenancy = await start();
      for (const own of [credentials({ key: pem(privateKey, 'pkcs8'), algorithm }), credentials({ key: jwk })]) {
        await tenancy.run(withCredentials(tenant, own), async (db) => {
          expect(await db.query(whoami)).toEqual([[tenant.namespace, 'main', 'made']]);
          expect(await db.query('CREATE ONLY note:1; DELETE note:1')).toHaveLength(2);
        });
      }
    },
  );

  it.each(['HS256', 'HS384', 'HS512'] as const)('signs with a secret, as text and as JWK: %s', async (algorithm) => {
    const secret = 'a secret that is shared';
    const tenant = await define(algorithm, secret);
    const tenancy = await start();
    const jwk = { kty: 'oct', k: Buffer.from(secret).toString('base64url') };
    for (const key of [secret, jwk]) {
      await tenancy.run(withCredentials(tenant, credentials({ key, algorithm })), async (db) => {
        expect(await db.query(whoami)).toEqual([[tenant.namespace, 'main', 'made']]);
      });
    }
    await expect(
      tenancy.run(withCredentials(tenant, credentials({ key: 'another', algorithm })), (db) => db.query('RETURN 1')),
    ).rejects.toMatchObject(refused);
  });

  it('mints short-lived tokens that name their key', async () => {
    const tenant = await define('HS512', 'k');
    const headerAndLife = async (own: JwtCredentials) => {
      const token = await obtainToken(withCredentials(tenant, own), own, undefined as never, 1_000);
      const [header, claims] = token.split('.').slice(0, 2).map((part) => JSON.parse(Buffer.from(part, 'base64url').toString()));
      return [header.kid, claims.exp - claims.iat];
    }; // prettier-ignore
    expect(await headerAndLife(credentials({ key: 'k' }))).toEqual([undefined, 300]);
    expect(await headerAndLife(credentials({ key: 'k', keyId: 'two' }))).toEqual(['two', 300]);
    expect(await headerAndLife(credentials({ key: { kty: 'oct', k: 'aw', kid: 'three' } }))).toEqual(['three', 300]);
  });

  it('is renewed where the session ends: DURATION FOR SESSION', async () => {
    const tenant = await defineTenant(database.admin, {
      schema: `DEFINE ACCESS made ON DATABASE TYPE JWT ALGORITHM HS512 KEY 'k' DURATION FOR SESSION 1s`,
    });
    const tenancy = await start();
    await tenancy.run(withCredentials(tenant, credentials({ key: 'k' })), async (db) => {
      expect(await db.query('RETURN 1')).toEqual([1]);
      await sleep(2_100);
      expect(await db.query(whoami)).toEqual([[tenant.namespace, 'main', 'made']]);
    });
  });

  it('R7: shows no JSON Web Key in errors, inspect() and JSON', async () => {
    const key = (await exportJWK(rsa().privateKey)) as JWK & { kty: string };
    const tenant = withCredentials(await defineTenant(database.admin), credentials({ key, algorithm: 'RS256' }));
    const tenancy = await start();
    const error: unknown = await tenancy.run(tenant, (db) => db.query('RETURN 1')).catch((cause: unknown) => cause);
    expect(error).toMatchObject(refused);
    const shown = await tenancy.run(tenant, (db) => inspect(db.tenant, { depth: 9 }) + JSON.stringify(db.tenant));
    for (const text of [inspect(error, { depth: 9 }), shown]) expect(text).not.toContain(key.d!.slice(0, 20));
  });
});

describe('token', () => {
  const minted = (tenant: Tenant, seconds: number, claims: object = {}) => {
    const { key } = tenant.credentials as { key: string };
    const { namespace: ns, database: db } = tenant;
    return forge({ alg: 'HS512' }, { ns, db, ac: 'app', rl: ['Editor'], exp: inSeconds(seconds), ...claims }, key);
  };
  let tenant: Tenant;
  beforeAll(async () => {
    tenant = await defineTenant(database.admin, { type: 'jwt' });
  });
  const asked = (tokens: () => string | Promise<string>) => withCredentials(tenant, { type: 'token', token: tokens });

  it('signs in with one that is given, of whatever principal of the tenant it is', async () => {
    const people = await defineTenantWithPeople(database.admin);
    const { username, password } = people.credentials as { username: string; password: string };
    const signin = { ns: people.namespace, db: people.database, user: username, pass: password };
    const client = await connect(database.url);
    const ofUser = String(await client.call('signin', [signin]));
    await client.close();
    const tenancy = await start();
    for (const [own, token, auth] of [
      [tenant, minted(tenant, 600), undefined],
      [people, ofUser, undefined],
      [people, mint(people), 'user:anna'],
    ] as const) {
      await tenancy.run(withCredentials(own, { type: 'token', token }), async (db) => {
        expect(await db.query('RETURN [session::ns(), $auth AND <string> $auth]')).toEqual([
          [own.namespace, auth ?? undefined],
        ]);
      });
    }
    // Of a record user: what holds for those holds here.
    await tenancy.run(withCredentials(people, { type: 'token', token: mint(people) }), async (db) => {
      await expect(db.begin()).rejects.toMatchObject({ code: 'TRANSACTION_UNSUPPORTED' });
    });
  });

  it('asks the function once for all, and again before the token ends, without a timer', async () => {
    let count = 0;
    const own = asked(async () => {
      count++;
      await sleep(20);
      return minted(tenant, 3);
    });
    const tenancy = await start({ sessions: { maxLifetimeMillis: 300 } });
    const ask = () => tenancy.run(own, (db) => db.query('RETURN 1'));
    await Promise.all(Array.from({ length: 20 }, ask));
    expect(count).toBe(1);
    await sleep(400);
    // A session that signs in again takes the token that is there.
    await ask();
    expect(count).toBe(1);
    await sleep(2_700);
    expect(await ask()).toEqual([1]);
    expect(count).toBe(2);
  });

  it.each<[string, () => string | Promise<string>]>([
    ['throws', () => { throw new Error('pa55word of the issuer'); }],
    ['gives nothing', () => undefined as never],
    ['gives no token', () => 'no token'],
    ["gives another tenant's token", () => forge({ alg: 'HS512' }, { ns: 'x', db: 'y', ac: 'app', exp: inSeconds(60) }, 'k')],
    ['gives an expired one', () => minted(tenant, -5)],
  ])('R6: a function that %s fails its tenant alone, with a pause', async (_case, token) => {
    const tenancy = await start();
    let count = 0;
    const own = asked(() => {
      count++;
      return token();
    });
    for (let round = 0; round < 5; round++) {
      const error: unknown = await tenancy.run(own, (db) => db.query('RETURN 1')).catch((cause: unknown) => cause);
      expect(error).toMatchObject(refused);
      expect((error as Error).message).toMatch(/function in credentials.token/);
      expect((error as Error).message).not.toContain('pa55word');
    }
    // One fresh token may do where one was refused; then nobody asks for a while.
    expect(count).toBeLessThanOrEqual(2);
    await tenancy.run(withCredentials(tenant, { type: 'token', token: minted(tenant, 60) }), async (db) => {
      expect(await db.query('RETURN 1')).toEqual([1]);
    });
  }); // prettier-ignore

  it('R1: is not taken for another tenant, whoever gives it', async () => {
    const other = await defineTenant(database.admin, { type: 'jwt' });
    const tenancy = await start();
    const own = asked(() => minted(other, 60));
    await expect(tenancy.run(own, (db) => db.query(whoami))).rejects.toMatchObject(refused);
  });

  it('R5: does not wait for ever for a function that never answers', async () => {
    const tenancy = await start({ requestTimeoutMillis: 300 });
    const own = asked(() => new Promise<string>(() => undefined));
    await expect(tenancy.run(own, (db) => db.query('RETURN 1'))).rejects.toMatchObject({ code: 'REQUEST_TIMEOUT' });
  });

  it('of a user above the databases enters the tenant’s, and creates none', async () => {
    const home = await defineTenant(database.admin, { level: 'namespace', role: 'EDITOR' });
    const { username, password } = home.credentials as { username: string; password: string };
    const client = await connect(database.url);
    const token = String(await client.call('signin', [{ ns: home.namespace, user: username, pass: password }]));
    await client.close();
    const tenancy = await start();
    const own = withCredentials(home, { type: 'token', token });
    expect(await tenancy.run(own, (db) => db.query('RETURN [session::ns(), session::db()]'))).toEqual([[home.namespace, 'main']]); // prettier-ignore
    const lost = { ...own, database: 'nowhere' };
    await expect(tenancy.run(lost, (db) => db.query('RETURN 1'))).rejects.toMatchObject(refused);
    const [info] = await asRoot<[{ databases: object }]>(database.admin, home, 'INFO FOR NS');
    expect(Object.keys(info.databases)).toEqual(['main']);
  });
});

describe('bearer', () => {
  const define = async (duration = '') => {
    const tenant = await defineTenant(database.admin, {
      schema: `DEFINE USER robot ON DATABASE PASSWORD 'x' ROLES EDITOR;
        DEFINE ACCESS api ON DATABASE TYPE BEARER FOR USER ${duration}`,
    });
    const [grant] = await asRoot<[{ id: string; grant: { key: string } }]>(
      database.admin,
      tenant,
      'ACCESS api GRANT FOR USER robot',
    );
    return { tenant: withCredentials(tenant, { type: 'bearer', access: 'api', key: grant.grant.key }), id: grant.id };
  };

  itWithFaults('signs each session in with the key, in one message, and again after a drop', async () => {
    const { tenant } = await define();
    const tenancy = await start();
    const server = faultsOf(database);
    const ask = () => tenancy.run(tenant, (db) => db.query(whoami));
    server.clearRequests();
    expect(await ask()).toEqual([[tenant.namespace, 'main', 'api']]);
    expect(server.requests.map(({ method }) => method)).toEqual(['attach', 'signin', 'query', 'query']);
    server.clearRequests();
    await ask();
    expect(server.requests.map(({ method }) => method)).toEqual(['query']);
    await dropConnections(database);
    expect(await ask()).toEqual([[tenant.namespace, 'main', 'api']]);
  });

  it('is renewed where the session ends, and refused once it is revoked, within maxLifetimeMillis', async () => {
    const { tenant, id } = await define('DURATION FOR SESSION 1s');
    const tenancy = await start({ sessions: { maxLifetimeMillis: 3_000 } });
    await tenancy.run(tenant, async (db) => {
      expect(await db.query('RETURN 1')).toEqual([1]);
      await sleep(2_100);
      expect(await db.query('RETURN 2')).toEqual([2]);
      await asRoot(database.admin, tenant, `ACCESS api REVOKE GRANT ${id}`);
      await sleep(2_100);
      await expect(Promise.resolve(db.query('RETURN 3'))).rejects.toMatchObject(refused);
    });
  });

  itWithFaults('R6: a wrong key is tried once, then there is a pause', async () => {
    const { tenant } = await define();
    const tenancy = await start();
    const wrong = withCredentials(tenant, { type: 'bearer', access: 'api', key: 'surreal-bearer-x-y' });
    faultsOf(database).clearRequests();
    for (let round = 0; round < 5; round++) {
      await expect(tenancy.run(wrong, (db) => db.query('RETURN 1'))).rejects.toMatchObject(refused);
    }
    expect(faultsOf(database).count('signin')).toBe(1);
  });

  it('is what a handle can sign in with, as a user and as a record user', async () => {
    const { tenant } = await define();
    const people = await defineTenantWithPeople(database.admin, {
      schema: 'DEFINE ACCESS keys ON DATABASE TYPE BEARER FOR RECORD',
    });
    const [grant] = await asRoot<[{ grant: { key: string } }]>(database.admin, people, 'ACCESS keys GRANT FOR RECORD user:anna'); // prettier-ignore
    const tenancy = await start();
    const { access, key } = tenant.credentials as { access: string; key: string };
    await tenancy.run(tenant, async (db) => {
      const tokens = await db.signin({ access, key });
      expect(tokens.access).toMatch(/^ey/);
      expect(await db.query('RETURN [session::ns(), $token.ID]')).toEqual([[tenant.namespace, 'robot']]);
      await expect(db.signin({ access, key: 'surreal-bearer-x-y' })).rejects.toMatchObject({ code: 'UNAUTHENTICATED' });
      expect(await db.query('RETURN $token.ID')).toEqual(['robot']);
    });
    await tenancy.run(people, async (db) => {
      await db.signin({ access: 'keys', key: grant.grant.key });
      expect(await db.query('RETURN <string> $auth')).toEqual(['user:anna']);
      await expect(db.signin({ access: 'api', key })).rejects.toMatchObject({ code: 'UNAUTHENTICATED' });
    });
    await using db = await tenancy.attach();
    await db.signin({ namespace: people.namespace, database: people.database, access: 'keys', key: grant.grant.key });
    expect(await db.query('RETURN <string> $auth')).toEqual(['user:anna']);
    await expect(db.signin({ access: 'account', variables: anna })).resolves.toHaveProperty('access');
  });
});

describe('third-party tokens', () => {
  it('HS512 and RS256 that an issuer has signed are taken by an access method WITH JWT', async () => {
    const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const tenant = await defineTenantWithPeople(database.admin, {
      schema: `DEFINE ACCESS sso ON DATABASE TYPE RECORD
        WITH JWT ALGORITHM RS256 KEY '${publicKey.export({ type: 'spki', format: 'pem' }).toString()}'
        AUTHENTICATE { RETURN (SELECT VALUE id FROM user WHERE email = $token.email)[0] }`,
    });
    const tenancy = await start();
    const claims = { ns: tenant.namespace, db: tenant.database, ac: 'sso', email: anna.email };
    const signed = (by: KeyObject, own: object = {}) =>
      new SignJWT({ ...claims, ...own }).setProtectedHeader({ alg: 'RS256' }).setExpirationTime('1m').sign(by);
    await tenancy.run(tenant, async (db) => {
      await db.authenticate(await signed(privateKey));
      expect(await db.query('RETURN [<string> $auth, $token.email]')).toEqual([['user:anna', anna.email]]);
      for (const token of [
        await signed(generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey),
        await signed(privateKey, { email: 'nobody@example.com' }),
      ]) {
        await expect(db.authenticate(token)).rejects.toMatchObject({ code: 'UNAUTHENTICATED' });
      }
      await db.authenticate(mint(tenant, 'user:bert'));
      expect(await db.query('RETURN <string> $auth')).toEqual(['user:bert']);
    });
  });
});
