import { type Browser, type BrowserContext, chromium, type Page } from 'playwright-core';
import { findChromium } from '../../scripts/chromium.mjs';
import type { Tokens } from './notes-client.js';

const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

/** A Chromium whose pages have nothing to complain of. */
export class NotesBrowser {
  readonly #browser: Browser;
  /** What the pages complained of: errors of scripts, refused resources. */
  #complaints: string[] = [];
  #contexts: BrowserContext[] = [];

  /** Whoever calls closes it. */
  static async launch(): Promise<NotesBrowser> {
    const executablePath = findChromium();
    if (executablePath === undefined) {
      throw new Error(
        'There is no Chromium. Install one (apt-get install -y chromium), or give its path: CHROMIUM=/path/to/chrome npm test',
      );
    }
    return new NotesBrowser(await chromium.launch({ executablePath, args: FLAGS }));
  }

  private constructor(browser: Browser) {
    this.#browser = browser;
  }

  close(): Promise<void> {
    return this.#browser.close();
  }

  /** Before each test. */
  begin(): void {
    this.#complaints = [];
    this.#contexts = [];
  }

  /** After each test. @throws Error when a page complained */
  async end(): Promise<void> {
    await Promise.all(this.#contexts.map((context) => context.close()));
    if (this.#complaints.length > 0) throw new Error(`The page complained:\n${this.#complaints.join('\n')}`);
  }

  /**
   * A page in a browser of its own, as another person has.
   * @param people who is signed in there, by tenant
   */
  async open(url: string, people: Record<string, Tokens> = {}): Promise<Page> {
    const context = await this.#browser.newContext();
    this.#contexts.push(context);
    context.on('page', (page) => this.#watch(page));
    const page = await context.newPage();
    // Where the page keeps them, on a file that runs no script of its own.
    await page.goto(new URL('/icon.svg', url).href);
    for (const [tenant, tokens] of Object.entries(people)) {
      const item = JSON.stringify(JSON.stringify(tokens));
      await page.evaluate(`sessionStorage.setItem('session:${tenant}', ${item})`);
    }
    await page.goto(url);
    await settled(page);
    return page;
  }

  #watch(page: Page): void {
    page.setDefaultTimeout(5_000);
    page.on('pageerror', (error) => this.#complaints.push(error.message));
    page.on('console', (message) => {
      if (/Content.Security.Policy/i.test(message.text())) this.#complaints.push(message.text());
    });
    page.on('dialog', (dialog) => {
      this.#complaints.push(`dialog: ${dialog.message()}`);
      void dialog.dismiss();
    });
  }
}

export const settled = (page: Page) => page.locator('#notes[aria-busy=false]').waitFor({ state: 'attached' });
export const note = (page: Page, title: string) => page.getByRole('listitem').filter({ hasText: title });
export const titles = (page: Page) => page.locator('#notes h2').allTextContents();
export const alertOf = (page: Page) => page.getByRole('alert').getByRole('paragraph');
export const composer = (page: Page) => page.getByRole('form', { name: 'New note' });
