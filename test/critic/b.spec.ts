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


const backAdmin = async () => { database.admin = await connect(database.url); await database.admin.call('signin', [{ user: database.root.username, pass: database.root.password }]); };
it('3 rebuild leaves transaction + live', async () => {
  const tenancy = await mk();
  await tenancy.run(acme, async (db) => {
    await db.set('a', 1);
    const tx = await db.begin();
    await tx.query('CREATE note:tx1');
    const live = await db.live(new Table('note'));
    const got: any[] = []; live.subscribe((m: any) => got.push(m.action));
    const hold = await faultsOf(database).holdAnswers({ method: 'let' });
    await err(db.set('a', 2));
    await hold.release();
    await err(db.query('CREATE note SET x=1'));
    await sleep(200);
    console.log('3 live got', got, await counts());
    console.log('3 cancel', await err(tx.cancel()), await counts());
  });
  await sleep(100);
  console.log('3 after unit', await counts());
});
it('2 widened: query preparing shared, set, max=1', async () => {
  const tenancy = await mk({ sessions: { max: 1, acquireTimeoutMillis: 900 } });
  const hold = await faultsOf(database).holdAnswers({ method: 'authenticate' });
  await tenancy.run(acme, async (db) => {
    const q = err(db.query('RETURN 1'));
    await sleep(150);
    const s = err(db.set('x', 1));
    await sleep(100); await hold.release();
    console.log('2w', await q, await s);
  });
});
it('9 widened: own session preparing, authenticate', async () => {
  const tenancy = await mk();
  const token = await tokenOf(acme);
  await tenancy.run(acme, async (db) => {
    await db.set('x', 1);
    await faultsOf(database).dropConnections();
    const hold = await faultsOf(database).holdAnswers({ method: 'let' });
    const q = err(db.query('RETURN 1')); await sleep(200);
    const i = err(db.invalidate()); await sleep(100); await hold.release();
    console.log('9w invalidate', await q, await i);
  });
  await tenancy.run(acme, async (db) => {
    await db.set('x', 1);
    await faultsOf(database).dropConnections();
    await sleep(100);
    const hold = await faultsOf(database).holdAnswers({ method: 'attach' });
    const q = err(db.query('RETURN 1')); await sleep(250);
    await hold.release();
    const i = err(db.authenticate(token)); 
    console.log('9w authenticate', await q, await i);
  });
  await backAdmin();
});
it('10 rebuild while a query runs', async () => {
  const tenancy = await mk();
  await tenancy.run(acme, async (db) => {
    await db.set('a', 1);
    const hold = await faultsOf(database).holdAnswers({ method: 'let' });
    const set = err(db.set('a', 2));
    await sleep(600);
    faultsOf(database).clearRequests();
    const q = db.query(`CREATE twice SET n = 1; SLEEP 700ms; CREATE twice SET n = 2`).then((v) => v, (e: any) => e);
    await set; await hold.release();
    const e: any = await q;
    console.log('10q', e.code, e.cause?.message, JSON.stringify(e.cause?.details), await err(db.query('SELECT VALUE n FROM twice')), faultsOf(database).requests.map((r) => r.method + ' ' + (r.sql ?? '').slice(0, 20)));
  });
});
it('10b simple read in flight', async () => {
  const tenancy = await mk();
  await tenancy.run(acme, async (db) => {
    await db.set('a', 1);
    const hold = await faultsOf(database).holdAnswers({ method: 'let' });
    const set = err(db.set('a', 2));
    await sleep(600);
    const q = err(db.query(`SLEEP 700ms; RETURN 5`));
    await set; await hold.release();
    console.log('10b', await q);
  });
});
it('11 central: call during restoring', async () => {
  const app = await createContext(moduleOptions(database, store, { requestTimeoutMillis: 1_000 })); apps.push(app);
  const surreal = app.get<Surreal>(SURREAL);
  const hold = await faultsOf(database).holdAnswers({ method: 'signin' });
  await faultsOf(database).dropConnections(); await sleep(400);
  faultsOf(database).clearRequests();
  const q = err(surreal.query('RETURN 11'));
  await sleep(100);
  console.log('11 sent during restore', faultsOf(database).requests.map((r) => r.method + ' ' + (r.sql ?? '')));
  await hold.release();
  console.log('11', await Promise.race([q, sleep(3000).then(() => 'HANGS')]));
  await backAdmin();
});
it('11b central: signin times out during restore', async () => {
  const app = await createContext(moduleOptions(database, store, { requestTimeoutMillis: 1_000 })); apps.push(app);
  const surreal = app.get<Surreal>(SURREAL);
  const hold = await faultsOf(database).holdAnswers({ method: 'signin' });
  await faultsOf(database).dropConnections(); await sleep(1500);
  await hold.release();
  const t = Date.now();
  console.log('11b', await Promise.race([err(surreal.query('RETURN 11')), sleep(3000).then(() => 'HANGS')]), Date.now() - t);
  await sleep(500);
  console.log('11b2', await Promise.race([err(surreal.query('RETURN 11')), sleep(3000).then(() => 'HANGS')]), Date.now() - t);
  await backAdmin();
});
it('12 throwing connected listener', async () => {
  const app = await createContext(moduleOptions(database, store, { requestTimeoutMillis: 1_000 })); apps.push(app);
  const surreal = app.get<Surreal>(SURREAL);
  let n = 0;
  surreal.subscribe('reconnecting' as any, () => { n++; throw new Error('app listener'); });
  surreal.subscribe('connected', () => { n++; throw new Error('app listener'); });
  process.once('uncaughtException', (e) => console.log('12 uncaught', e.message));
  await faultsOf(database).dropConnections(); await sleep(1500);
  console.log('12', n, await Promise.race([err(surreal.query('RETURN 11')), sleep(2500).then(() => 'HANGS')]));
  await backAdmin();
});
