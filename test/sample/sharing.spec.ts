import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { SurrealTestServer } from 'nestjs-surreal/testing';
import { connect, type RawClient } from '../support/raw-client.js';
import { type Note, NotesClient, type Tokens } from './notes-client.js';
import { type NotesProcess, startNotes, temporaryFolder } from './notes-process.js';

/** What the sample's first version left: notes that are nobody's, and a tenant whose set-up was interrupted. */
const FIRST_VERSION = `
  USE NS notes_app DB central;
  DEFINE TABLE tenant SCHEMAFULL;
  DEFINE FIELD namespace ON tenant TYPE string;
  DEFINE FIELD database ON tenant TYPE string;
  DEFINE FIELD credentials ON tenant TYPE object FLEXIBLE;
  DEFINE FIELD metadata ON tenant TYPE object FLEXIBLE;
  DEFINE FIELD is_ready ON tenant TYPE bool DEFAULT false;
  CREATE tenant:acme SET namespace = 'notes_acme', database = 'notes', metadata = { name: 'Acme' }, is_ready = true,
    credentials = { type: 'user', username: 'app', password: 'the password of before' };
  CREATE tenant:globex SET namespace = 'notes_globex', database = 'notes', metadata = { name: 'Globex' },
    credentials = { type: 'jwt', access: 'app', key: 'the key of before', algorithm: 'HS512', roles: ['Editor'] };

  USE NS notes_acme DB notes;
  DEFINE USER app ON DATABASE PASSWORD 'the password of before' ROLES EDITOR;
  DEFINE TABLE note SCHEMAFULL;
  DEFINE FIELD title ON note TYPE string ASSERT string::len($value) IN 1..=120;
  DEFINE FIELD body ON note TYPE string DEFAULT '' ASSERT string::len($value) <= 10000;
  DEFINE FIELD created_at ON note TYPE datetime DEFAULT time::now() READONLY;
  DEFINE FIELD updated_at ON note TYPE datetime VALUE time::now();
  DEFINE FIELD words ON note TYPE string VALUE string::join(' ', title, body);
  DEFINE ANALYZER beginnings TOKENIZERS class FILTERS lowercase, ascii, edgengram(1, 20);
  DEFINE INDEX note_words ON note FIELDS words FULLTEXT ANALYZER beginnings;
  CREATE note SET title = 'Anvils', body = 'of before';
  CREATE note SET title = 'Rockets', body = 'of before';
`;

describe('private and shared notes of the sample "notes"', () => {
  let server: SurrealTestServer;
  let folder: Awaited<ReturnType<typeof temporaryFolder>>;
  let notes: NotesProcess;
  let admin: RawClient;
  let before: Note[];
  let ada: Tokens;
  let bob: Tokens;
  let adaOfGlobex: Tokens;
  const client = new NotesClient(() => notes.url);
  const send = client.send.bind(client);
  const forbidden = { status: 403, body: { code: 'NOT_ALLOWED' } };
  const missing = { status: 404 };

  beforeAll(async () => {
    server = await SurrealTestServer.start();
    folder = await temporaryFolder();
    admin = await connect(server.url);
    await admin.call('signin', [{ user: server.root.username, pass: server.root.password }]);
    await admin.query('DEFINE NAMESPACE notes_app; USE NS notes_app; DEFINE DATABASE central');
    await admin.query('DEFINE NAMESPACE notes_acme; USE NS notes_acme; DEFINE DATABASE notes');
    await admin.query(FIRST_VERSION);
    [before] = await asRoot<[Note[]]>('acme', 'SELECT * FROM note');
    notes = await start();
    ada = await client.signUp('acme', 'Ada');
    bob = await client.signUp('acme', 'Bob');
    adaOfGlobex = await client.signUp('globex', 'Ada');
  });
  afterAll(async () => {
    await admin?.close();
    await notes?.stop();
    await server?.stop();
    await folder?.remove();
  });

  /** The sample on the test's server. */
  const start = () => {
    const { username, password } = server.root;
    return startNotes(folder.path, { SURREAL_URL: server.url, SURREAL_USER: username, SURREAL_PASS: password });
  };
  const asRoot = async <Result = unknown[]>(tenant: string, sql: string) =>
    (await admin.query(`USE NS notes_${tenant} DB notes; ${sql}`)).slice(1) as Result;

  it('keep those of the first version, shared by nobody who could change them', async () => {
    expect(notes.output).toContain('set up the tenants globex');
    expect(notes.output).toContain('updated the tenants acme');
    expect(before).toHaveLength(2);
    const found = (await send<Note[]>('acme', '/notes?search=before', { as: bob })).body;
    expect(found.map(({ title }) => title).sort()).toEqual(['Anvils', 'Rockets']);
    for (const note of found) {
      const old = before.find(({ title }) => title === note.title)!;
      expect(note).toMatchObject({ is_shared: true, is_mine: false, owner_name: 'Unknown', body: 'of before' });
      for (const time of ['created_at', 'updated_at'] as const) {
        expect(new Date(note[time])).toEqual(new Date(String(old[time])));
      }
      const path = `/notes/${note.id}`;
      expect(await send('acme', path, { method: 'PATCH', body: { title: 'x' }, as: ada })).toMatchObject(forbidden);
      expect(await send('acme', path, { method: 'DELETE', as: ada })).toMatchObject(forbidden);
      expect((await send<Note>('acme', path, { as: ada })).body).toEqual(note);
    }
    expect(await client.titles('globex', adaOfGlobex)).toEqual([]);
  });

  it('are set up once, and again when a set-up was not finished', async () => {
    const state = () => admin.query<[unknown, unknown]>('USE NS notes_app DB central; SELECT * FROM tenant');
    const [, set] = await state();
    await notes.stop();
    notes = await start();
    expect(notes.output).not.toMatch(/set up|updated/);
    expect((await state())[1]).toEqual(set);

    await admin.query('USE NS notes_app DB central; UPDATE tenant:acme UNSET schema');
    await notes.stop();
    notes = await start();
    expect(notes.output).toContain('updated the tenants acme');
    expect((await state())[1]).toEqual(set);
    expect(await client.titles('acme', ada, '?search=anvils')).toEqual(['Anvils']);
    // A later version's schema is left as it is.
    await admin.query('USE NS notes_app DB central; UPDATE tenant SET schema.version = 99');
    await notes.stop();
    notes = await start();
    expect(notes.output).not.toMatch(/set up|updated/);
  });

  it('keep what is private from everybody else', async () => {
    const note = await client.create('acme', ada, { title: 'Diary', body: 'xylophone' });
    const path = `/notes/${note.id}`;
    expect(note).toMatchObject({ is_shared: false, is_mine: true, owner_name: 'Ada' });
    expect(await client.titles('acme', bob)).not.toContain('Diary');
    expect(await client.titles('acme', bob, '?search=xylophone')).toEqual([]);
    expect(await client.titles('acme', ada, '?search=xylophone')).toEqual(['Diary']);
    expect(await send('acme', path, { as: bob })).toMatchObject(missing);
    for (const changes of [{ title: 'Taken' }, { is_shared: true }]) {
      expect(await send('acme', path, { method: 'PATCH', body: changes, as: bob })).toMatchObject(missing);
    }
    expect(await send('acme', path, { method: 'DELETE', as: bob })).toMatchObject(missing);
    expect((await send<Note>('acme', path, { as: ada })).body).toEqual(note);
  });

  it('show what is shared to everybody at the tenant, for its owner to change', async () => {
    const note = await client.create('acme', ada, { title: 'Menu', body: 'soup', is_shared: true });
    const path = `/notes/${note.id}`;
    expect((await send<Note>('acme', path, { as: bob })).body).toEqual({ ...note, is_mine: false });
    expect(await client.titles('acme', bob, '?search=menu')).toEqual(['Menu']);
    expect(await send('globex', path, { as: adaOfGlobex })).toMatchObject(missing);
    for (const changes of [{ title: 'Taken' }, { is_shared: false }, { body: '' }]) {
      expect(await send('acme', path, { method: 'PATCH', body: changes, as: bob })).toMatchObject(forbidden);
    }
    expect(await send('acme', path, { method: 'DELETE', as: bob })).toMatchObject(forbidden);
    expect((await send<Note>('acme', path, { as: ada })).body).toEqual(note);

    const unshare = await send<Note>('acme', path, { method: 'PATCH', body: { is_shared: false }, as: ada });
    expect(unshare.body).toMatchObject({ title: 'Menu', body: 'soup', is_shared: false, is_mine: true });
    expect(await send('acme', path, { as: bob })).toMatchObject(missing);
    expect((await send('acme', path, { method: 'DELETE', as: ada })).status).toBe(204);
  });

  it('belong to whoever writes them, whatever a request says', async () => {
    const owner = (await send<{ id: string }>('acme', '/me', { as: bob })).body.id;
    for (const forged of [{ owner }, { owner_name: 'Bob' }, { is_mine: false }, { created_at: 0 }]) {
      expect((await client.post('acme', '/notes', { title: 'Forged', ...forged }, ada)).status).toBe(400);
    }
    expect(await client.titles('acme', bob, '?search=forged')).toEqual([]);
  });

  it('are held by the database itself', async () => {
    const [mine, shared] = [
      await client.create('acme', ada, { title: 'Wall' }),
      await client.create('acme', ada, { title: 'Wall with a window', is_shared: true }),
    ];
    const direct = await connect(server.url);
    try {
      await direct.call('authenticate', [bob.access]);
      const [people] = await direct.query<[Record<string, unknown>[]]>('SELECT * FROM user');
      expect(people).toHaveLength(1);
      expect(Object.keys(people[0]!).sort()).toEqual(['created_at', 'email', 'id', 'name']);
      const id = (note: Note) => `note:${note.id}`;
      const others = String((await asRoot('acme', `RETURN ${id(mine)}.owner`))[0]);
      for (const sql of [
        `SELECT * FROM ${id(mine)}`,
        `UPDATE ${id(mine)} SET title = 'x'`,
        `UPDATE ${id(shared)} SET title = 'x'`,
        `DELETE ${id(shared)} RETURN BEFORE`,
        `CREATE note SET title = 'x', owner = ${others}`,
        `UPDATE ${others} SET name = 'x'`,
        "CREATE user SET name = 'x', email = 'x@x.xx', password = 'x'",
        "SELECT * FROM user WHERE email = 'ada@example.com'",
        `SELECT VALUE owner.email FROM ${id(shared)}`,
      ]) {
        const [rows] = await direct.query<[unknown[]]>(sql);
        expect(rows.filter((row) => row !== undefined && row !== null)).toEqual([]);
      }
      await expect(direct.query('DEFINE FIELD x ON note')).rejects.toThrow('Not enough permissions');
      await expect(direct.query(`CREATE note SET title = 'x'; UPDATE note SET owner = ${others}`)).rejects.toThrow(
        'readonly',
      );
      await direct.query("DELETE note WHERE title = 'x'");
    } finally {
      await direct.close();
    }
    expect((await send<Note>('acme', `/notes/${shared.id}`, { as: ada })).body).toEqual(shared);
  });
});
