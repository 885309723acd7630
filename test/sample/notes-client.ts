/** A note as the sample answers it. */
export interface Note {
  id: string;
  title: string;
  body: string;
  is_shared: boolean;
  is_mine: boolean;
  owner_name: string;
  created_at: string;
  updated_at: string;
}

export interface Answer<Body> {
  status: number;
  body: Body;
  headers: Headers;
}

export interface Refusal {
  message: string;
  code?: string;
  field?: string;
  fields?: Record<string, string>;
}

export interface Tokens {
  access: string;
  refresh: string;
}

interface Sent {
  method?: string;
  body?: unknown;
  type?: string;
  /** Whose request it is. */
  as?: Tokens | undefined;
}

/** What the tests use as a password, unless they are about passwords. */
export const PASSWORD = 'correct horse battery';

const SIGN_INS = ['/signup', '/signin', '/refresh'];

/** Speaks HTTP with the sample, and remembers what it answered. */
export class NotesClient {
  /** Every body that was ever answered, but those of sign-ins, which have tokens in them. */
  readonly answers: string[] = [];
  readonly #url: () => string;

  /** @param url asked for every request: a sample that was started again has another one */
  constructor(url: () => string) {
    this.#url = url;
  }

  async send<Body = Refusal>(
    tenant: string | undefined,
    path: string,
    { method = 'GET', body, type = 'application/json', as }: Sent = {},
  ): Promise<Answer<Body>> {
    const response = await fetch(this.#url() + path, {
      method,
      headers: {
        ...(tenant === undefined ? {} : { 'x-tenant-id': tenant }),
        ...(as === undefined ? {} : { authorization: `Bearer ${as.access}` }),
        ...(body === undefined ? {} : { 'content-type': type }),
      },
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    });
    const text = await response.text();
    if (!response.ok || !SIGN_INS.includes(path)) this.answers.push(text);
    return {
      status: response.status,
      body: (text === '' ? undefined : JSON.parse(text)) as Body,
      headers: response.headers,
    };
  }

  post<Body = Refusal>(tenant: string, path: string, body: unknown, as?: Tokens): Promise<Answer<Body>> {
    return this.send<Body>(tenant, path, { method: 'POST', body, as });
  }

  async signUp(tenant: string, name: string, email = `${name.toLowerCase()}@example.com`): Promise<Tokens> {
    return answered(201, await this.post<Tokens>(tenant, '/signup', { name, email, password: PASSWORD }));
  }

  async signIn(tenant: string, email: string): Promise<Tokens> {
    return answered(200, await this.post<Tokens>(tenant, '/signin', { email, password: PASSWORD }));
  }

  async create(tenant: string, owner: Tokens, note: object): Promise<Note> {
    return answered(201, await this.post<Note>(tenant, '/notes', note, owner));
  }

  async titles(tenant: string, as: Tokens, query = ''): Promise<string[]> {
    const { body } = await this.send<Note[]>(tenant, `/notes${query}`, { as });
    return body.map(({ title }) => title);
  }
}

/** @throws Error for another status than the one that is expected */
function answered<Body>(expected: number, { status, body }: Answer<Body>): Body {
  if (status === expected) return body;
  throw new Error(`The sample answered ${status}, not ${expected}: ${JSON.stringify(body)}`);
}
