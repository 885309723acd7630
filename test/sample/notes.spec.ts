import { readdir, readFile, stat } from 'node:fs/promises';
import { request as httpRequest } from 'node:http';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { failNotes, type NotesProcess, startNotes, temporaryFolder } from './notes-process.js';

interface Note {
  id: string;
  title: string;
  body: string;
  created_at: string;
  updated_at: string;
}

interface Answer<Body> {
  status: number;
  body: Body;
}

interface Refusal {
  message: string;
  code?: string;
  fields?: Record<string, string>;
}

describe('the sample "notes"', () => {
  let folder: Awaited<ReturnType<typeof temporaryFolder>>;
  let notes: NotesProcess;
  /** Every body that was ever answered. */
  const answers: string[] = [];

  beforeAll(async () => {
    folder = await temporaryFolder();
    notes = await startNotes(folder.path);
  });
  afterAll(async () => {
    await notes?.stop();
    await folder?.remove();
  });

  const send = async <Body = Refusal>(
    tenant: string | undefined,
    path: string,
    { method = 'GET', body, type = 'application/json' }: { method?: string; body?: unknown; type?: string } = {},
  ): Promise<Answer<Body>> => {
    const response = await fetch(notes.url + path, {
      method,
      headers: {
        ...(tenant === undefined ? {} : { 'x-tenant-id': tenant }),
        ...(body === undefined ? {} : { 'content-type': type }),
      },
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    });
    const text = await response.text();
    answers.push(text);
    return { status: response.status, body: (text === '' ? undefined : JSON.parse(text)) as Body };
  };
  const create = async (tenant: string, note: object) => {
    const { status, body } = await send<Note>(tenant, '/notes', { method: 'POST', body: note });
    expect(status).toBe(201);
    return body;
  };
  const titles = async (tenant: string, query = '') =>
    (await send<Note[]>(tenant, `/notes${query}`)).body.map(({ title }) => title);

  /** With a Host header of one's own, which fetch does not let one set. */
  const sendToHost = (host: string, headers: Record<string, string> = {}) =>
    new Promise<Answer<unknown>>((resolve, reject) => {
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

    const run = async (line: string) => {
      const url = /http:\/\/\S+/.exec(line)?.[0] ?? '';
      const headers = [...line.matchAll(/-H "([^:]+): ([^"]+)"/g)].map(
        ([, name, value]) => [name, value] as [string, string],
      );
      const body = /-d "(.*)"$/.exec(line)?.[1]?.replaceAll('\\"', '"');
      const response = await fetch(url.replace('localhost', '127.0.0.1'), {
        method: line.includes('-X POST') ? 'POST' : 'GET',
        headers,
        ...(body === undefined ? {} : { body }),
      });
      return { status: response.status, body: (await response.json()) as unknown };
    };
    const lines = notes.output.split('\n').filter((line) => line.trimStart().startsWith('curl '));
    expect(lines).toHaveLength(3);
    const [created, listed, others] = [await run(lines[0]!), await run(lines[1]!), await run(lines[2]!)];
    expect(created).toMatchObject({ status: 201, body: { title: 'Hello from acme' } });
    expect(listed).toMatchObject({ status: 200, body: [{ title: 'Hello from acme' }] });
    expect(others).toEqual({ status: 200, body: [] });
  });

  it.each(['acme', 'globex'])('creates, reads, edits, searches and deletes notes of %s', async (tenant) => {
    const note = await create(tenant, { title: '  Shopping  ', body: 'milk\nand eggs' });
    expect(note).toMatchObject({ title: 'Shopping', body: 'milk\nand eggs' });
    expect(Object.keys(note).sort()).toEqual(['body', 'created_at', 'id', 'title', 'updated_at']);
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
    expect(await sendToHost(`acme.localhost:${notes.port}`)).toEqual({
      status: 200,
      body: expect.arrayContaining([note]),
    });
    const others = await sendToHost('globex.localhost');
    expect(others.status).toBe(200);
    expect(JSON.stringify(others.body)).not.toContain(note.id);
    expect((await sendToHost('acme.localhost', { 'x-tenant-id': 'acme' })).status).toBe(200);
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
    for (const path of ['/', '/app.js', '/style.css']) {
      const response = await fetch(notes.url + path);
      expect(response.status).toBe(200);
      expect(response.headers.get('content-security-policy')).toContain("default-src 'self'");
      expect((await response.text()).replaceAll('http://www.w3.org/2000/svg', '')).not.toMatch(/https?:\/\//);
    }
  });

  it('shows nothing of tenants but id and name, and no secret in any answer', async () => {
    expect(await send(undefined, '/tenants')).toEqual({
      status: 200,
      body: [
        { id: 'acme', name: 'Acme' },
        { id: 'globex', name: 'Globex' },
      ],
    });
    const secret = await readFile(join(folder.path, 'root-password'), 'utf8');
    expect(secret.length).toBeGreaterThanOrEqual(32);
    const all = answers.join('\n') + notes.output;
    expect(all).not.toContain(secret);
    expect(all).not.toMatch(/password|credential|[0-9a-f]{64}|eyJ/i);
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
      for (const millis of [450, 600, 750, 900]) {
        const kill = `setTimeout(()=>process.kill(process.pid,'SIGKILL'),${millis})`;
        await failNotes(other.path, { NODE_OPTIONS: `--import=data:text/javascript,${kill}` });
      }
      notes = await startNotes(other.path);
      for (const tenant of ['acme', 'globex']) {
        await create(tenant, { title: 'After the crash' });
        expect(await titles(tenant)).toEqual(['After the crash']);
      }
    } finally {
      await notes.stop();
      await other.remove();
    }
  });
});
