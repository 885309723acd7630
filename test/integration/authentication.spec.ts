import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import type { INestApplicationContext } from '@nestjs/common';
import { RecordId, SURREAL, type Surreal, Table, Tenancy, type Tenant, type TenantSession } from 'nestjs-surreal';
import { createContext, moduleOptions, TenantMap } from '../support/application.js';
import { anna, bert, defineTenantWithPeople, mint } from '../support/people.js';
import { asRoot, type Database, defineTenant, startDatabase } from '../support/surreal.js';

/**
 * SurrealDB's own page on authentication, statement by statement in its order and in its present form: scopes are record
 * access methods now.
 */

let database: Database;
let app: INestApplicationContext;
let tenancy: Tenancy;
const open: INestApplicationContext[] = [];

beforeAll(async () => {
  database = await startDatabase();
  app = await createContext(moduleOptions(database, new TenantMap()));
  tenancy = app.get(Tenancy);
});
afterAll(async () => {
  await app?.close();
  await database?.stop();
});
afterEach(async () => {
  for (const one of open.splice(0)) await one.close();
});

const unauthenticated = { code: 'UNAUTHENTICATED', status: 401 };
const notAllowed = { code: 'NOT_ALLOWED', status: 403 };
const ofTenant = ({ namespace, database: name }: Tenant) => ({ namespace, database: name });
const rejection = (promise: PromiseLike<unknown>) => expect(Promise.resolve(promise)).rejects;

describe('system users', () => {
  it('a root-level user has visibility into all namespaces and databases', async () => {
    const [one, two] = [await defineTenant(database.admin), await defineTenant(database.admin)];
    await database.admin.query(`DEFINE USER john ON ROOT PASSWORD 'VerySecurePassword!' ROLES OWNER`);
    for (const tenant of [one, two])
      await asRoot(database.admin, tenant, `CREATE note:of SET ns = '${tenant.namespace}'`);
    await using db = await tenancy.attach();
    await db.signin({ username: 'john', password: 'VerySecurePassword!' });
    for (const tenant of [one, two]) {
      await db.use(ofTenant(tenant));
      expect(await db.query('SELECT VALUE ns FROM note')).toEqual([[tenant.namespace]]);
    }
    const [info] = await db.query<[{ namespaces: object }]>('INFO FOR ROOT');
    expect(Object.keys(info.namespaces)).toEqual(expect.arrayContaining([one.namespace, two.namespace]));
    // As a tenant's own credentials it is led into that tenant's database.
    const root: Tenant = {
      ...one,
      credentials: { type: 'user', level: 'root', username: 'john', password: 'VerySecurePassword!' },
    };
    expect(await tenancy.run(root, (own) => own.query('RETURN [session::ns(), session::db()]'))).toEqual([[one.namespace, 'main']]); // prettier-ignore
  });

  it('a namespace-level user has visibility into the databases of its namespace', async () => {
    const tenant = await defineTenant(database.admin, { level: 'namespace', role: 'OWNER' });
    const { username, password } = tenant.credentials as { username: string; password: string };
    await asRoot(database.admin, tenant, 'DEFINE DATABASE second');
    await using db = await tenancy.attach();
    await db.use({ namespace: tenant.namespace, database: 'second' });
    await db.signin({ namespace: tenant.namespace, username, password });
    expect(await db.query('RETURN session::db()')).toEqual(['second']);
    await rejection(db.query('INFO FOR ROOT')).toMatchObject(notAllowed);
  });

  it('a database-level user must give the namespace and database', async () => {
    const schema = `DEFINE USER mary ON DATABASE PASSWORD 'VerySecurePassword!' ROLES EDITOR`;
    const tenant = await defineTenant(database.admin, { schema });
    const mary = { username: 'mary', password: 'VerySecurePassword!' };
    await using db = await tenancy.attach();
    await rejection(db.signin(mary)).toMatchObject(unauthenticated);
    await rejection(db.signin({ ...mary, namespace: tenant.namespace })).toMatchObject(unauthenticated);
    await rejection(db.signin({ ...mary, database: 'main' } as never)).toMatchObject({ code: 'INVALID_OPTIONS' });
    await rejection(db.query('RETURN 1')).toMatchObject(unauthenticated);
    await db.signin({ ...mary, ...ofTenant(tenant) });
    expect(await db.query('RETURN [session::ns(), session::db()]')).toEqual([[tenant.namespace, 'main']]);
    // A tenant's session knows them already.
    await tenancy.run(tenant, async (own) => {
      await own.signin(mary);
      expect(await own.query('RETURN $token.ID')).toEqual(['mary']);
    });
  });

  describe.each(['OWNER', 'EDITOR', 'VIEWER'] as const)('of role %s', (role) => {
    let tenant: Tenant;
    beforeAll(async () => {
      tenant = await defineTenant(database.admin, { role });
      await asRoot(database.admin, tenant, 'CREATE note:kept; CREATE person:one, person:two');
    });
    const run = <Result>(work: (db: TenantSession) => Promise<Result>) => tenancy.run(tenant, work);
    const isAllowed = (statement: string) =>
      run(async (db) => {
        await db.query(statement);
        return true;
      }).catch((error: unknown) => {
        if ((error as { code?: string }).code !== 'NOT_ALLOWED') throw error;
        return false;
      });

    it('reads', async () => {
      expect(await run((db) => db.query('SELECT VALUE id FROM note:kept'))).toHaveLength(1);
      expect(await isAllowed('INFO FOR DB')).toBe(true);
    });

    it.each([
      ['CREATE note:made', 'note:made'],
      ['INSERT INTO note { id: "inserted" }', 'note:inserted'],
      ['UPSERT note:upserted', 'note:upserted'],
      ['RELATE person:one->knows->person:two SET id = knows:edge', 'knows:edge'],
    ])('writes, unless it is a VIEWER, to whom the database says nothing: %s', async (statement, record) => {
      const results = await run((db) => db.query<[unknown[]]>(statement));
      expect(results[0]).toHaveLength(role === 'VIEWER' ? 0 : 1);
      expect(await asRoot(database.admin, tenant, `RETURN record::exists(${record})`)).toEqual([role !== 'VIEWER']);
    });

    it('changes and deletes, unless it is a VIEWER', async () => {
      await asRoot(database.admin, tenant, 'CREATE note:old SET n = 1');
      expect(await run((db) => db.query('UPDATE note:old SET n = 2'))).toEqual([role === 'VIEWER' ? [] : [expect.objectContaining({ n: 2 })]]); // prettier-ignore
      await run((db) => db.query('DELETE note:old'));
      expect(await asRoot(database.admin, tenant, 'RETURN record::exists(note:old)')).toEqual([role === 'VIEWER']);
    });

    it('defines tables, unless it is a VIEWER', async () => {
      expect(await isAllowed('DEFINE TABLE made')).toBe(role !== 'VIEWER');
    });

    it('defines users and access methods only as an OWNER, and nothing above its database', async () => {
      expect(await isAllowed(`DEFINE USER made ON DATABASE PASSWORD 'x' ROLES VIEWER`)).toBe(role === 'OWNER');
      expect(await isAllowed(`DEFINE ACCESS made ON DATABASE TYPE JWT ALGORITHM HS256 KEY 'k'`)).toBe(role === 'OWNER');
      for (const above of [
        'INFO FOR NS',
        'INFO FOR ROOT',
        'DEFINE NAMESPACE made',
        `DEFINE USER made ON ROOT PASSWORD 'x' ROLES OWNER`,
      ]) {
        expect(await isAllowed(above)).toBe(false);
      }
    });
  });
});

describe('record users', () => {
  let tenant: Tenant;
  let strictApp: INestApplicationContext;
  let strict: Tenancy;
  beforeAll(async () => {
    const schema = `DEFINE TABLE bare SCHEMALESS; CREATE bare:1`;
    tenant = await defineTenantWithPeople(database.admin, {
      schema,
      duration: 'DURATION FOR TOKEN 1h, FOR SESSION 1d',
    });
    strictApp = await createContext(moduleOptions(database, new TenantMap(), { strictWrites: true }));
    strict = strictApp.get(Tenancy);
  });
  afterAll(() => strictApp?.close());
  const asUser = <Result>(user: Record<string, unknown>, work: (db: TenantSession) => Promise<Result>, by = tenancy) =>
    by.run(tenant, async (db) => {
      await db.signin({ access: 'account', variables: user });
      return await work(db);
    });

  it('have no permissions by default: a table without PERMISSIONS is closed to them', async () => {
    await asUser(anna, async (db) => {
      expect(await db.select(new Table('bare'))).toEqual([]);
      expect(await db.query('CREATE bare:2')).toEqual([[]]);
      await rejection(db.query('INFO FOR DB')).toMatchObject(notAllowed);
      await rejection(db.query('DEFINE TABLE made')).toMatchObject(notAllowed);
    });
    expect(await asRoot(database.admin, tenant, 'SELECT VALUE id FROM bare')).toEqual([[new RecordId('bare', 1)]]);
  });

  it('sign up, then sign in, then select their own record only', async () => {
    const carl = { name: 'Carl', email: 'carl@example.com', pass: 'carl pass' };
    await tenancy.run(tenant, async (db) => {
      const tokens = await db.signup({ access: 'account', variables: carl });
      expect(tokens).toEqual({
        access: expect.stringMatching(/^ey/),
        refresh: expect.stringMatching(/^surreal-refresh-/),
      });
      expect(await db.query('RETURN $auth.name')).toEqual(['Carl']);
    });
    await asUser({ email: carl.email, pass: carl.pass }, async (db) => {
      const users = await db.select<Record<string, unknown>>(new Table('user'));
      expect(users).toEqual([{ id: expect.anything(), name: 'Carl', email: carl.email }]);
      expect(await db.auth()).toMatchObject({ email: carl.email });
      // Whoever can read a record reads its fields, but for those that say otherwise.
      expect(users[0]).not.toHaveProperty('pass');
    });
  });

  it('update and delete their own record', async () => {
    await asRoot(
      database.admin,
      tenant,
      `CREATE user:own SET email = 'own@example.com', pass = crypto::argon2::generate('own')`,
    );
    await asUser({ email: 'own@example.com', pass: 'own' }, async (db) => {
      expect(await db.update(new RecordId('user', 'own')).merge({ name: 'Own' })).toMatchObject({ name: 'Own' });
      expect(await db.delete(new RecordId('user', 'own'))).toMatchObject({ name: 'Own' });
    });
    expect(await asRoot(database.admin, tenant, 'RETURN record::exists(user:own)')).toEqual([false]);
  });

  it('learn nothing of what they do to their own record where PERMISSIONS say id = $auth.id, as the page does', async () => {
    const schema = 'DEFINE TABLE OVERWRITE user SCHEMAFULL PERMISSIONS FOR select, update, delete WHERE id = $auth.id';
    const own = await defineTenantWithPeople(database.admin, { schema });
    await tenancy.run(own, async (db) => {
      await db.signin({ access: 'account', variables: anna });
      // While a record is written, SurrealDB 3.0 does not find it by $auth.id: it is written, and not shown. id = $auth does.
      expect(await db.update(new RecordId('user', 'anna')).merge({ name: 'New' })).toBeUndefined();
      expect(await db.query('SELECT VALUE name FROM user')).toEqual([['New']]);
    });
  });

  it('cannot update or delete the records of others: nothing happens, and nothing is said', async () => {
    await asUser(anna, async (db) => {
      expect(await db.update(new RecordId('user', 'bert')).merge({ name: 'taken' })).toBeUndefined();
      expect(await db.delete(new RecordId('memo', 'bert'))).toBeUndefined();
      expect(await db.query('UPDATE memo SET text = "taken" WHERE owner != $auth.id')).toEqual([[]]);
      expect(
        await db.create(new RecordId('memo', 'x')).content({ owner: new RecordId('user', 'bert') }),
      ).toBeUndefined();
    });
    expect(await asRoot(database.admin, tenant, 'RETURN [user:bert.name, memo:bert.text, record::exists(memo:x)]')).toEqual([['Bert', 'of Bert', false]]); // prettier-ignore
  });

  it('are told so under strictWrites, by the option and by the call', async () => {
    const [bertsMemo, bertsUser] = [new RecordId('memo', 'bert'), new RecordId('user', 'bert')];
    const [annasUser, annasMemo] = [new RecordId('user', 'anna'), new RecordId('memo', 'anna')];
    const memo = new Table('memo');
    const forbidden = (db: Pick<TenantSession, 'create' | 'update' | 'upsert' | 'delete' | 'insert' | 'relate'>) => [
      () => db.update(bertsUser).merge({ name: 'taken' }),
      () => db.update(bertsMemo).content({ text: 'taken' }),
      () => db.delete(bertsMemo),
      () => db.delete(bertsMemo).output('before'),
      () => db.upsert(bertsMemo).merge({ text: 'taken' }),
      () => db.create(memo).content({ owner: bertsUser }),
      () => db.create(new RecordId('memo', 'x')).content({ owner: bertsUser }),
      () => db.insert(memo, { owner: bertsUser }),
      () => db.insert(memo, [{ owner: annasUser, text: 'kept' }, { owner: bertsUser }]),
      () => db.relate(bertsMemo, new Table('about'), annasMemo),
      () => db.relate([bertsMemo, annasMemo], new Table('about'), [annasMemo]),
      () => db.update(new RecordId('memo', 'nowhere')).merge({ text: 'x' }),
    ];
    const allowed = (db: TenantSession) => [
      () => db.update(annasMemo).merge({ text: 'of Anna' }),
      () => db.create(memo).content({ owner: annasUser, text: 'kept' }),
      () => db.insert(memo, [{ owner: annasUser, text: 'kept' }]),
      () => db.relate(annasMemo, new Table('about'), bertsMemo),
      // These may well find nothing.
      () =>
        db
          .update(memo)
          .merge({ text: 'x' })
          .where('false' as never),
      () => db.delete(new Table('bare')),
      () => db.update(annasMemo).merge({ text: 'of Anna' }).output('none'),
      () => db.update(annasMemo).merge({ text: 'of Anna' }).output('diff'),
      () => db.insert(memo, { id: annasMemo, owner: annasUser }).ignore(),
      // What the application has written out it answers for itself.
      () => db.query('DELETE memo:bert'),
      () => db.query('UPDATE ONLY $it SET text = "taken"', { it: bertsMemo }),
    ];
    await asUser(
      anna,
      async (db) => {
        const lenient = db.withOptions({ strictWrites: false });
        for (const write of forbidden(db)) await rejection(write()).toMatchObject({ ...notAllowed, message: expect.stringContaining('strictWrites') }); // prettier-ignore
        for (const write of allowed(db)) await write();
        for (const write of forbidden(lenient as TenantSession)) await write();
      },
      strict,
    );
    await asUser(anna, async (db) => {
      for (const write of forbidden(db)) await write();
      const own = db.withOptions({ strictWrites: true });
      for (const write of forbidden(own as TenantSession)) await rejection(write()).toMatchObject(notAllowed);
    });
    expect(await asRoot(database.admin, tenant, 'RETURN [user:bert.name, memo:bert.text]')).toEqual([
      ['Bert', 'of Bert'],
    ]);
    // Also in a transaction, and for system users without the right.
    const viewer = await defineTenant(database.admin, { role: 'VIEWER' });
    await strict.run(viewer, async (db) => {
      const transaction = await db.begin();
      await rejection(transaction.create(new Table('note'))).toMatchObject(notAllowed);
      expect(await transaction.withOptions({ strictWrites: false }).create(new Table('note'))).toEqual([]);
    });
    await tenancy.run(viewer, (db) => rejection(db.create(new Table('note'))).toMatchObject(notAllowed), { strictWrites: true }); // prettier-ignore
    await rejection(tenancy.run(viewer, () => 1, { strictWrites: 'yes' as never })).toMatchObject({ code: 'INVALID_OPTIONS' }); // prettier-ignore
  });

  it('cannot take an email address that is in use, or that is none', async () => {
    await tenancy.run(tenant, async (db) => {
      const signup = (email: string) => db.signup({ access: 'account', variables: { email, pass: 'x' } });
      await rejection(signup(anna.email)).toMatchObject(notAllowed);
      await rejection(signup('no address')).toMatchObject(notAllowed);
      // By a session that may see why, the database says so.
      const content = { email: anna.email, pass: 'x' };
      await rejection(db.create(new Table('user')).content(content)).toMatchObject({
        code: 'ALREADY_EXISTS',
        status: 409,
      });
      await rejection(db.create(new Table('user')).content({ ...content, email: 'x' })).toMatchObject({
        code: 'INVALID_VALUE',
        status: 422,
        field: 'email',
      });
    });
  });

  it('find in $auth, $session, $token and $access who they are', async () => {
    await asUser(anna, async (db) => {
      const [row] = await db.query<[{ token: { exp: number }; session: { exp: number } }]>(
        'RETURN { auth: $auth, session: $session, token: $token, access: $access }',
      );
      expect(row).toMatchObject({
        auth: new RecordId('user', 'anna'),
        access: 'account',
        session: { ns: tenant.namespace, db: 'main', ac: 'account', rd: new RecordId('user', 'anna') },
        token: { NS: tenant.namespace, DB: 'main', AC: 'account', ID: 'user:anna', iss: 'SurrealDB' },
      });
      const now = Date.now() / 1000;
      expect(row.token.exp - now).toBeGreaterThan(3_500);
      expect(row.token.exp - now).toBeLessThanOrEqual(3_600);
      // The session's end is not the token's, whatever the page of version 1 says.
      expect(row.session.exp - now).toBeGreaterThan(86_300);
    });
    // A system user with a password has no session that ends.
    await tenancy.run(tenant, async (db) => expect(await db.query('RETURN [$auth, $session.exp]')).toEqual([[undefined, undefined]])); // prettier-ignore
  });

  it('are each somebody else, though they sign in one after the other in the same session', async () => {
    await tenancy.run(tenant, async (db) => {
      for (const user of [anna, bert, anna]) {
        await db.signin({ access: 'account', variables: user });
        expect(await db.query('RETURN $auth.email')).toEqual([user.email]);
      }
      await rejection(db.signin({ access: 'account', variables: { ...bert, pass: 'wrong' } })).toMatchObject(
        unauthenticated,
      );
      expect(await db.query('RETURN $auth.email')).toEqual([anna.email]);
    });
  });
});

describe('expiration', () => {
  it('an expired session says so, and goes on on the same connection by signin() and by authenticate()', async () => {
    const duration = 'DURATION FOR TOKEN 1h, FOR SESSION 1s';
    const tenant = await defineTenantWithPeople(database.admin, { duration });
    const expired = { code: 'SESSION_EXPIRED', status: 401 };
    await using db = await tenancy.attach(tenant);
    const { access } = await db.signin({ access: 'account', variables: anna });
    const whoami = () => db.query('RETURN <string> $auth');
    expect(await whoami()).toEqual(['user:anna']);
    await sleep(2_100);
    await rejection(whoami()).toMatchObject(expired);
    await db.signin({ access: 'account', variables: bert });
    expect(await whoami()).toEqual(['user:bert']);
    await sleep(2_100);
    await rejection(whoami()).toMatchObject(expired);
    // The token outlives the session, and opens a new one.
    await db.authenticate(access);
    expect(await whoami()).toEqual(['user:anna']);
  });

  it('a session goes on after its token has ended, but the token opens no other', async () => {
    const duration = 'DURATION FOR TOKEN 1s, FOR SESSION 1h';
    const tenant = await defineTenantWithPeople(database.admin, { duration });
    await tenancy.run(tenant, async (db) => {
      const { access } = await db.signin({ access: 'account', variables: anna });
      await sleep(2_100);
      expect(await db.query('RETURN <string> $auth')).toEqual(['user:anna']);
      await rejection(db.authenticate(access)).toMatchObject(unauthenticated);
      expect(await db.query('RETURN <string> $auth')).toEqual(['user:anna']);
    });
  });

  it('a system user whose password was changed is out within maxLifetimeMillis, and in with the new one', async () => {
    const other = await createContext(
      moduleOptions(database, new TenantMap(), { sessions: { maxLifetimeMillis: 400 } }),
    );
    open.push(other);
    const tenant = await defineTenant(database.admin);
    const { username } = tenant.credentials as { username: string };
    const ask = (of: Tenant) => other.get(Tenancy).run(of, (db) => db.query('RETURN 1'));
    await ask(tenant);
    await asRoot(database.admin, tenant, `DEFINE USER OVERWRITE ${username} ON DATABASE PASSWORD 'new' ROLES EDITOR`);
    await sleep(500);
    await rejection(ask(tenant)).toMatchObject({ code: 'TENANT_SIGNIN_FAILED' });
    const changed: Tenant = { ...tenant, credentials: { type: 'user', username, password: 'new' } };
    expect(await ask(changed)).toEqual([1]);
  });

  it('a deleted user’s token signs nobody in', async () => {
    const tenant = await defineTenantWithPeople(database.admin);
    await asRoot(database.admin, tenant, 'DELETE user:anna');
    await tenancy.run(tenant, async (db) => {
      await rejection(db.authenticate(mint(tenant))).toMatchObject(unauthenticated);
      await db.authenticate(mint(tenant, 'user:bert'));
      expect(await db.query('RETURN <string> $auth')).toEqual(['user:bert']);
    });
  });
});

it('the service’s own session is root, and no tenant’s', async () => {
  expect(await app.get<Surreal>(SURREAL).query('RETURN $token')).toMatchObject([{ ID: database.root.username }]);
});
