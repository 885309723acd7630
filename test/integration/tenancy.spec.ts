import { inspect } from 'node:util';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Injectable } from '@nestjs/common';
import {
  NotAllowedError,
  RecordId,
  SessionClosedError,
  Table,
  Tenancy,
  type Tenant,
  TenantMismatchError,
  TenantNotFoundError,
  TenantSession,
  TenantSigninFailedError,
  UnauthenticatedError,
} from 'nestjs-surreal';
import { createContext, moduleOptions, TenantMap } from '../support/application.js';
import { asRoot, type Database, defineTenant, faultsOf, itWithFaults, startDatabase } from '../support/surreal.js';

@Injectable()
class Notes {
  constructor(readonly db: TenantSession) {}

  async where(): Promise<unknown> {
    return (await this.db.query('RETURN session::ns()'))[0];
  }
}

/** After this long a session of one second is over: the server counts in whole ones. */
const OVER_MILLIS = 2_300;

const WHO = 'RETURN [session::ns(), session::db(), $token.ID]';

describe('Tenancy', () => {
  let database: Database;
  let acme: Tenant;
  let globex: Tenant;
  const store = new TenantMap();
  let tenancy: Tenancy;
  let notes: Notes;
  let app: Awaited<ReturnType<typeof createContext>>;

  const define = async (...setup: Parameters<typeof defineTenant> extends [unknown, ...infer Rest] ? Rest : never) => {
    const tenant = await defineTenant(database.admin, ...setup);
    store.tenants.set(tenant.id, tenant);
    return tenant;
  };
  /** The methods of the messages that some work causes, in their order. */
  const messagesOf = async (work: () => Promise<unknown>) => {
    faultsOf(database).clearRequests();
    await work();
    return faultsOf(database).requests.map(({ method }) => method);
  };

  beforeAll(async () => {
    database = await startDatabase();
    acme = await define();
    globex = await define({ type: 'jwt' });
    app = await createContext(moduleOptions(database, store), { providers: [Notes] });
    tenancy = app.get(Tenancy);
    notes = app.get(Notes);
  });
  afterAll(async () => {
    await app?.close();
    await database?.stop();
  });

  describe('run', () => {
    it('gives what the work returns, and throws what it throws', async () => {
      expect(await tenancy.run(acme.id, () => 42)).toBe(42);
      await expect(tenancy.run(acme.id, () => Promise.reject(new Error('mine')))).rejects.toThrow('mine');
    });

    it('binds singletons to its tenant, through await, timers and parallel work', async () => {
      const places = await Promise.all(
        [acme, globex, acme, globex].map((tenant) =>
          tenancy.run(tenant, async () => {
            const first = await notes.where();
            await sleep(5);
            return [first, ...(await Promise.all([notes.where(), notes.where()]))];
          }),
        ),
      );
      expect(places).toEqual([acme, globex, acme, globex].map(({ namespace }) => [namespace, namespace, namespace]));
    });

    it('can be nested, and comes back to the outer tenant, also after a throw', async () => {
      await tenancy.run(acme, async () => {
        expect(tenancy.current()?.tenant.id).toBe(acme.id);
        await tenancy.run(globex, async () => expect(await notes.where()).toBe(globex.namespace));
        await tenancy.run(globex, () => Promise.reject(new Error())).catch(() => undefined);
        expect(await notes.where()).toBe(acme.namespace);
      });
      expect(tenancy.current()).toBeUndefined();
    });

    it('R3: closes the session when it ends', async () => {
      let kept: TenantSession | undefined;
      let forgotten: Promise<unknown> | undefined;
      await tenancy.run(acme, (db) => {
        kept = db;
        forgotten = sleep(20).then(() => notes.where());
      });
      await expect(Promise.resolve(kept?.query('RETURN 1'))).rejects.toThrow(SessionClosedError);
      await expect(forgotten).rejects.toThrow(SessionClosedError);
    });

    it('a query that is built in one unit of work stays with it, wherever it is awaited', async () => {
      const query = await tenancy.run(acme, () => ({ lazy: notes.db.query('RETURN session::ns()') }));
      await tenancy.run(globex, async () => {
        await expect(Promise.resolve(query.lazy)).rejects.toThrow(SessionClosedError);
      });
    });

    it('refuses a singleton outside of any unit of work, and says what to do', async () => {
      await expect(notes.where()).rejects.toMatchObject({
        code: 'CONTEXT_MISSING',
        message: expect.stringContaining('tenancy.run'),
      });
    });

    it.each([
      ['nobody', 'TENANT_NOT_FOUND'],
      ['a b', 'TENANT_INVALID'],
      ['', 'TENANT_INVALID'],
    ])('refuses the tenant %j with %s', async (id, code) => {
      await expect(tenancy.run(id, () => 1)).rejects.toMatchObject({ code });
    });

    it('takes a store that says null for one that knows nobody, as databases do', async () => {
      store.tenants.set('nothing', null as unknown as Tenant);
      await expect(tenancy.run('nothing', () => 1)).rejects.toMatchObject({ code: 'TENANT_NOT_FOUND' });
    });

    it('refuses a suspended tenant, and a record that is not sound', async () => {
      await expect(tenancy.run({ ...acme, status: 'suspended' }, () => 1)).rejects.toMatchObject({
        code: 'TENANT_SUSPENDED',
      });
      const unsound = { ...acme, credentials: { type: 'user', username: 'u' } } as unknown as Tenant;
      await expect(tenancy.run(unsound, () => 1)).rejects.toThrow(/"credentials.password"/);
    });
  });

  describe('messages', () => {
    itWithFaults(
      'R9: nothing before the first query; sign-in, attach, authenticate, identity check and query at the first',
      async () => {
        const tenant = await define();
        expect(await messagesOf(() => tenancy.run(tenant.id, () => 1))).toEqual([]);
        expect(await messagesOf(() => tenancy.run(tenant.id, (db) => db.query('RETURN 1')))).toEqual([
        'attach', 'signin', 'authenticate', 'query', 'query',
      ]); // prettier-ignore
        expect(await messagesOf(() => tenancy.run(tenant.id, (db) => db.query('RETURN 1')))).toEqual(['query']);
      },
    );

    itWithFaults('one sign-in however many come first at once', async () => {
      const tenant = await define();
      const messages = await messagesOf(() =>
        Promise.all(Array.from({ length: 50 }, () => tenancy.run(tenant, (db) => db.query('RETURN 1')))),
      );
      const count = (method: string) => messages.filter((one) => one === method).length;
      expect([count('signin'), count('attach'), count('authenticate'), count('query')]).toEqual([1, 1, 1, 51]);
    });

    itWithFaults('no sign-in at all with jwt credentials', async () => {
      const tenant = await define({ type: 'jwt' });
      expect(await messagesOf(() => tenancy.run(tenant, (db) => db.query('RETURN 1')))).toEqual([
        'attach', 'authenticate', 'query', 'query',
      ]); // prettier-ignore
    });

    itWithFaults('R2: a change takes a session of its own, and gives it back', async () => {
      await tenancy.run(acme, (db) => db.query('RETURN 1'));
      const messages = await messagesOf(() =>
        tenancy.run(acme, async (db) => {
          await db.query('RETURN 1');
          await db.set('a', 1);
          await db.query('RETURN $a');
        }),
      );
      expect(messages).toEqual(['query', 'attach', 'authenticate', 'let', 'query', 'detach']);
    });
  });

  describe('R2: changes stay with their handle', () => {
    it('variables, with two units of work of one tenant at once', async () => {
      const seen = await Promise.all(
        Array.from({ length: 20 }, (_, index) =>
          tenancy.run(acme, async (db) => {
            if (index % 2) await db.set('index', index);
            await sleep(2);
            return (await db.query('RETURN $index'))[0];
          }),
        ),
      );
      expect(seen).toEqual(seen.map((_, index) => (index % 2 ? index : undefined)));
    });

    it('a refused sign-in leaves the handle signed in as before', async () => {
      await tenancy.run(acme, async (db) => {
        await expect(db.signin({ username: 'nobody', password: 'wrong' })).rejects.toThrow(UnauthenticatedError);
        await expect(db.authenticate('a.b.c')).rejects.toThrow(UnauthenticatedError);
        expect(await db.query(WHO)).toEqual([
          [acme.namespace, 'main', (acme.credentials as { username: string }).username],
        ]);
      });
    });

    it('a sign-in inside the tenant is this handle alone', async () => {
      const tenant = await define({ schema: `DEFINE USER viewer ON DATABASE PASSWORD 'v' ROLES VIEWER` });
      await tenancy.run(tenant, async (db) => {
        const place = { namespace: tenant.namespace, database: tenant.database };
        await db.signin({ ...place, username: 'viewer', password: 'v' });
        expect(await db.query(WHO)).toEqual([[tenant.namespace, 'main', 'viewer']]);
        await tenancy.run(tenant, async (other) =>
          expect((await other.query<[string[]]>(WHO))[0][2]).not.toBe('viewer'),
        );
      });
    });

    it('record users sign up and in with no more than the access method and their variables', async () => {
      const tenant = await define({
        schema: `DEFINE TABLE user PERMISSIONS FOR select WHERE id = $auth.id;
          DEFINE ACCESS account ON DATABASE TYPE RECORD
            SIGNUP (CREATE user SET name = $name, pass = crypto::argon2::generate($pass))
            SIGNIN (SELECT * FROM user WHERE name = $name AND crypto::argon2::compare(pass, $pass))`,
      });
      const ann = { access: 'account', variables: { name: 'ann', pass: 'p' } };
      await tenancy.run(tenant, async (db) => {
        const { access } = await db.signup(ann);
        expect(access).toMatch(/^ey/);
        expect(await db.query('SELECT VALUE name FROM user')).toEqual([['ann']]);
        await db.invalidate();
        await expect(Promise.resolve(db.query('RETURN 1'))).rejects.toThrow(UnauthenticatedError);
        await db.signin(ann);
        expect(await db.auth<{ name: string }>()).toMatchObject({ name: 'ann' });
        await expect(db.signin({ ...ann, variables: { name: 'ann', pass: 'wrong' } })).rejects.toThrow(
          UnauthenticatedError,
        );
        await expect(db.signin({ ...ann, access: 'nope' })).rejects.toThrow(UnauthenticatedError);
      });
    });
  });

  describe('R1: a session never leaves its tenant', () => {
    it('use() outside is TENANT_MISMATCH, and nothing is sent', async () => {
      await tenancy.run(acme, async (db) => {
        database.server?.clearRequests();
        for (const target of [globex, { ...acme, database: 'other' }, { ...acme, namespace: 'other' }]) {
          await expect(db.use(target)).rejects.toThrow(TenantMismatchError);
        }
        expect(database.server?.count() ?? 0).toBe(0);
        await db.use(acme);
        expect(await db.query('RETURN session::ns()')).toEqual([acme.namespace]);
      });
    });

    it.each<[string, (db: TenantSession, token: string) => Promise<unknown>]>([
      ['authenticate() with a token of another tenant', (db, token) => db.authenticate(token)],
      [
        'signin() with credentials of another database',
        (db) => db.signin({ namespace: 'a', database: 'b', username: 'c', password: 'd' }),
      ],
    ])('%s is TENANT_MISMATCH, and the handle is closed', async (_case, enter) => {
      const other = await define();
      const { username, password } = other.credentials as { username: string; password: string };
      const place = { ns: other.namespace, db: other.database };
      const token = await database.admin.call<string>('signin', [{ ...place, user: username, pass: password }]);
      await database.admin.call('signin', [{ user: database.root.username, pass: database.root.password }]);
      await tenancy.run(acme, async (db) => {
        await expect(enter(db, token)).rejects.toThrow(TenantMismatchError);
        expect(db.isClosed).toBe(true);
        await expect(Promise.resolve(db.query('RETURN 1'))).rejects.toThrow(SessionClosedError);
      });
      await tenancy.run(acme, async (db) => expect(await db.query('RETURN session::ns()')).toEqual([acme.namespace]));
    });

    it('USE in the text of a query does not last', async () => {
      await tenancy.run(acme, async (db) => {
        await db.query(`USE NS ${globex.namespace} DB ${globex.database}`);
        expect(await db.query('RETURN session::ns()')).toEqual([acme.namespace]);
      });
    });
  });

  describe('levels and roles', () => {
    it.each(['database', 'namespace', 'root'] as const)(
      'a user of level %s works in the tenant’s database',
      async (level) => {
        const tenant = await define({ level });
        const id = new RecordId('note', level);
        await tenancy.run(tenant, async (db) => {
          await db.create(id).content({ text: level });
          expect((await db.query<[string[]]>(WHO))[0].slice(0, 2)).toEqual([tenant.namespace, 'main']);
        });
        await tenancy.run(tenant, async (db) => {
          await db.set('own', true);
          expect(await db.query('RETURN [session::db(), $own]')).toEqual([['main', true]]);
        });
        expect(await asRoot(database.admin, tenant, `SELECT VALUE text FROM ${id}`)).toEqual([[level]]);
      },
    );

    it.each(['namespace', 'root'] as const)(
      'a user of level %s does not create a database that is missing',
      async (level) => {
        const tenant = { ...(await define({ level })), database: 'missing' };
        await expect(tenancy.run(tenant, (db) => db.query('RETURN 1'))).rejects.toThrow(/"missing" does not exist/);
        const [info] = await asRoot<[{ databases: object }]>(
          database.admin,
          { ...tenant, database: 'main' },
          'INFO FOR NS',
        );
        expect(Object.keys(info.databases)).toEqual(['main']);
      },
    );

    it('a VIEWER reads', async () => {
      const tenant = await define({ role: 'VIEWER' });
      await asRoot(database.admin, tenant, `CREATE note:1 SET text = 'there'`);
      await tenancy.run(tenant, async (db) => {
        expect(await db.select(new Table('note'))).toMatchObject([{ text: 'there' }]);
        await expect(Promise.resolve(db.query('DEFINE TABLE x'))).rejects.toThrow(NotAllowedError);
      });
    });
  });

  describe('credentials', () => {
    it('that do not work fail alone, name the tenant, and show no secret', async () => {
      const broken: Tenant = {
        ...acme,
        id: 'broken',
        credentials: { type: 'user', username: 'u', password: 'pa55word' },
      };
      const error: unknown = await tenancy.run(broken, (db) => db.query('RETURN 1')).catch((thrown: unknown) => thrown);
      expect(error).toBeInstanceOf(TenantSigninFailedError);
      expect(error).toMatchObject({
        code: 'TENANT_SIGNIN_FAILED',
        retryable: true,
        message: expect.stringContaining('"broken"'),
      });
      expect(inspect(error, { depth: 9, showHidden: true })).not.toContain('pa55word');
    });

    itWithFaults('R6: are not tried again at once: one sign-in for a hundred requests', async () => {
      const broken: Tenant = { ...acme, id: 'broken2', credentials: { type: 'user', username: 'u', password: 'p' } };
      const messages = await messagesOf(async () => {
        for (let round = 0; round < 5; round++) {
          await Promise.all(
            Array.from({ length: 20 }, () => tenancy.run(broken, (db) => db.query('RETURN 1')).catch(() => undefined)),
          );
        }
      });
      expect(messages.filter((method) => method === 'signin')).toHaveLength(1);
    });

    it('a jwt key that is not the access method’s is refused', async () => {
      const forged: Tenant = {
        ...globex,
        id: 'forged',
        credentials: { ...globex.credentials, key: 'x'.repeat(64) } as never,
      };
      await expect(tenancy.run(forged, (db) => db.query('RETURN 1'))).rejects.toThrow(TenantSigninFailedError);
    });

    it('new ones in the store are used by new units of work; running ones go on', async () => {
      const tenant = await define();
      const { username } = tenant.credentials as { username: string };
      await tenancy.run(tenant.id, async (db) => {
        await db.query('RETURN 1');
        await asRoot(
          database.admin,
          tenant,
          `DEFINE USER OVERWRITE ${username} ON DATABASE PASSWORD 'new' ROLES EDITOR`,
        );
        store.tenants.set(tenant.id, { ...tenant, credentials: { type: 'user', username, password: 'new' } });
        await tenancy.run(tenant.id, async (fresh) => expect(await fresh.query('RETURN 1')).toEqual([1]));
        expect(await db.query('RETURN 2')).toEqual([2]);
      });
    });
  });

  describe('a session whose time is over on the server', () => {
    it('heals by itself for the tenant, variables and all', async () => {
      const tenant = await define();
      const { username, password } = tenant.credentials as { username: string; password: string };
      const brief = `DEFINE USER OVERWRITE ${username} ON DATABASE PASSWORD '${password}' ROLES EDITOR DURATION FOR SESSION 1s`;
      await asRoot(database.admin, tenant, brief);
      await tenancy.run(tenant, async (db) => {
        await db.set('color', 'red');
        await sleep(OVER_MILLIS);
        expect(await db.query('RETURN [session::ns(), $color]')).toEqual([[tenant.namespace, 'red']]);
      });
    });

    it('is SESSION_EXPIRED for a record user, who must sign in again', async () => {
      const tenant = await define({
        schema: `DEFINE TABLE user; DEFINE ACCESS brief ON DATABASE TYPE RECORD
          SIGNUP (CREATE user SET name = $name) SIGNIN (SELECT * FROM user WHERE name = $name) DURATION FOR SESSION 1s`,
      });
      await tenancy.run(tenant, async (db) => {
        await db.signup({ access: 'brief', variables: { name: 'ann' } });
        await sleep(OVER_MILLIS);
        await expect(Promise.resolve(db.query('RETURN 1'))).rejects.toMatchObject({
          code: 'SESSION_EXPIRED',
          status: 401,
        });
        await db.signin({ access: 'brief', variables: { name: 'ann' } });
        expect(await db.query('RETURN 1')).toEqual([1]);
      });
    });
  });

  describe('evict', () => {
    itWithFaults('closes the tenant’s sessions now, also those in use, and nobody else’s', async () => {
      const tenant = await define();
      await tenancy.run(acme, (db) => db.query('RETURN 1'));
      const before = await faultsOf(database).sessions();
      await tenancy.run(tenant, async (db) => {
        await db.query('RETURN 1');
        await tenancy.run(acme, async (neighbour) => {
          await neighbour.query('RETURN 1');
          await tenancy.evict(tenant.id);
          expect(await neighbour.query('RETURN 2')).toEqual([2]);
        });
        await expect(Promise.resolve(db.query('RETURN 1'))).rejects.toThrow(/evicted/);
      });
      expect(await faultsOf(database).sessions()).toBe(before);
      expect(await messagesOf(() => tenancy.run(tenant, (db) => db.query('RETURN 1')))).toContain('signin');
    });
  });

  it('attach() gives an error and keeps nothing when the tenant is not to be had', async () => {
    const broken: Tenant = { ...acme, id: 'broken3', credentials: { type: 'user', username: 'u', password: 'p' } };
    const before = await database.server?.sessions();
    await expect(tenancy.attach(broken)).rejects.toThrow(TenantSigninFailedError);
    await expect(tenancy.attach('nobody')).rejects.toThrow(TenantNotFoundError);
    expect(await database.server?.sessions()).toBe(before);
  });
});
