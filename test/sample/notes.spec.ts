import { readdir, readFile, stat } from 'node:fs/promises';
import { request as httpRequest } from 'node:http';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type Note, NotesClient, type Tokens } from './notes-client.js';
import { runInShell } from './printed-commands.js';
import { failNotes, type NotesProcess, startNotes, temporaryFolder } from './notes-process.js';

/** The parts of an OpenAPI document that are looked at here. */
interface OpenApi {
  paths: Record<string, Record<string, Route>>;
  components: {
    securitySchemes: object;
    schemas: Record<string, { required?: string[]; properties?: object } | undefined>;
  };
}

interface Route {
  summary: string;
  security?: object[];
  responses: Record<string, { content?: { 'application/json': { schema: object } } }>;
  requestBody?: object;
}

describe('the sample "notes"', () => {
  let folder: Awaited<ReturnType<typeof temporaryFolder>>;
  let notes: NotesProcess;
  /** Somebody at each tenant. */
  const people: Record<string, Tokens> = {};
  const client = new NotesClient(() => notes.url);

  beforeAll(async () => {
    folder = await temporaryFolder();
    notes = await startNotes(folder.path);
    for (const tenant of ['acme', 'globex']) people[tenant] = await client.signUp(tenant, 'Wile');
  });
  afterAll(async () => {
    await notes?.stop();
    await folder?.remove();
  });

  /** As the one who is signed in at the tenant. */
  const send: typeof client.send = (tenant, path, options) =>
    client.send(tenant, path, { as: people[tenant ?? ''], ...options });
  const create = (tenant: string, note: object) => client.create(tenant, people[tenant]!, note);
  const titles = (tenant: string, query = '') => client.titles(tenant, people[tenant]!, query);
  const bearer = (tenant: string) => ({ authorization: `Bearer ${people[tenant]!.access}` });

  /** With a Host header of one's own, which fetch does not let one set. */
  const sendToHost = (host: string, headers: Record<string, string> = {}) =>
    new Promise<{ status: number; body: unknown }>((resolve, reject) => {
      httpRequest(
        { host: '127.0.0.1', port: notes.port, path: '/notes', headers: { host, ...headers } },
        (response) => {
          let text = '';
          response.setEncoding('utf8').on('data', (part: string) => (text += part));
          response.on('end', () => resolve({ status: response.statusCode ?? 0, body: JSON.parse(text) }));
        },
      )
        .on('error', reject)
        .end();
    });

  it('prints where to look and requests that work as they are printed', async () => {
    expect(notes.output).toContain(`http://localhost:${notes.port}`);
    expect(notes.output).toContain(`http://acme.localhost:${notes.port}`);
    expect(notes.output).toContain('set up the tenants acme, globex');

    const lines = notes.output.split('\n').map((line) => line.trim());
    const signUps = lines.filter((line) => /^[A-Z]+=\$\(curl /.test(line));
    const requests = lines.filter((line) => line.startsWith('curl '));
    expect(signUps).toHaveLength(2);
    expect(requests).toHaveLength(4);
    const [created, listed, others, refused] = await runInShell(folder.path, signUps, requests);
    expect(created).toMatchObject({ status: 201, body: { title: 'Hello from acme' } });
    expect(listed).toMatchObject({ status: 200, body: [{ title: 'Hello from acme' }] });
    expect(others).toEqual({ status: 200, body: [] });
    expect(refused).toMatchObject({ status: 403, body: { code: 'TENANT_MISMATCH' } });
  });

  it.each(['acme', 'globex'])('creates, reads, edits, searches and deletes notes of %s', async (tenant) => {
    const note = await create(tenant, { title: '  Shopping  ', body: 'milk\nand eggs' });
    expect(note).toMatchObject({ title: 'Shopping', body: 'milk\nand eggs' });
    const known = ['body', 'created_at', 'id', 'is_mine', 'is_shared', 'owner_name', 'title', 'updated_at'];
    expect(Object.keys(note).sort()).toEqual(known);
    expect(note).toMatchObject({ is_mine: true, is_shared: false, owner_name: 'Wile' });
    const path = `/notes/${note.id}`;
    expect((await send<Note>(tenant, path)).body).toEqual(note);

    const edited = (await send<Note>(tenant, path, { method: 'PATCH', body: { title: 'Groceries' } })).body;
    expect(edited).toMatchObject({ id: note.id, title: 'Groceries', body: note.body, created_at: note.created_at });
    expect(Date.parse(edited.updated_at)).toBeGreaterThanOrEqual(Date.parse(note.updated_at));

    for (const search of ['groc', 'EGG', 'egg gro']) {
      expect(await titles(tenant, `?search=${encodeURIComponent(search)}`)).toEqual(['Groceries']);
    }
    for (const search of ['shopping', 'zzz', "' OR true --", '$search']) {
      expect(await titles(tenant, `?search=${encodeURIComponent(search)}`)).toEqual([]);
    }

    expect((await send(tenant, path, { method: 'DELETE' })).status).toBe(204);
    expect((await send(tenant, path)).status).toBe(404);
    expect((await send(tenant, path, { method: 'DELETE' })).status).toBe(404);
    expect((await send(tenant, path, { method: 'PATCH', body: { title: 'x' } })).status).toBe(404);
    expect(await titles(tenant, '?search=groceries')).toEqual([]);
  });

  it('lets no tenant find, read, edit or delete what is not its own', async () => {
    const note = await create('acme', { title: 'Secret plan', body: 'of acme alone' });
    const path = `/notes/${note.id}`;
    expect((await send('globex', path)).status).toBe(404);
    expect((await send('globex', path, { method: 'PATCH', body: { title: 'taken' } })).status).toBe(404);
    expect((await send('globex', path, { method: 'DELETE' })).status).toBe(404);
    expect(await titles('globex')).not.toContain('Secret plan');
    expect(await titles('globex', '?search=secret')).toEqual([]);
    expect((await send<Note>('acme', path)).body).toEqual(note);

    await create('globex', { title: 'Secret of globex' });
    expect(await titles('acme', '?search=secret')).toEqual(['Secret plan']);
    expect(await titles('globex', '?search=secret')).toEqual(['Secret of globex']);
  });

  it('keeps many requests of both tenants apart that run at once', async () => {
    const both = ['acme', 'globex'];
    await Promise.all(
      Array.from({ length: 40 }, (_, index) =>
        create(both[index % 2]!, { title: `crowd ${both[index % 2]} ${index}` }),
      ),
    );
    for (const tenant of both) {
      const found = await titles(tenant, '?search=crowd&limit=100');
      expect(found).toHaveLength(20);
      expect(found.every((title) => title.startsWith(`crowd ${tenant} `))).toBe(true);
    }
  });

  it('lists page by page, the newest first', async () => {
    for (const title of ['page one', 'page two', 'page three']) await create('globex', { title });
    expect(await titles('globex', '?search=page&limit=2')).toEqual(['page three', 'page two']);
    expect(await titles('globex', '?search=page&limit=2&start=2')).toEqual(['page one']);
  });

  it('takes the tenant from the subdomain', async () => {
    const note = await create('acme', { title: 'By host' });
    expect(await sendToHost(`acme.localhost:${notes.port}`, bearer('acme'))).toEqual({
      status: 200,
      body: expect.arrayContaining([note]),
    });
    const others = await sendToHost('globex.localhost', bearer('globex'));
    expect(others.status).toBe(200);
    expect(JSON.stringify(others.body)).not.toContain(note.id);
    expect((await sendToHost('acme.localhost', { 'x-tenant-id': 'acme', ...bearer('acme') })).status).toBe(200);
  });

  it('refuses requests that name two tenants, none, or one that there is not', async () => {
    expect(await sendToHost('acme.localhost', { 'x-tenant-id': 'globex' })).toMatchObject({
      status: 403,
      body: { code: 'TENANT_MISMATCH' },
    });
    expect(await send(undefined, '/notes')).toMatchObject({ status: 400, body: { code: 'TENANT_NOT_IDENTIFIED' } });
    expect(await send('initech', '/notes')).toMatchObject({ status: 404, body: { code: 'TENANT_NOT_FOUND' } });
    expect(await send("acme' OR true", '/notes')).toMatchObject({ status: 400, body: { code: 'TENANT_INVALID' } });
  });

  it.each([
    ['no title', {}, 'title'],
    ['an empty title', { title: '   ' }, 'title'],
    ['null as title', { title: null }, 'title'],
    ['a title that is no text', { title: { toString: 'x' } }, 'title'],
    ['a long title', { title: 'x'.repeat(121) }, 'title'],
    ['a long text', { title: 'x', body: 'x'.repeat(10_001) }, 'body'],
    ['a text that is no text', { title: 'x', body: 7 }, 'body'],
    ['no yes or no to sharing it', { title: 'x', is_shared: 'yes' }, 'is_shared'],
    ['an unknown property', { title: 'x', id: 'note:mine' }, 'id'],
    ['a list', [{ title: 'x' }], 'title'],
  ])('refuses %s and names the field', async (_name, body, field) => {
    const before = await titles('acme', '?limit=100');
    const refused = await send('acme', '/notes', { method: 'POST', body });
    expect(refused.status).toBe(400);
    expect(refused.body.fields?.[field]).toMatch(/\w+.*\.$/);
    expect(await titles('acme', '?limit=100')).toEqual(before);
  });

  it('refuses bodies of another form, and changes that change nothing', async () => {
    const { id } = await create('acme', { title: 'Stays' });
    const post = (body: string, type?: string) =>
      send('acme', '/notes', { method: 'POST', body, ...(type ? { type } : {}) });
    expect((await post('{"title":"x"}', 'text/plain')).status).toBe(400);
    // What a form on somebody else's page could send.
    expect((await post('title=x', 'application/x-www-form-urlencoded')).status).toBe(400);
    expect((await post('{"title":')).status).toBe(400);
    expect((await post(JSON.stringify({ title: 'x'.repeat(200_000) }))).status).toBe(413);
    expect((await send('acme', `/notes/${id}`, { method: 'PATCH', body: {} })).status).toBe(400);
    expect((await send('acme', `/notes/${id}`, { method: 'PATCH', body: { title: '' } })).body.fields).toHaveProperty(
      'title',
    );
    expect((await send<Note>('acme', `/notes/${id}`)).body.title).toBe('Stays');
  });

  it.each(['limit=0', 'limit=101', 'limit=many', 'start=-1', 'search=a&search=b', 'order=title'])(
    'refuses the list with ?%s',
    async (query) => {
      const { status, body } = await send('acme', `/notes?${query}`);
      expect(status).toBe(400);
      expect(body.fields).toHaveProperty([/^\w+/.exec(query)![0]]);
    },
  );

  it.each([
    "'",
    '"',
    "x' OR true",
    'note:⟨x⟩',
    '..%2f..%2fetc',
    'a; DELETE note',
    '1..',
    'A'.repeat(20),
    'x'.repeat(5000),
  ])('refuses the id %s', async (id) => {
    const path = `/notes/${id.includes('%') ? id : encodeURIComponent(id)}`;
    const before = await titles('acme', '?limit=100');
    for (const method of ['GET', 'DELETE', 'PATCH']) {
      const { status } = await send('acme', path, { method, ...(method === 'PATCH' ? { body: { title: 'x' } } : {}) });
      expect([400, 404]).toContain(status);
    }
    expect(await titles('acme', '?limit=100')).toEqual(before);
  });

  it('serves the page, which may load nothing from elsewhere', async () => {
    const pages = (await readdir(new URL('../../sample/notes/public', import.meta.url))).filter((name) =>
      /\.(?:js|css|html)$/.test(name),
    );
    expect(pages).toEqual(expect.arrayContaining(['app.js', 'index.html', 'session.js', 'style.css']));
    for (const path of ['/', ...pages.map((name) => `/${name}`)]) {
      const response = await fetch(notes.url + path);
      expect(response.status).toBe(200);
      expect(response.headers.get('content-security-policy')).toContain("default-src 'self'");
      expect((await response.text()).replaceAll('http://www.w3.org/2000/svg', '')).not.toMatch(/https?:\/\//);
    }
  });

  it('describes all of it at /docs', async () => {
    const page = await fetch(`${notes.url}/docs`);
    expect(page.status).toBe(200);
    expect(page.headers.get('content-security-policy')).toContain("default-src 'self'");

    const { paths, components } = (await (await fetch(`${notes.url}/docs-json`)).json()) as OpenApi;
    expect(components.securitySchemes).toEqual({
      tenant: expect.objectContaining({ type: 'apiKey', in: 'header', name: 'x-tenant-id' }),
      person: expect.objectContaining({ type: 'http', scheme: 'bearer', bearerFormat: 'JWT' }),
    });
    const [tenant, person] = [{ tenant: [] }, { tenant: [], person: [] }];
    const expected: Record<string, [security: object | undefined, statuses: string]> = {
      'get /tenants': [undefined, '200'],
      'post /signup': [tenant, '201 400 403 404 409 422 429'],
      'post /signin': [tenant, '200 400 401 403 404 429'],
      'post /refresh': [tenant, '200 400 401 403 404 429'],
      'post /signout': [person, '204 400 401 403 404'],
      'get /me': [person, '200 400 401 403 404'],
      'get /notes': [person, '200 400 401 403 404'],
      'post /notes': [person, '201 400 401 403 404 422'],
      'get /notes/{id}': [person, '200 400 401 403 404'],
      'patch /notes/{id}': [person, '200 400 401 403 404 422'],
      'delete /notes/{id}': [person, '204 400 401 403 404'],
    };
    const routes = Object.entries(paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, route]) => ({ name: `${method} ${path}`, ...route })),
    );
    expect(routes.map(({ name }) => name).sort()).toEqual(Object.keys(expected).sort());
    for (const { name, summary, security, responses, requestBody } of routes) {
      expect(summary).toMatch(/\w/);
      expect([security?.[0], Object.keys(responses).join(' ')]).toEqual(expected[name]);
      for (const [status, { content }] of Object.entries(responses)) {
        const schema = content?.['application/json'].schema;
        if (Number(status) >= 400) expect(schema).toEqual({ $ref: '#/components/schemas/Refusal' });
        else expect(schema === undefined).toBe(status === '204');
      }
      if (/^(?:post|patch)/.test(name)) expect(requestBody).toBeDefined();
    }
    expect(components.schemas.SignUp?.required?.sort()).toEqual(['email', 'name', 'password']);
    expect(Object.keys(components.schemas.Note?.properties ?? {})).toContain('owner_name');
  });

  it('shows nothing of tenants but id and name, and no secret in any answer', async () => {
    expect(await send(undefined, '/tenants')).toEqual({
      status: 200,
      body: [
        { id: 'acme', name: 'Acme' },
        { id: 'globex', name: 'Globex' },
      ],
      headers: expect.anything(),
    });
    const secret = await readFile(join(folder.path, 'root-password'), 'utf8');
    expect(secret.length).toBeGreaterThanOrEqual(32);
    // What there is to try shows what a sign-up asks for.
    const printed = notes.output.replaceAll('"password":"correct horse battery"', '');
    const all = client.answers.join('\n') + printed;
    expect(all).not.toContain(secret);
    expect(all).not.toMatch(/password|credential|[0-9a-f]{64}|eyJ|argon2|surreal-refresh/i);
  });

  it('keeps what opens the database from other users of the machine', async () => {
    expect((await stat(join(folder.path, 'root-password'))).mode & 0o777).toBe(0o600);
    expect(await readdir(folder.path)).toEqual(expect.arrayContaining(['root-password', 'surrealkv']));
  });

  it('says so when its port is in use', async () => {
    const other = await temporaryFolder();
    const { code, output } = await failNotes(other.path, { PORT: String(notes.port) });
    await other.remove();
    expect(code).toBe(1);
    expect(output.trim().split('\n')).toEqual([expect.stringMatching(`^Port ${notes.port} is in use\\.`)]);
  });

  it('ends with 0 on SIGTERM, and has its notes, tenants and no second set-up after a restart', async () => {
    const [acme, globex] = [await titles('acme', '?limit=100'), await titles('globex', '?limit=100')];
    const secret = await readFile(join(folder.path, 'root-password'), 'utf8');
    // A browser that holds its connection open does not hold up the end.
    const started = Date.now();
    expect(await notes.stop('SIGTERM')).toBe(0);
    expect(Date.now() - started).toBeLessThan(3_000);

    notes = await startNotes(folder.path);
    expect(notes.output).not.toContain('set up');
    expect(await titles('acme', '?limit=100')).toEqual(acme);
    expect(await titles('globex', '?limit=100')).toEqual(globex);
    expect(await readFile(join(folder.path, 'root-password'), 'utf8')).toBe(secret);
    expect(await notes.stop('SIGINT')).toBe(0);
  });

  it('starts again after a crash in the middle of its first start', async () => {
    const other = await temporaryFolder();
    try {
      for (const millis of [600, 750, 850, 925, 1000]) {
        const kill = `setTimeout(()=>process.kill(process.pid,'SIGKILL'),${millis})`;
        await failNotes(other.path, { NODE_OPTIONS: `--import=data:text/javascript,${kill}` });
      }
      notes = await startNotes(other.path);
      for (const tenant of ['acme', 'globex']) {
        people[tenant] = await client.signUp(tenant, 'Wile');
        await create(tenant, { title: 'After the crash' });
        expect(await titles(tenant)).toEqual(['After the crash']);
      }
    } finally {
      await notes.stop();
      await other.remove();
    }
  });
});
