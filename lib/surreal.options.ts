import type { InjectionToken, Type } from '@nestjs/common';
import { InvalidOptionsError } from './surreal.errors.js';
import type { ReconnectOptions } from './connection/socket-transport.js';
import type { TenantCacheOptions } from './tenant/cached-tenant-store.js';
import type { TenantStore } from './tenant/tenant-store.js';
import type { TenantStrategyInput } from './tenant/tenant-strategy.js';

export interface SurrealModuleOptions {
  /**
   * `ws://` or `wss://` of a server (SurrealDB 3 or later), a list of them for the nodes of one cluster, or an engine
   * inside this process: `mem://`, `surrealkv://DIR`, `rocksdb://DIR` (needs the package `@surrealdb/node`).
   */
  url: string | string[];
  /** The service's own sign-in, as a user ON ROOT. It belongs to the central connection alone, never to a tenant. */
  authentication?: { username: string; password: string };
  /** Namespace of the central connection. Give it together with `database`. */
  namespace?: string;
  /** Database of the central connection. */
  database?: string;
  /** Needed for anything with tenants; without it the module gives a central connection alone. */
  tenants?: TenantsOptions;
  sessions?: SessionsOptions;
  /** How tenants share the sockets. */
  calls?: CallsOptions;
  /** How many sockets carry sessions, tenants spread over them. Default 4; a socket is opened when it is first needed. */
  sockets?: number;
  /**
   * Limit of every call to the database, in milliseconds: waiting for a session, a reconnect, its turn and the answer, all
   * together. Default 30,000.
   */
  requestTimeoutMillis?: number;
  /**
   * How often each socket's server is asked for a sign of life, in milliseconds; a socket without one until the next time
   * is dropped and replaced. Default 10,000.
   */
  pingIntervalMillis?: number;
  /** How sockets that dropped are replaced. Default: for ever, with pauses of 50 to 2,000 milliseconds and jitter. */
  reconnect?: ReconnectOptions;
  /** How long the shutdown waits for units of work that are running, in milliseconds; then they are ended. Default 10,000. */
  shutdownTimeoutMillis?: number;
  /** How long the application's start waits for the database, in milliseconds. Default 30,000. */
  connectTimeoutMillis?: number;
  /** Whether errors of the database and of this library become HTTP answers by themselves. Default true. */
  exceptionFilter?: boolean;
  /**
   * Spans and metrics by OpenTelemetry, where the application has `@opentelemetry/api` and has registered an SDK.
   * Default true.
   */
  telemetry?: boolean | TelemetryOptions;
}

export interface TelemetryOptions {
  /**
   * Put the text of queries into their spans. Default false: a text holds whatever values the application has pasted into it.
   * Bindings are never shown.
   */
  queryText?: boolean;
}

export interface TenantsOptions {
  /** How to find out which tenant a request is for, in the order in which they are asked. */
  strategies: TenantStrategyInput[];
  /** Who knows the tenants: an object, a class for Nest to create, or the token of a provider. */
  store: TenantStore | Type<TenantStore> | InjectionToken;
  /** Ask all strategies, and refuse a request in which two name different tenants. Default true. */
  crossCheck?: boolean;
  /** Remember the store's answers. Default false: the store is asked for every request. */
  cache?: boolean | TenantCacheOptions;
}

export interface SessionsOptions {
  /** How many sessions there may be on the server at once. Default 10,000. */
  max?: number;
  /** A session that nobody used for this long is closed, in milliseconds. Default 300,000. */
  idleTimeoutMillis?: number;
  /** A session older than this gets no new units of work: how long a right that was taken away goes on. Default 3,600,000. */
  maxLifetimeMillis?: number;
  /** How long a unit of work waits for a session when `max` are in use, in milliseconds. Default 5,000. */
  acquireTimeoutMillis?: number;
  /**
   * How many units of work of one tenant may have a session of their own (by `set()`, a sign-in, `attach()`) at once; more
   * wait. Default a quarter of `max`. Units that change nothing share one session and are not counted.
   */
  maxOwnPerTenant?: number;
  /**
   * A unit of work that holds a session for longer is reported in the log, once, with where it took it, in milliseconds.
   * Default: never. It costs a stack trace for each unit of work that queries.
   */
  leakDetectionMillis?: number;
}

/** Limits of calls, on each socket that carries sessions. What is over a limit waits, tenants taking turns. */
export interface CallsOptions {
  /**
   * Calls of one tenant that the server works at while other tenants use the socket too, so that one tenant's flood does
   * not delay the others. Default 4.
   */
  maxInFlightPerTenant?: number;
  /** Calls of all tenants that the server works at; of one tenant, when it has had the socket for itself for 10 s. Default 64. */
  maxInFlight?: number;
  /** Calls of one tenant that have not been sent; one more is refused with POOL_EXHAUSTED. Default 1,000. */
  maxWaitingPerTenant?: number;
  /** Calls of all tenants that have not been sent; one more is refused with POOL_EXHAUSTED. Default 10,000. */
  maxWaiting?: number;
}

/** Options with every default filled in. */
export interface ResolvedOptions extends SurrealModuleOptions {
  sessions: Required<Omit<SessionsOptions, 'leakDetectionMillis'>> & Pick<SessionsOptions, 'leakDetectionMillis'>;
  calls: Required<CallsOptions>;
  reconnect: ReconnectOptions;
  sockets: number;
  requestTimeoutMillis: number;
  connectTimeoutMillis: number;
  pingIntervalMillis: number;
  shutdownTimeoutMillis: number;
  exceptionFilter: boolean;
  telemetry: false | Required<TelemetryOptions>;
}

/** Injection token of the resolved options. */
export const SURREAL_OPTIONS = Symbol.for('nestjs-surreal.options');

const SESSIONS = {
  max: 10_000,
  idleTimeoutMillis: 300_000,
  maxLifetimeMillis: 3_600_000,
  acquireTimeoutMillis: 5_000,
};

const DEFAULTS = {
  sockets: 4,
  requestTimeoutMillis: 30_000,
  connectTimeoutMillis: 30_000,
  pingIntervalMillis: 10_000,
  shutdownTimeoutMillis: 10_000,
  exceptionFilter: true,
};

const CALLS: Required<CallsOptions> = {
  maxInFlightPerTenant: 4,
  maxInFlight: 64,
  maxWaitingPerTenant: 1_000,
  maxWaiting: 10_000,
};

/**
 * Checks the options and fills in the defaults.
 * @throws InvalidOptionsError naming the option that is missing, unknown or of the wrong form
 */
export function resolveOptions(options: SurrealModuleOptions): ResolvedOptions {
  assertObject('SurrealModule.forRoot()', options);
  assertKeys('', options, {
    url: isUrl,
    authentication: isAuthentication,
    namespace: isText,
    database: isText,
    tenants: isObject,
    sessions: isObject,
    calls: isObject,
    sockets: isCount,
    requestTimeoutMillis: isDuration,
    connectTimeoutMillis: isDuration,
    pingIntervalMillis: isDuration,
    reconnect: isObject,
    shutdownTimeoutMillis: isDuration,
    exceptionFilter: isBoolean,
    telemetry: isSwitch,
  });
  if (options.url === undefined)
    throw new InvalidOptionsError('Option "url" is missing. Give the address of SurrealDB.');
  if ((options.namespace === undefined) !== (options.database === undefined)) {
    throw new InvalidOptionsError('Options "namespace" and "database" go together. Give both or neither.');
  }
  if (options.tenants !== undefined) assertTenants(options.tenants);
  assertKeys('sessions.', options.sessions ?? {}, {
    max: isCount,
    idleTimeoutMillis: isDuration,
    maxLifetimeMillis: isDuration,
    acquireTimeoutMillis: isDuration,
    maxOwnPerTenant: isCount,
    leakDetectionMillis: isDuration,
  });
  assertKeys('calls.', options.calls ?? {}, {
    maxInFlightPerTenant: isCount,
    maxInFlight: isCount,
    maxWaitingPerTenant: isCount,
    maxWaiting: isCount,
  });
  assertKeys('reconnect.', options.reconnect ?? {}, {
    firstDelayMillis: isDuration,
    maxDelayMillis: isDuration,
    maxAttempts: isCount,
  });
  const { telemetry = true } = options;
  const telemetryOptions = typeof telemetry === 'object' ? telemetry : {};
  assertKeys('telemetry.', telemetryOptions, { queryText: isBoolean });
  const sessions = { ...SESSIONS, ...defined(options.sessions) };
  return {
    ...DEFAULTS,
    ...defined(options),
    url: options.url,
    sessions: { maxOwnPerTenant: Math.ceil(sessions.max / 4), ...sessions },
    calls: { ...CALLS, ...defined(options.calls) },
    reconnect: defined(options.reconnect),
    telemetry: telemetry !== false && { queryText: false, ...defined(telemetryOptions) },
  };
}

/** Without the keys whose value is undefined: an option that is given as undefined is not given. */
function defined<Options extends object>(options: Options | undefined): Options {
  return Object.fromEntries(Object.entries(options ?? {}).filter(([, value]) => value !== undefined)) as Options;
}

const MISSING = {
  strategies: "Say how to find a request's tenant, such as [fromHeader('x-tenant-id')].",
  store: 'Say who knows the tenants, such as new InMemoryTenantStore([…]).',
};

function assertTenants(tenants: TenantsOptions): void {
  assertKeys('tenants.', tenants, {
    strategies: isStrategies,
    store: isStore,
    crossCheck: isBoolean,
    cache: (value) =>
      typeof value === 'boolean' || isObject(value) === undefined ? undefined : 'true, false or an object',
  });
  for (const name of ['strategies', 'store'] as const) {
    if (tenants[name] === undefined)
      throw new InvalidOptionsError(`Option "tenants.${name}" is missing. ${MISSING[name]}`);
  }
  if (typeof tenants.cache === 'object') {
    assertKeys('tenants.cache.', tenants.cache, { ttlMillis: isDuration, negativeTtlMillis: isDuration, max: isCount });
  }
}

/** Says what an option should have been; undefined when it is right. */
type Check = (value: unknown) => string | undefined;

const isText: Check = (value) => (typeof value === 'string' && value !== '' ? undefined : 'a non-empty string');
const isBoolean: Check = (value) => (typeof value === 'boolean' ? undefined : 'true or false');
const isSwitch: Check = (value) =>
  isBoolean(value) === undefined || isObject(value) === undefined ? undefined : 'true, false or an object';
const isObject: Check = (value) => (typeof value === 'object' && value !== null ? undefined : 'an object');
const isCount: Check = (value) =>
  Number.isInteger(value) && (value as number) > 0 ? undefined : 'a whole number above 0';
/** setTimeout counts in 31 bits: longer ones would fire at once. */
const isDuration: Check = (value) =>
  typeof value === 'number' && value > 0 && value < 2 ** 31
    ? undefined
    : 'a number of milliseconds above 0 and below 2^31';
const isUrl: Check = (value) => {
  const urls = Array.isArray(value) ? value : [value];
  return urls.every((url) => isText(url) === undefined) ? undefined : 'a url or a list of urls';
};
const isAuthentication: Check = (value) => {
  const { username, password } = (value ?? {}) as Record<string, unknown>;
  return isText(username) === undefined && isText(password) === undefined ? undefined : '{ username, password }';
};
const isStrategies: Check = (value) => {
  const isStrategy = (one: unknown) =>
    typeof one === 'function' || typeof (one as { identify?: unknown })?.identify === 'function';
  const isList = Array.isArray(value) && value.length > 0 && value.every(isStrategy);
  return isList ? undefined : 'a non-empty list of strategies (fromHeader(…), a function, or a class with identify())';
};
const isStore: Check = (value) =>
  ['function', 'string', 'symbol'].includes(typeof value) ||
  typeof (value as { findByIdentifier?: unknown } | null)?.findByIdentifier === 'function'
    ? undefined
    : 'an object with findByIdentifier(), a class, or an injection token';

function assertObject(name: string, value: unknown): void {
  if (isObject(value) !== undefined) throw new InvalidOptionsError(`${name} needs an object of options.`);
}

/** Every key must be known, and every value that is given must pass its check. Values are not shown: one is a password. */
function assertKeys(prefix: string, options: object, checks: Record<string, Check>): void {
  for (const [key, value] of Object.entries(options)) {
    const check = Object.hasOwn(checks, key) ? checks[key] : undefined;
    if (check === undefined) {
      const known = Object.keys(checks).map((name) => prefix + name);
      throw new InvalidOptionsError(`Option "${prefix}${key}" is unknown. Known are: ${known.join(', ')}.`);
    }
    const expected = value === undefined ? undefined : check(value);
    if (expected !== undefined) throw new InvalidOptionsError(`Option "${prefix}${key}" must be ${expected}.`);
  }
}
