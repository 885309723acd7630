import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, afterEach, expect, it } from '@jest/globals';
import { SURREAL, type Surreal, Table, Tenancy, type Tenant, type TenantSession } from 'nestjs-surreal';
import { createContext, moduleOptions, TenantMap } from '../support/application.js';
import { connect } from '../support/raw-client.js';
import { asRoot, type Database, defineTenant, faultsOf, startDatabase } from '../support/surreal.js';

let database: Database; let acme: Tenant; let globex: Tenant; let store: TenantMap;
const apps: any[] = [];
const unhandled: unknown[] = [];
process.on('unhandledRejection', (e) => { unhandled.push(e); console.log('UNHANDLED', e); });
beforeAll(async () => {
  database = await startDatabase();
  acme = await defineTenant(database.admin, { schema: `CREATE note:a SET text = 'of acme'` });
  globex = await defineTenant(database.admin, { schema: `CREATE note:g SET text = 'SECRET OF GLOBEX'` });
  store = new TenantMap(acme, globex);
});
afterEach(async () => { for (const a of apps.splice(0)) await a.close(); });
afterAll(async () => { await database?.stop(); });
async function mk(options: any = {}) {
  const app = await createContext(moduleOptions(database, store, { requestTimeoutMillis: 1_000, ...options }));
  apps.push(app);
  return app.get(Tenancy);
}
async function tokenOf({ namespace, database: db, credentials }: Tenant): Promise<string> {
  const { username: user, password: pass } = credentials as any;
  const client = await connect(database.url);
  const token = await client.call<string>('signin', [{ ns: namespace, db, user, pass }]);
  await client.close();
  return token;
}
const err = (p: any) => Promise.resolve(p).then((v) => ({ ok: v }), (e: any) => ({ err: e.code ?? e.message, msg: e.message }));
const counts = async () => { const f = faultsOf(database); return { s: await f.sessions(), t: await f.openTransactions(), l: await f.liveQueries() }; };

it('1 max=1 query then authenticate', async () => {
  const tenancy = await mk({ sessions: { max: 1, acquireTimeoutMillis: 500 } });
  const token = await tokenOf(acme);
  console.log('1a', await tenancy.run(acme, async (db) => { await db.query('RETURN 1'); return err(db.authenticate(token)); }));
  console.log('1b', await err((async () => { await using db = await tenancy.attach(); return await db.authenticate(token); })()));
});
it('2 max=1 query racing set', async () => {
  const tenancy = await mk({ sessions: { max: 1, acquireTimeoutMillis: 500 } });
  console.log('2', JSON.stringify(await tenancy.run(acme, async (db) => Promise.all([err(db.query('RETURN 1')), err(db.set('x', 1)), err(db.query('RETURN 2'))]))));
});
it('3 rebuild leaves transaction + live', async () => {
  const tenancy = await mk();
  const before = await counts();
  await tenancy.run(acme, async (db) => {
    await db.set('a', 1);
    const tx = await db.begin();
    await tx.query('CREATE note:tx1');
    const live = await db.live(new Table('note'));
    const got: any[] = []; live.subscribe((m: any) => got.push(m.action));
    const hold = await faultsOf(database).holdAnswers({ method: 'let' });
    console.log('3set', await err(db.set('a', 2)));
    await hold.release();
    console.log('3 counts after rebuild', before, await counts(), await err(tx.query('RETURN 1')), await err(db.query('CREATE note SET x=1')));
    await sleep(200);
    console.log('3 live got', got, 'alive', (live as any).isAlive);
    console.log('3 cancel', await err(tx.cancel()));
  });
  await sleep(100);
  console.log('3 after unit', await counts());
});
it('4 live in flight survives invalidate / authenticate', async () => {
  const tenancy = await mk();
  await tenancy.run(acme, async (db) => {
    const hold = await faultsOf(database).holdAnswers({ method: 'query', match: 'LIVE' });
    const starting = Promise.resolve(db.live(new Table('note')) as any);
    await sleep(150);
    await db.invalidate();
    await hold.release();
    const live: any = await starting;
    const got: any[] = []; live.subscribe((m: any) => got.push(m));
    await asRoot(database.admin, acme, `CREATE note SET text='after signout'`);
    await sleep(200);
    console.log('4', JSON.stringify(got), await err(db.query('RETURN 1')), await counts());
  });
  console.log('4 end', await counts());
});
it('5 liveOf foreign', async () => {
  const tenancy = await mk();
  await tenancy.run(acme, async (a) => {
    const [id] = await a.query<any>('LIVE SELECT * FROM note');
    const got: any[] = [];
    let handle: any;
    await tenancy.run(globex, async (g) => {
      const live: any = await g.liveOf(id);
      live.subscribe((m: any) => got.push(m));
      handle = g;
      await a.query(`CREATE note SET text = 'ACME PRIVATE'`);
      await sleep(100);
      console.log('5 inside globex', JSON.stringify(got));
    });
    await a.query(`CREATE note SET text = 'ACME PRIVATE 2'`);
    await sleep(100);
    console.log('5 after globex ended', handle.isClosed, got.length);
  });
});
it('6 evict then set revives', async () => {
  const tenancy = await mk();
  await tenancy.run(acme, async (db) => {
    await db.query('RETURN 1');
    await tenancy.evict(acme.id);
    console.log('6', await err(db.query('RETURN 1')), await err(db.set('x', 1)), await err(db.query('RETURN $x')));
  });
});
it('7 nested live', async () => {
  const tenancy = await mk();
  await tenancy.run(acme, async (db) => {
    console.log('7a', await err(db.query('{ LIVE SELECT * FROM note }')), await counts());
    console.log('7b', await err(db.query('IF true { LIVE SELECT * FROM note }')), await counts());
    console.log('7c', await err(db.query('RETURN (LIVE SELECT * FROM note)')), await counts());
    console.log('7e', await err(db.query('BEGIN; LIVE SELECT * FROM note; COMMIT;')), await counts());
    const tx = await db.begin();
    console.log('7d', await err(tx.query('LIVE SELECT * FROM note')), await counts());
    console.log('7d2', await err(tx.commit()), await counts());
  });
  await sleep(100);
  console.log('7 end', await counts());
});
it('8 begin in flight, evict', async () => {
  const tenancy = await mk();
  await tenancy.run(acme, async (db) => {
    await db.query('RETURN 1');
    const hold = await faultsOf(database).holdAnswers({ method: 'begin' });
    const b = err(db.begin());
    await sleep(100);
    await tenancy.evict(acme.id);
    await hold.release();
    console.log('8', (await b as any).err, await counts());
  });
  await sleep(50); console.log('8 end', await counts());
  // own session, timeout, unit ends, late
  let hold: any;
  await tenancy.run(acme, async (db) => {
    await db.set('x', 1);
    hold = await faultsOf(database).holdAnswers({ method: 'begin' });
    console.log('8b', (await err(db.begin()) as any).err);
  });
  await hold.release(); await sleep(100);
  console.log('8b end', await counts());
});
it('9 reconnect: query racing authenticate on own session', async () => {
  const tenancy = await mk();
  const token = await tokenOf(acme);
  await tenancy.run(acme, async (db) => {
    await db.set('x', 1);
    await faultsOf(database).dropConnections();
    console.log('9', JSON.stringify(await Promise.all([err(db.query('RETURN 1')), err(db.authenticate(token)), err(db.query('RETURN 2'))])));
  });
  database.admin = await connect(database.url);
  await database.admin.call('signin', [{ user: database.root.username, pass: database.root.password }]);
});
it('10 rebuild while a query runs: twice?', async () => {
  const tenancy = await mk();
  await tenancy.run(acme, async (db) => {
    await db.set('a', 1);
    const hold = await faultsOf(database).holdAnswers({ method: 'let' });
    const set = err(db.set('a', 2));
    await sleep(600);
    const q = err(db.query(`CREATE twice SET n = 1; SLEEP 700ms; CREATE twice SET n = 2; RETURN $a`));
    console.log('10', (await set as any).err); await hold.release();
    console.log('10q', await q, await err(db.query('SELECT VALUE n FROM twice')));
  });
});
