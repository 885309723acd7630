import { InvalidOptionsError, SessionsUnsupportedError } from '../surreal.errors.js';

/** Where the database is: sockets to the nodes of one cluster, or an engine inside this process. */
export type Endpoint = { type: 'socket'; urls: URL[] } | { type: 'embedded'; url: string; scheme: EmbeddedScheme };

const EMBEDDED = ['mem', 'surrealkv', 'surrealkv+versioned', 'rocksdb'] as const;
export type EmbeddedScheme = (typeof EMBEDDED)[number];

/**
 * Reads the `url` option.
 * @throws SessionsUnsupportedError for `http(s)://`, which has no sessions
 * @throws InvalidOptionsError for anything else that is no url of SurrealDB
 */
export function parseEndpoint(url: string | readonly string[]): Endpoint {
  const urls = typeof url === 'string' ? [url] : url;
  const schemes = urls.map((one) => /^([a-z][a-z+]*):\/\//i.exec(one)?.[1]?.toLowerCase());
  const [first] = urls;
  if (first === undefined) throw new InvalidOptionsError('Option "url" is an empty list. Give at least one url.');

  const embedded = EMBEDDED.find((scheme) => scheme === schemes[0]);
  if (embedded !== undefined && urls.length === 1) return { type: 'embedded', url: first, scheme: embedded };
  return { type: 'socket', urls: urls.map((one, index) => parseSocketUrl(one, schemes[index])) };
}

function parseSocketUrl(url: string, scheme: string | undefined): URL {
  if (scheme === 'http' || scheme === 'https') {
    throw new SessionsUnsupportedError(
      `Option "url" is ${redactUrl(url)}, but HTTP has no sessions, so tenants could not be kept apart. ` +
        `Sessions need ws(s):// and SurrealDB 3: try ${redactUrl(url).replace(/^http/i, 'ws')}`,
    );
  }
  if ((scheme !== 'ws' && scheme !== 'wss') || !URL.canParse(url)) {
    throw new InvalidOptionsError(
      `Option "url" has ${JSON.stringify(redactUrl(url))}. Give ws://HOST:PORT/rpc or wss://…, or one of ` +
        'mem://, surrealkv://DIR, rocksdb://DIR for an engine inside this process; a list may hold ws(s):// urls only.',
    );
  }
  const parsed = new URL(url);
  if (parsed.username !== '' || parsed.password !== '') {
    throw new InvalidOptionsError('Option "url" holds a user or password. Give them as "authentication" instead.');
  }
  // `surreal start` listens on /rpc; the bare address is what people type.
  if (parsed.pathname === '/' || parsed.pathname === '') parsed.pathname = '/rpc';
  return parsed;
}

/** A url as it may appear in an error: without the user, password and query that it may carry (R7). */
export function redactUrl(url: string): string {
  // Up to the last @: a password may hold a slash or an @ itself. Rather too little is shown than too much.
  return url.replace(/\/\/.*@/s, '//').replace(/[?#].*$/s, '');
}
