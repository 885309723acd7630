import { createHmac } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { SurrealTestServer } from 'nestjs-surreal/testing';
import { connect, type RawClient } from '../support/raw-client.js';
import { type Note, NotesClient, PASSWORD, type Tokens } from './notes-client.js';
import { failNotes, type NotesProcess, startNotes, temporaryFolder } from './notes-process.js';

interface Person {
  id: string;
  name: string;
  email: string;
}

describe('the people of the sample "notes"', () => {
  let server: SurrealTestServer;
  let folder: Awaited<ReturnType<typeof temporaryFolder>>;
  let notes: NotesProcess;
  let admin: RawClient;
  let ada: Tokens;
  /** With the email of the Ada at acme. */
  let adaOfGlobex: Tokens;
  const client = new NotesClient(() => notes.url);
  const { send, post } = {
    send: client.send.bind(client),
    post: client.post.bind(client),
  };

  beforeAll(async () => {
    server = await SurrealTestServer.start();
    folder = await temporaryFolder();
    notes = await start();
    admin = await connect(server.url);
    await admin.call('signin', [{ user: server.root.username, pass: server.root.password }]);
    ada = await client.signUp('acme', 'Ada');
    await client.signUp('acme', 'Bob');
    adaOfGlobex = await client.signUp('globex', 'Ada');
  });
  afterAll(async () => {
    await admin?.close();
    await notes?.stop();
    await server?.stop();
    await folder?.remove();
  });

  /** The sample on the test's server. */
  const start = (env: NodeJS.ProcessEnv = {}) =>
    startNotes(folder.path, {
      SURREAL_URL: server.url,
      SURREAL_USER: server.root.username,
      SURREAL_PASS: server.root.password,
      ...env,
    });
  const asRoot = async (tenant: string, sql: string) =>
    (await admin.query(`USE NS notes_${tenant} DB notes; ${sql}`)).slice(1);
  const me = async (tenant: string, as: Tokens) => (await send<Person>(tenant, '/me', { as })).body;
  const unauthenticated = { status: 401, body: { code: 'UNAUTHENTICATED' } };
  const mismatch = { status: 403, body: { code: 'TENANT_MISMATCH' } };

  describe('signing up and in', () => {
    it('gives two tokens, and says who it is', async () => {
      const signedIn = await post<Tokens>('acme', '/signin', { email: ' Ada@EXAMPLE.com', password: PASSWORD });
      expect(signedIn.status).toBe(200);
      expect(signedIn.headers.get('cache-control')).toBe('no-store');
      expect(Object.keys(signedIn.body).sort()).toEqual(['access', 'refresh']);
      const person = await me('acme', signedIn.body);
      expect(person).toEqual({ id: person.id, name: 'Ada', email: 'ada@example.com' });
      expect(await me('acme', ada)).toEqual(person);
    });

    it('takes the same email at two tenants for two people', async () => {
      const [here, there] = [await me('acme', ada), await me('globex', adaOfGlobex)];
      expect(there.email).toBe(here.email);
      expect(there.id).not.toBe(here.id);
      await client.create('acme', ada, { title: 'Of acme', is_shared: true });
      expect(await client.titles('globex', adaOfGlobex)).toEqual([]);
      const carol = { name: 'Carol', email: 'carol@example.com', password: 'another password' };
      expect((await post('globex', '/signup', carol)).status).toBe(201);
      expect(await post('acme', '/signin', { email: carol.email, password: carol.password })).toMatchObject(
        unauthenticated,
      );
    });

    it('keeps an email for one person, however it is written', async () => {
      for (const email of ['ada@example.com', '  ADA@Example.com ']) {
        const refused = await post('acme', '/signup', { name: 'Another', email, password: PASSWORD });
        expect(refused).toMatchObject({ status: 409, body: { code: 'ALREADY_EXISTS' } });
      }
      expect(await asRoot('acme', "SELECT VALUE name FROM user WHERE email = 'ada@example.com'")).toEqual([['Ada']]);
    });

    it('keeps it for one also when two sign up at the same moment', async () => {
      const answers = await Promise.all(
        ['One', 'Two', 'Three'].map((name) =>
          post('acme', '/signup', { name, email: 'race@example.com', password: PASSWORD }),
        ),
      );
      const statuses = answers.map(({ status }) => status).sort();
      expect(statuses[0]).toBe(201);
      // SurrealDB does not say that it was the index.
      expect([403, 409]).toEqual(expect.arrayContaining(statuses.slice(1)));
      expect(await asRoot('acme', "SELECT VALUE count() FROM user WHERE email = 'race@example.com' GROUP ALL")).toEqual(
        [[1]],
      );
    });

    it.each(['nonsense', 'a b@example.com', '@example.com', '   '])(
      'lets the database refuse the email %j, and names the field',
      async (email) => {
        const refused = await post('acme', '/signup', { name: 'X', email, password: PASSWORD });
        expect(refused).toMatchObject({
          status: 422,
          body: { code: 'INVALID_VALUE', field: 'email', message: 'The value of "email" is not valid.' },
        });
      },
    );

    it.each([
      ['no name', { name: undefined }, 'name'],
      ['an empty name', { name: '  ' }, 'name'],
      ['a long name', { name: 'x'.repeat(81) }, 'name'],
      ['no email', { email: undefined }, 'email'],
      ['a long email', { email: `${'x'.repeat(254)}@example.com` }, 'email'],
      ['an email that is no text', { email: { toString: 'x' } }, 'email'],
      ['a short password', { password: '1234567' }, 'password'],
      ['a long password', { password: 'x'.repeat(201) }, 'password'],
      ['a password that is no text', { password: ['12345678'] }, 'password'],
      ['an unknown property', { roles: ['admin'] }, 'roles'],
      ['a name of the protocol', { NS: 'notes_globex' }, 'NS'],
    ])('refuses %s and names the field', async (_name, changed, field) => {
      const body = { name: 'X', email: 'x@example.com', password: PASSWORD, ...changed };
      const refused = await post('acme', '/signup', body);
      expect(refused.status).toBe(400);
      expect(refused.body.fields?.[field]).toMatch(/\w+.*\.$/);
      expect(await asRoot('acme', "SELECT id FROM user WHERE email = 'x@example.com'")).toEqual([[]]);
    });

    it('answers a wrong password and an unknown email alike, and as slowly', async () => {
      const attempt = async (email: string, password: string) => {
        const begin = performance.now();
        const { status, body } = await post('acme', '/signin', { email, password });
        return { answer: { status, body }, millis: performance.now() - begin };
      };
      const [wrong, unknown] = [[], []] as Awaited<ReturnType<typeof attempt>>[][];
      for (const password of ['wrong password', 'x', `${PASSWORD} `]) {
        wrong!.push(await attempt('ada@example.com', password));
        unknown!.push(await attempt('nobody@example.com', password));
      }
      const answers = [...wrong!, ...unknown!].map(({ answer }) => answer);
      expect(answers[0]).toMatchObject(unauthenticated);
      expect(answers).toEqual(answers.map(() => answers[0]));
      // Both hash; without that it would be a tenth.
      const fastest = (attempts: { millis: number }[]) => Math.min(...attempts.map(({ millis }) => millis));
      expect(fastest(unknown!)).toBeGreaterThan(fastest(wrong!) / 3);
    });
  });

  describe('tokens', () => {
    it('are asked for, and taken only as they were given', async () => {
      const [header, payload, signature] = ada.access.split('.') as [string, string, string];
      const claims = JSON.parse(Buffer.from(payload, 'base64url').toString()) as { ID: string };
      const text = `${header}.${Buffer.from(JSON.stringify({ ...claims, ID: 'user:other' })).toString('base64url')}`;
      for (const access of [
        '',
        'nonsense',
        `${header}.${payload}.`,
        `${header}.${payload}.${signature.slice(0, -4)}AAAA`,
        `${text}.${signature}`,
        `${text}.${createHmac('sha512', 'a guess').update(text).digest('base64url')}`,
        ada.refresh,
      ]) {
        expect(await send('acme', '/notes', { as: { access, refresh: '' } })).toMatchObject(unauthenticated);
      }
      for (const [method, path] of [
        ['GET', '/me'],
        ['GET', '/notes'],
        ['POST', '/notes'],
        ['POST', '/signout'],
      ]) {
        expect(await send('acme', path!, { method: method! })).toMatchObject(unauthenticated);
      }
    });

    it('are worth nothing at another tenant', async () => {
      for (const [method, path] of [
        ['GET', '/me'],
        ['GET', '/notes'],
        ['POST', '/signout'],
      ]) {
        expect(await send('globex', path!, { method: method!, as: ada })).toMatchObject(mismatch);
        expect(await send('acme', path!, { method: method!, as: adaOfGlobex })).toMatchObject(mismatch);
      }
      const tokens = await client.signIn('acme', 'ada@example.com');
      expect(await post('globex', '/refresh', tokens)).toMatchObject(mismatch);
      // A pair of two tenants' tokens is none.
      const mixed = { access: adaOfGlobex.access, refresh: tokens.refresh };
      expect(await post('globex', '/refresh', mixed)).toMatchObject({ status: 401 });
      expect((await post('acme', '/refresh', tokens)).status).toBe(200);
    });

    it('are renewed once by a refresh token', async () => {
      const tokens = await client.signIn('acme', 'ada@example.com');
      const renewed = await post<Tokens>('acme', '/refresh', tokens);
      expect(renewed.status).toBe(200);
      expect(renewed.headers.get('cache-control')).toBe('no-store');
      expect(renewed.body.refresh).not.toBe(tokens.refresh);
      expect((await me('acme', renewed.body)).name).toBe('Ada');
      expect(await post('acme', '/refresh', tokens)).toMatchObject(unauthenticated);
      // In the same moment, too.
      const both = await Promise.all([1, 2].map(() => post('acme', '/refresh', renewed.body)));
      expect(both.map(({ status }) => status).sort()).toEqual([200, 401]);
      for (const refresh of ['', 'surreal-refresh-guess', ada.access, 'x'.repeat(201)]) {
        expect([400, 401]).toContain((await post('acme', '/refresh', { ...tokens, refresh })).status);
      }
    });

    it('end at once when one signs out, and only one’s own of that sign-in', async () => {
      const [here, elsewhere] = [
        await client.signIn('acme', 'ada@example.com'),
        await client.signIn('acme', 'ada@example.com'),
      ];
      // Used before, so that there is a session to be replayed.
      expect((await me('acme', here)).name).toBe('Ada');
      expect((await post('acme', '/signout', { refresh: here.refresh }, here)).status).toBe(204);
      for (const path of ['/me', '/notes', '/me']) {
        expect(await send('acme', path, { as: here })).toMatchObject(unauthenticated);
      }
      expect(await post('acme', '/signout', {}, here)).toMatchObject(unauthenticated);
      expect(await post('acme', '/refresh', here)).toMatchObject(unauthenticated);
      expect(await post('acme', '/refresh', { ...elsewhere, refresh: here.refresh })).toMatchObject(unauthenticated);
      expect((await me('acme', elsewhere)).name).toBe('Ada');
    });

    it('end with the person', async () => {
      const used = await client.signUp('acme', 'Dora');
      await client.create('acme', used, { title: 'Of Dora', is_shared: true });
      const unused = await client.signIn('acme', 'dora@example.com');
      await asRoot('acme', "DELETE user WHERE email = 'dora@example.com'");
      expect(await send('acme', '/notes', { as: unused })).toMatchObject(unauthenticated);
      expect(await post('acme', '/refresh', unused)).toMatchObject(unauthenticated);
      const again = { email: 'dora@example.com', password: PASSWORD };
      expect(await post('acme', '/signin', again)).toMatchObject(unauthenticated);
      // A session that is open already notices within a minute; until then it is nobody's.
      expect((await send('acme', '/me', { as: used })).status).toBe(401);
      expect(await send('acme', '/notes', { as: used })).not.toMatchObject({ body: [expect.anything()] });
      expect((await post('acme', '/notes', { title: 'Ghost' }, used)).status).toBeGreaterThanOrEqual(400);
      // What she shared is still there for the others.
      const [note] = (await send<Note[]>('acme', '/notes?search=dora', { as: ada })).body;
      expect(note).toMatchObject({ title: 'Of Dora', owner_name: 'Dora', is_mine: false });
    });
  });

  it.each([{ NOTES_TOKEN_DURATION: '1s; REMOVE DATABASE notes' }, { NOTES_ATTEMPTS_PER_MINUTE: 'many' }])(
    'does not start with %j',
    async (env) => {
      const other = await temporaryFolder();
      const { code, output } = await failNotes(other.path, env);
      await other.remove();
      expect(code).toBe(1);
      expect(output.trim().split('\n')).toEqual([
        expect.stringMatching(`^Notes could not start. ${Object.keys(env)[0]} must be`),
      ]);
    },
  );

  // From here on tokens are short-lived: the schema is one for both processes.
  describe('with other limits', () => {
    let limited: NotesProcess;
    const strict = new NotesClient(() => limited.url);

    beforeAll(async () => {
      limited = await start({ NOTES_TOKEN_DURATION: '1s', NOTES_ATTEMPTS_PER_MINUTE: '3' });
    });
    afterAll(async () => {
      await limited?.stop();
    });

    it('updates the schema of its tenants, and everybody stays signed in', async () => {
      expect(limited.output).toContain('updated the tenants acme, globex');
      expect((await strict.send<Person>('acme', '/me', { as: ada })).body.name).toBe('Ada');
    });

    it('refuses a token that has expired, until it is renewed', async () => {
      const tokens = await strict.signIn('acme', 'ada@example.com');
      expect((await strict.send('acme', '/me', { as: tokens })).status).toBe(200);
      await delay(1_200);
      expect(await strict.send('acme', '/me', { as: tokens })).toMatchObject(unauthenticated);
      expect(await strict.post('acme', '/signout', {}, tokens)).toMatchObject(unauthenticated);
      const renewed = await strict.post<Tokens>('acme', '/refresh', tokens);
      expect(renewed.status).toBe(200);
      expect((await strict.send('acme', '/me', { as: renewed.body })).status).toBe(200);
    });

    it.each([
      ['/signin', { email: 'bob@example.com', password: 'wrong password' }],
      ['/signup', { name: 'X', email: 'nonsense', password: PASSWORD }],
      ['/refresh', { access: 'x.y.z', refresh: 'x' }],
    ])('lets nobody try out %s for long', async (path, body) => {
      const statuses: number[] = [];
      for (let attempt = 0; attempt < 5; attempt++) statuses.push((await strict.post('globex', path, body)).status);
      expect(statuses.slice(0, 3)).not.toContain(429);
      expect(statuses.slice(3)).toEqual([429, 429]);
      const refused = await strict.post('globex', path, body);
      expect(refused.body).toMatchObject({ code: 'TOO_MANY_ATTEMPTS', message: expect.stringMatching(/\.$/) });
      expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
      // Another tenant's attempts are counted by themselves, and notes are not counted.
      expect((await strict.post('acme', path, body)).status).not.toBe(429);
      expect((await strict.send('globex', '/notes', { as: adaOfGlobex })).status).toBe(200);
    });

    it('counts no attempts at tenants that there are not', async () => {
      for (let attempt = 0; attempt < 5; attempt++) {
        expect((await strict.post(`made-up-${attempt}`, '/signin', {})).status).toBe(404);
      }
    });

    it('has told nobody a secret', async () => {
      const all = [...client.answers, ...strict.answers].join('\n');
      expect(all + notes.output + limited.output).not.toMatch(/argon2|eyJ|surreal-refresh|[0-9a-f]{64}/);
      expect(all).not.toContain(PASSWORD);
    });
  });
});
