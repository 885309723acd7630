import type { CallFilter, CallFilterMessage } from './faults.js';

/** How {@link SurrealTestServer.start} sets the server up. Any other key is refused by name. */
export interface SurrealTestServerOptions {
  /**
   * Where the data lives. `mem://` (the default) starts empty after every restart; the two directories keep what was
   * acknowledged, even over a `kill()`. Directories are the caller's: they are never removed.
   */
  storage?: 'mem://' | `surrealkv://${string}` | `rocksdb://${string}`;
  /**
   * The user with the role OWNER on ROOT, default `root` / `root`. Defined where the storage knows no user of that name;
   * one that exists keeps its password.
   */
  root?: { username: string; password: string };
  /** TCP port on 127.0.0.1. Default: any free one, kept over restarts. */
  port?: number;
}

/** Options with their defaults filled in. */
export interface ServerSettings {
  storage: string;
  root: { username: string; password: string };
  port: number;
}

/**
 * Checks the options and fills in defaults.
 * @throws TypeError naming the option that is unknown or has a wrong value (never the password itself).
 */
export function readOptions(options: SurrealTestServerOptions): ServerSettings {
  refuseUnknownKeys('SurrealTestServer.start', options, ['storage', 'root', 'port']);
  const { storage = 'mem://', root = { username: 'root', password: 'root' }, port = 0 } = options;
  if (storage !== 'mem://' && !/^(surrealkv|rocksdb):\/\/./.test(storage)) {
    throw new TypeError(`option "storage" must be mem://, surrealkv://DIR or rocksdb://DIR, not "${storage}"`);
  }
  if (!Number.isInteger(port) || port < 0 || port > 65_535) {
    throw new TypeError(`option "port" must be a whole number from 0 (any free port) to 65535, not ${String(port)}`);
  }
  refuseUnknownKeys('option "root"', root, ['username', 'password']);
  for (const key of ['username', 'password'] as const) {
    // They become part of a DEFINE USER statement, where control characters and lone surrogates have no faithful spelling.
    if (typeof root[key] !== 'string' || root[key] === '' || /[\p{Cc}\p{Cs}]/u.test(root[key])) {
      throw new TypeError(`option "root.${key}" must be a string that is not empty and has no control characters`);
    }
  }
  return { storage, port, root: { username: root.username, password: root.password } };
}

/**
 * Brings a filter into a form that can cross to the server's process.
 * @throws TypeError naming a key that is unknown or has a wrong value.
 */
export function readFilter(filter: CallFilter): CallFilterMessage {
  refuseUnknownKeys('filter', filter, ['method', 'match']);
  const { method, match } = filter;
  if (method !== undefined && typeof method !== 'string') throw new TypeError('filter "method" must be a string');
  if (match !== undefined && typeof match !== 'string' && !isRegExp(match)) {
    throw new TypeError('filter "match" must be a string or a RegExp');
  }
  return {
    ...(method === undefined ? {} : { method }),
    // Without g and y: those make a RegExp remember where it stopped, so every other call would not match.
    ...(match === undefined
      ? {}
      : {
          match: typeof match === 'string' ? match : { source: match.source, flags: match.flags.replace(/[gy]/g, '') },
        }),
  };
}

// Test runners give each file a realm of its own, where `instanceof RegExp` is false for a literal of another.
function isRegExp(value: unknown): value is RegExp {
  return Object.prototype.toString.call(value) === '[object RegExp]';
}

function refuseUnknownKeys(where: string, given: unknown, known: string[]): void {
  if (typeof given !== 'object' || given === null) throw new TypeError(`${where}: expected an object`);
  const unknown = Object.keys(given).find((key) => !known.includes(key));
  if (unknown !== undefined) {
    throw new TypeError(`${where}: unknown option "${unknown}". Known: ${known.join(', ')}`);
  }
}
