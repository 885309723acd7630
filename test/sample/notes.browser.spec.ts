import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { Locator, Page } from 'playwright-core';
import { alertOf, composer, note, NotesBrowser, settled, titles } from './notes-browser.js';
import { NotesClient, type Tokens } from './notes-client.js';
import { type NotesProcess, startNotes, temporaryFolder } from './notes-process.js';

describe('the page of the sample "notes"', () => {
  let browser: NotesBrowser;
  let folder: Awaited<ReturnType<typeof temporaryFolder>>;
  let notes: NotesProcess;
  /** Somebody at each tenant. */
  const people: Record<string, Tokens> = {};

  beforeAll(async () => {
    browser = await NotesBrowser.launch();
    folder = await temporaryFolder();
    notes = await startNotes(folder.path);
    const client = new NotesClient(() => notes.url);
    for (const tenant of ['acme', 'globex']) people[tenant] = await client.signUp(tenant, 'Wile');
  });
  afterAll(async () => {
    await browser?.close();
    await notes?.stop();
    await folder?.remove();
  });
  beforeEach(() => browser.begin());
  afterEach(() => browser.end());

  /** A page in a browser of its own, as another person has; signed in at both tenants. */
  const open = (host: string, path = '/') => browser.open(`http://${host}:${notes.port}${path}`, people);
  const add = async (page: Page, title: string, text = '') => {
    await composer(page).getByLabel('Title').fill(title);
    await composer(page).getByLabel('Text').fill(text);
    await composer(page).getByRole('button', { name: 'Add note' }).click();
    await note(page, title).waitFor();
  };
  const isFocused = (locator: Locator) => locator.evaluate((element) => element.matches(':focus'));
  const gone = (locator: Locator) => locator.waitFor({ state: 'detached' });

  it('shows two people of two tenants their own notes only, also after a reload', async () => {
    const acme = await open('acme.localhost');
    const globex = await open('globex.localhost');
    await expect(acme.getByRole('heading', { name: 'No notes yet' }).isVisible()).resolves.toBe(true);
    await add(acme, 'Anvils', 'Order ten of them');
    await add(acme, 'Rockets');
    await add(globex, 'Hammocks');

    for (const reload of [false, true]) {
      if (reload) await Promise.all([acme.reload(), globex.reload()]);
      await Promise.all([settled(acme), settled(globex)]);
      expect(await titles(acme)).toEqual(['Rockets', 'Anvils']);
      expect(await titles(globex)).toEqual(['Hammocks']);
    }
    expect(await acme.content()).not.toContain('Hammocks');
    expect(await globex.content()).not.toContain('Anvils');
    // The host says whose notes these are: there is nothing to switch.
    expect(await acme.getByRole('radio').count()).toBe(1);
  });

  it('switches between the tenants without ever showing notes of the other', async () => {
    const page = await open('localhost');
    expect(await titles(page)).toEqual(['Rockets', 'Anvils']);
    await page.getByRole('radio', { name: 'Globex' }).check({ force: true });
    expect(await titles(page)).not.toContain('Anvils');
    await note(page, 'Hammocks').waitFor();
    expect(await titles(page)).toEqual(['Hammocks']);
    await page.reload();
    await settled(page);
    expect(await titles(page)).toEqual(['Hammocks']);
    expect(await page.getByRole('radio', { name: 'Globex' }).isChecked()).toBe(true);
  });

  it('ignores an answer that comes after the switch', async () => {
    const page = await open('localhost', '/?tenant=globex');
    let release: () => void = () => undefined;
    const released = new Promise<void>((resolve) => (release = resolve));
    await page.route('**/notes?*', async (route) => {
      if (route.request().headers()['x-tenant-id'] !== 'acme') return await route.continue();
      const response = await route.fetch();
      await released;
      await route.fulfill({ response });
    });
    await page.getByRole('radio', { name: 'Acme' }).check({ force: true });
    const late = page.waitForResponse((response) => response.request().headers()['x-tenant-id'] === 'acme');
    await page.getByRole('radio', { name: 'Globex' }).check({ force: true });
    await note(page, 'Hammocks').waitFor();
    release();
    await (await late).finished();
    await page.evaluate(() => new Promise((resolve) => setTimeout(resolve, 50)));
    expect(await titles(page)).toEqual(['Hammocks']);
  });

  it('asks before a switch throws away what somebody is writing', async () => {
    const page = await open('localhost', '/?tenant=acme');
    await composer(page).getByLabel('Title').fill('Half a thought');
    await page.getByRole('radio', { name: 'Globex' }).check({ force: true });
    await page.getByRole('dialog').getByRole('button', { name: 'Cancel' }).click();
    expect(await composer(page).getByLabel('Title').inputValue()).toBe('Half a thought');
    expect(await page.getByRole('radio', { name: 'Acme' }).isChecked()).toBe(true);
    expect(await titles(page)).toEqual(['Rockets', 'Anvils']);
  });

  it('shows markup as text', async () => {
    const page = await open('acme.localhost');
    const markup = '<img src=x onerror="document.title=1">';
    await add(page, markup, `<script>alert(1)</script>${markup}`);
    await page.reload();
    await settled(page);
    expect(await titles(page)).toContain(markup);
    expect(await page.locator('#notes img, #notes script').count()).toBe(0);
    expect(await page.title()).toBe('Notes of Acme');
    await note(page, markup).getByRole('button', { name: 'Delete' }).click();
    expect(await page.getByRole('dialog').getByRole('heading').textContent()).toBe(`Delete “${markup}”?`);
    await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
    await gone(note(page, markup));
  });

  it('shows what is wrong with a field next to it, and keeps what was written', async () => {
    const page = await open('acme.localhost');
    const title = composer(page).getByLabel('Title');
    await composer(page).getByLabel('Text').fill('without a title');
    await composer(page).getByRole('button', { name: 'Add note' }).click();
    await composer(page).getByText('The title needs 1 to 120 characters.').waitFor();
    expect(await title.getAttribute('aria-invalid')).toBe('true');
    expect(await isFocused(title)).toBe(true);
    expect(await composer(page).getByLabel('Text').inputValue()).toBe('without a title');

    await title.fill('x'.repeat(121));
    await title.press('Enter');
    await composer(page).getByText('The title needs 1 to 120 characters.').waitFor();
    await title.fill('With a title');
    await title.press('Enter');
    await note(page, 'With a title').waitFor();
    expect(await title.getAttribute('aria-invalid')).toBe('false');
  });

  it('searches while one types', async () => {
    const page = await open('acme.localhost');
    const search = page.getByRole('searchbox', { name: 'Search notes' });
    await page.keyboard.press('/');
    await page.keyboard.type('anv', { delay: 30 });
    await gone(note(page, 'Rockets'));
    expect(await titles(page)).toEqual(['Anvils']);
    await page.getByRole('status').getByText('1 note found').waitFor();
    await search.fill('hammocks');
    await page.getByRole('heading', { name: 'Nothing matches “hammocks”' }).waitFor();
    await search.fill('');
    await note(page, 'Rockets').waitFor();
  });

  it('edits in place by keyboard alone, and deletes', async () => {
    const page = await open('acme.localhost');
    await add(page, 'Draft', 'first');
    const edit = note(page, 'Draft').getByRole('button', { name: 'Edit' });
    await edit.focus();
    await page.keyboard.press('Enter');
    await page.keyboard.press('Escape');
    expect(await isFocused(edit)).toBe(true);

    await page.keyboard.press('Enter');
    const form = page.getByRole('form', { name: 'Edit note' });
    await form.getByLabel('Title').fill('');
    await page.keyboard.press('Control+Enter');
    await form.getByText('The title needs 1 to 120 characters.').waitFor();
    await page.keyboard.type('Final');
    await page.keyboard.press('Tab');
    await page.keyboard.press('Control+A');
    await page.keyboard.type('second');
    await page.keyboard.press('Control+Enter');
    await note(page, 'Final').waitFor();
    expect(await note(page, 'Final').locator('.text').textContent()).toBe('second');
    await gone(note(page, 'Draft'));

    await note(page, 'Final').getByRole('button', { name: 'Delete' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Cancel' }).click();
    expect(await titles(page)).toContain('Final');
    await note(page, 'Final').getByRole('button', { name: 'Delete' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
    await gone(note(page, 'Final'));
    await page.reload();
    await settled(page);
    expect(await titles(page)).not.toContain('Final');
  });

  it('fits a phone', async () => {
    const page = await open('acme.localhost');
    await page.setViewportSize({ width: 320, height: 640 });
    await add(page, 'W'.repeat(120), 'w'.repeat(400));
    expect(await page.locator('html').evaluate(({ scrollWidth }) => scrollWidth)).toBeLessThanOrEqual(320);
  });

  it('says that a host names no tenant that there is', async () => {
    const page = await open('initech.localhost');
    await alertOf(page).waitFor();
    expect(await alertOf(page).textContent()).toBe('There is no such tenant.');
  });

  it('says that the server is gone, and goes on when it is back', async () => {
    const page = await open('acme.localhost');
    const { port } = notes;
    await notes.stop();
    await composer(page).getByLabel('Title').fill('Written offline');
    await composer(page).getByRole('button', { name: 'Add note' }).click();
    await alertOf(page).getByText('The server cannot be reached.').waitFor();
    expect(await composer(page).getByLabel('Title').inputValue()).toBe('Written offline');
    await page.getByRole('searchbox').fill('anvils');
    await page.getByRole('button', { name: 'Try again' }).waitFor();

    notes = await startNotes(folder.path, { PORT: String(port) });
    await page.getByRole('button', { name: 'Try again' }).click();
    await gone(note(page, 'Rockets'));
    expect(await titles(page)).toEqual(['Anvils']);
    expect(await page.getByRole('alert').isVisible()).toBe(false);
    await composer(page).getByRole('button', { name: 'Add note' }).click();
    await note(page, 'Written offline').waitFor();
  });
});
