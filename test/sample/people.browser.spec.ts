import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { Page, Request } from 'playwright-core';
import { alertOf, composer, note, NotesBrowser, settled, titles } from './notes-browser.js';
import { NotesClient, PASSWORD, type Tokens } from './notes-client.js';
import { type NotesProcess, startNotes, temporaryFolder } from './notes-process.js';

/** Short, so that tests see tokens end. */
const TOKEN_SECONDS = 2;

describe('the people on the page of the sample "notes"', () => {
  let browser: NotesBrowser;
  let folder: Awaited<ReturnType<typeof temporaryFolder>>;
  let notes: NotesProcess;
  const client = new NotesClient(() => notes.url);

  beforeAll(async () => {
    browser = await NotesBrowser.launch();
    folder = await temporaryFolder();
    notes = await startNotes(folder.path, { NOTES_TOKEN_DURATION: `${TOKEN_SECONDS}s` });
    await client.signUp('acme', 'Ada');
    await client.signUp('acme', 'Bob');
    await client.signUp('globex', 'Ada');
  });
  afterAll(async () => {
    await browser?.close();
    await notes?.stop();
    await folder?.remove();
  });
  beforeEach(() => browser.begin());
  afterEach(() => browser.end());

  const address = (host: string) => `http://${host}:${notes.port}/`;
  /** A page where somebody of acme is signed in. */
  const openAs = async (name: 'ada' | 'bob', host = 'acme.localhost') =>
    browser.open(address(host), { acme: await client.signIn('acme', `${name}@example.com`) });
  const card = (page: Page) => page.getByRole('form', { name: /^Sign (?:in to|up at) / });
  const submit = (page: Page) => card(page).locator('[type=submit]');
  const room = (page: Page) => page.locator('#room');
  const signIn = async (page: Page, email: string, password = PASSWORD) => {
    await card(page).getByLabel('Email').fill(email);
    await card(page).getByLabel('Password').fill(password);
    await submit(page).click();
  };
  const tokensIn = async (page: Page, tenant = 'acme') => {
    const text = await page.evaluate<string | null>(`sessionStorage.getItem('session:${tenant}')`);
    return text === null ? undefined : (JSON.parse(text) as Tokens);
  };
  /** What would end the session of a page from elsewhere, so that neither of its tokens is good any more. */
  const endSession = async (page: Page) => {
    const tokens = (await tokensIn(page))!;
    const { status } = await client.post('acme', '/signout', { refresh: tokens.refresh }, tokens);
    // One has ended by itself: what is left is the other.
    if (status === 401) await client.post('acme', '/refresh', tokens);
  };
  const isFocused = (page: Page, label: string) =>
    card(page)
      .getByLabel(label)
      .evaluate((element) => element.matches(':focus'));

  it('signs up and out by keyboard alone, and says what is wrong next to the fields', async () => {
    const page = await browser.open(address('acme.localhost'));
    expect(await card(page).getByRole('heading').textContent()).toBe('Sign in to Acme');
    expect(await room(page).isVisible()).toBe(false);
    expect(await isFocused(page, 'Email')).toBe(true);
    const autocomplete = async (label: string) => card(page).getByLabel(label).getAttribute('autocomplete');
    expect([await autocomplete('Email'), await autocomplete('Password')]).toEqual(['username', 'current-password']);

    await card(page).getByRole('button', { name: 'Sign up' }).focus();
    await page.keyboard.press('Enter');
    expect(await card(page).getByRole('heading').textContent()).toBe('Sign up at Acme');
    expect([await autocomplete('Name'), await autocomplete('Password')]).toEqual(['name', 'new-password']);
    expect(await isFocused(page, 'Name')).toBe(true);
    await page.keyboard.type('Cleo');
    await page.keyboard.press('Tab');
    await page.keyboard.type('nonsense');
    await page.keyboard.press('Tab');
    await page.keyboard.type('short');
    await page.keyboard.press('Enter');
    await card(page).getByText('The password needs 8 to 200 characters.').waitFor();
    expect(await isFocused(page, 'Password')).toBe(true);
    await page.keyboard.type(' no more');
    await page.keyboard.press('Enter');
    await card(page).getByText('This is no email address.').waitFor();
    expect(await card(page).getByLabel('Email').getAttribute('aria-invalid')).toBe('true');
    expect(await card(page).getByLabel('Password').getAttribute('aria-invalid')).toBe('false');
    await page.keyboard.press('Control+A');
    await page.keyboard.type('ADA@example.com');
    await page.keyboard.press('Enter');
    await card(page).getByText('There is an account with this email already. Sign in instead.').waitFor();
    await page.keyboard.press('Control+A');
    await page.keyboard.type('cleo@example.com');
    await page.keyboard.press('Enter');

    await page.getByRole('heading', { name: 'No notes yet' }).waitFor();
    expect(await card(page).isVisible()).toBe(false);
    expect(await page.locator('#who .name').textContent()).toBe('Cleo');
    await page.reload();
    await settled(page);
    expect(await page.locator('#who .name').textContent()).toBe('Cleo');
    const tokens = (await tokensIn(page))!;
    await page.getByRole('button', { name: 'Sign out' }).press('Enter');
    await card(page).waitFor();
    expect(await page.locator('#who').isVisible()).toBe(false);
    expect(await tokensIn(page)).toBeUndefined();
    expect((await client.send('acme', '/me', { as: tokens })).status).toBe(401);
    expect((await client.post('acme', '/refresh', tokens)).status).toBe(401);
    await page.reload();
    await card(page).waitFor();
  });

  it('signs in, and says no more of a failure than that it is one', async () => {
    const page = await browser.open(address('acme.localhost'));
    for (const [email, password] of [
      ['ada@example.com', 'wrong password'],
      ['nobody@example.com', PASSWORD],
    ]) {
      await signIn(page, email!, password);
      await card(page).getByRole('alert').getByText('That email and password do not belong together.').waitFor();
      expect(await isFocused(page, 'Password')).toBe(true);
      expect(await card(page).getByLabel('Email').inputValue()).toBe(email);
    }
    await signIn(page, 'ada@example.com');
    await room(page).waitFor();
    expect(await page.locator('#account input[type=password]').inputValue()).toBe('');
  });

  it('shows the notes of others only when they share them, and for reading', async () => {
    const [ada, bob] = [await openAs('ada'), await openAs('bob')];
    const write = async (page: Page, title: string, isShared: boolean) => {
      await composer(page).getByLabel('Title').fill(title);
      if (isShared) await composer(page).getByLabel('Share with everybody at Acme').check();
      await composer(page).getByRole('button', { name: 'Add note' }).click();
      await note(page, title).waitFor();
      expect(await composer(page).getByLabel('Share with everybody at Acme').isChecked()).toBe(false);
    };
    await write(ada, 'Diary', false);
    await write(ada, 'Menu', true);
    const reload = async (page: Page) => {
      await page.reload();
      await settled(page);
    };
    await reload(bob);
    expect(await titles(bob)).toEqual(['Menu']);
    await note(bob, 'Menu').getByText('Shared by Ada').waitFor();
    expect(await note(bob, 'Menu').getByRole('button').count()).toBe(0);
    expect(await note(bob, 'Menu').getByRole('switch').count()).toBe(0);
    expect(await bob.content()).not.toContain('Diary');

    // To share the one and take the other back, by keyboard.
    const sharing = (title: string) => ada.getByRole('switch', { name: `Share “${title}”` });
    expect([await sharing('Diary').isChecked(), await sharing('Menu').isChecked()]).toEqual([false, true]);
    await sharing('Diary').press('Space');
    await note(ada, 'Diary').getByText('Shared at Acme').waitFor();
    expect(await sharing('Diary').evaluate((element) => element.matches(':focus'))).toBe(true);
    await sharing('Menu').press('Space');
    await note(ada, 'Menu').getByText('Private').waitFor();
    await reload(bob);
    expect(await titles(bob)).toEqual(['Diary']);
    await reload(ada);
    expect([await sharing('Diary').isChecked(), await sharing('Menu').isChecked()]).toEqual([true, false]);
  });

  it('asks to sign in again when the session is over, and keeps what one was writing', async () => {
    const page = await openAs('ada');
    await note(page, 'Menu').getByRole('button', { name: 'Edit' }).click();
    await page.getByRole('form', { name: 'Edit note' }).getByLabel('Text').fill('soup and');
    await composer(page).getByLabel('Title').fill('Half a thought');
    await composer(page).getByLabel('Text').fill('and the other half');
    await endSession(page);
    await composer(page).getByRole('button', { name: 'Add note' }).click();
    await card(page)
      .getByRole('status')
      .getByText('Your session has expired. Sign in again: what you were writing is still there.')
      .waitFor();
    expect(await room(page).isVisible()).toBe(false);
    expect(await page.content()).not.toContain('Diary');
    expect(await tokensIn(page)).toBeUndefined();
    expect(await isFocused(page, 'Password')).toBe(true);
    expect(await card(page).getByLabel('Email').inputValue()).toBe('ada@example.com');

    await card(page).getByLabel('Password').fill(PASSWORD);
    await page.keyboard.press('Enter');
    await note(page, 'Diary').waitFor();
    expect(await composer(page).getByLabel('Title').inputValue()).toBe('Half a thought');
    expect(await composer(page).getByLabel('Text').inputValue()).toBe('and the other half');
    const editor = page.getByRole('form', { name: 'Edit note' });
    expect(await editor.getByLabel('Text').inputValue()).toBe('soup and');
    await editor.getByRole('button', { name: 'Save' }).click();
    await note(page, 'soup and').waitFor();
    await composer(page).getByRole('button', { name: 'Add note' }).click();
    await note(page, 'and the other half').waitFor();
  });

  it('shows nothing of what one was writing to another person', async () => {
    const page = await openAs('ada');
    await composer(page).getByLabel('Title').fill('For my eyes');
    await endSession(page);
    await page.getByRole('searchbox').fill('menu');
    await card(page).getByText('Your session has expired.').waitFor();
    await signIn(page, 'bob@example.com');
    await note(page, 'Diary').getByText('Shared by Ada').waitFor();
    expect(await composer(page).getByLabel('Title').inputValue()).toBe('');
    expect(await page.getByRole('searchbox').inputValue()).toBe('');
    expect(await titles(page)).toEqual(['Diary']);

    // Whoever signs out is asked first, and leaves nothing.
    await composer(page).getByLabel('Title').fill('Of Bob');
    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Cancel' }).click();
    expect(await room(page).isVisible()).toBe(true);
    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Leave it' }).click();
    await card(page).waitFor();
    expect(await page.locator('#title').inputValue()).toBe('');
    expect(await page.content()).not.toContain('Diary');
  });

  it('renews tokens that have ended, once for all requests and tabs that find out', async () => {
    const page = await openAs('ada');
    // A copy of a tab has the same tokens.
    const copying = page.waitForEvent('popup');
    await page.evaluate('void window.open(location.href)');
    const copy = await copying;
    await settled(copy);
    const first = (await tokensIn(page))!;
    expect(await tokensIn(copy)).toEqual(first);
    const refreshes: number[] = [];
    page.context().on('response', (response) => {
      if (response.url().endsWith('/refresh')) refreshes.push(response.status());
    });
    // Slow, so that all of them wait for it.
    await page.context().route('**/refresh', async (route) => {
      await delay(500);
      await route.continue();
    });
    await delay(TOKEN_SECONDS * 1_000 + 200);
    await page.getByRole('switch', { name: 'Share “Menu”' }).press('Space');
    await page.getByRole('searchbox').fill('me');
    await copy.getByRole('searchbox').fill('dia');
    await note(page, 'Menu').getByText('Shared at Acme').waitFor();
    await page.getByRole('status').getByText('1 note found').waitFor();
    await copy.getByRole('status').getByText('1 note found').waitFor();
    expect(refreshes).toEqual([200]);
    const second = (await tokensIn(page))!;
    expect(second.access).not.toBe(first.access);
    expect(await tokensIn(copy)).toEqual(second);

    // One that has slept, and missed what the other one said, asks.
    await copy.evaluate(`sessionStorage.setItem('session:acme', ${JSON.stringify(JSON.stringify(first))})`);
    await copy.getByRole('searchbox').fill('menu');
    await note(copy, 'Menu').waitFor();
    expect(refreshes).toEqual([200, 401]);
    expect(await tokensIn(copy)).toEqual(second);

    // Signed out in one, signed out in both.
    await page.getByRole('button', { name: 'Sign out' }).click();
    await card(copy).getByRole('status').getByText('You have signed out in another tab.').waitFor();
    expect(await copy.content()).not.toContain('Menu');
    expect(await tokensIn(copy)).toBeUndefined();
  });

  it('is signed in at one tenant only, and tells neither of the other', async () => {
    const page = await openAs('ada', 'localhost');
    const requests: Request[] = [];
    page.on('request', (request) => request.resourceType() === 'fetch' && requests.push(request));
    expect(await titles(page)).toContain('Diary');
    await page.getByRole('radio', { name: 'Globex' }).check({ force: true });
    expect(await card(page).getByRole('heading').textContent()).toBe('Sign in to Globex');
    expect(await page.content()).not.toContain('Diary');
    expect(requests).toEqual([]);

    // The same email, and here another person.
    await signIn(page, 'ada@example.com');
    await page.getByRole('heading', { name: 'No notes yet' }).waitFor();
    await page.getByRole('radio', { name: 'Acme' }).check({ force: true });
    await note(page, 'Diary').waitFor();
    await page.getByRole('radio', { name: 'Globex' }).check({ force: true });
    await page.getByRole('heading', { name: 'No notes yet' }).waitFor();
    await page.getByRole('button', { name: 'Sign out' }).click();
    await card(page).waitFor();
    await page.getByRole('radio', { name: 'Acme' }).check({ force: true });
    await note(page, 'Diary').waitFor();

    const sent = requests.map((request) => request.headers()).filter((headers) => headers.authorization);
    expect(sent.length).toBeGreaterThan(5);
    for (const headers of sent) {
      const claims = Buffer.from(headers.authorization!.split('.')[1]!, 'base64url').toString();
      expect(JSON.parse(claims)).toMatchObject({ NS: `notes_${headers['x-tenant-id']}` });
    }
  });

  it('takes nobody in behind one’s back who has gone to another tenant meanwhile', async () => {
    const page = await browser.open(`${address('localhost')}?tenant=acme`);
    let release: () => void = () => undefined;
    const released = new Promise<void>((resolve) => (release = resolve));
    await page.route('**/signin', async (route) => {
      const response = await route.fetch();
      await released;
      await route.fulfill({ response });
    });
    await signIn(page, 'ada@example.com');
    await page.getByRole('radio', { name: 'Globex' }).check({ force: true });
    const late = page.waitForResponse('**/signin');
    release();
    await (await late).finished();
    await page.evaluate(() => new Promise((resolve) => setTimeout(resolve, 50)));
    expect(await card(page).getByRole('heading').textContent()).toBe('Sign in to Globex');
    expect(await card(page).getByLabel('Password').inputValue()).toBe('');
    expect([await tokensIn(page, 'acme'), await tokensIn(page, 'globex')]).toEqual([undefined, undefined]);
  });

  it('says that one has tried too often, or that the server is gone, and keeps the tokens', async () => {
    const page = await openAs('ada');
    await page.route('**/notes?*', (route) => route.fulfill({ status: 401, json: { statusCode: 401 } }));
    await page.route('**/refresh', (route) =>
      route.fulfill({ status: 429, json: { statusCode: 429, message: 'Too many attempts.' } }),
    );
    await page.getByRole('searchbox').fill('diary');
    await alertOf(page).getByText('Too many attempts.').waitFor();
    expect(await room(page).isVisible()).toBe(true);
    await page.unroute('**/refresh');
    await page.route('**/refresh', (route) => route.abort());
    await page.getByRole('button', { name: 'Try again' }).click();
    await alertOf(page).getByText('The server cannot be reached.').waitFor();
    expect(await tokensIn(page)).toBeDefined();
    await page.unrouteAll();
    await page.getByRole('button', { name: 'Try again' }).click();
    await page.getByRole('status').getByText('1 note found').waitFor();
  });

  it('fits a phone, signed in or not', async () => {
    const shared = await client.signUp('acme', 'W'.repeat(80), 'w@example.com');
    await client.create('acme', shared, { title: 'By somebody with a long name', is_shared: true });
    const width = (page: Page) => page.locator('html').evaluate(({ scrollWidth }) => scrollWidth);
    const page = await browser.open(address('localhost'));
    await page.setViewportSize({ width: 320, height: 640 });
    await card(page).getByRole('button', { name: 'Sign up' }).click();
    expect(await width(page)).toBeLessThanOrEqual(320);
    await card(page).getByRole('button', { name: 'Sign in' }).last().click();
    await signIn(page, 'w@example.com');
    await note(page, 'By somebody').waitFor();
    expect(await width(page)).toBeLessThanOrEqual(320);
    const bob = await openAs('bob', 'localhost');
    await bob.setViewportSize({ width: 320, height: 640 });
    await note(bob, 'By somebody').waitFor();
    expect(await width(bob)).toBeLessThanOrEqual(320);
    expect(await bob.getByRole('button', { name: 'Sign out' }).isVisible()).toBe(true);
  });

  it('serves a page about the API that loads', async () => {
    const page = await browser.open(address('localhost'));
    await page.goto(`${address('localhost')}docs`);
    await page.getByText('Signs in; a wrong password and an unknown email are told the same').waitFor();
    expect(await page.getByRole('button', { name: 'Authorize' }).isVisible()).toBe(true);
  });
});
