import type { InjectionToken, Type } from '@nestjs/common';
import {
  assertKeys,
  assertNoScope,
  assertObject,
  assertTenants,
  isAuthentication,
  isBoolean,
  isCount,
  isDuration,
  isNames,
  isObject,
  isRevocations,
  isSwitch,
  isText,
  isUrl,
} from './option-checks.js';
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
  /** How end users sign in, for `RecordUserGuard` and `TenantAuth`. */
  recordUsers?: RecordUsersOptions;
  /**
   * Whether a write of the typed builders (`create`, `update`, …) that returns no record fails with NOT_ALLOWED: the database
   * answers with nothing when PERMISSIONS or the role forbid a write. Default false.
   */
  strictWrites?: boolean;
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

export interface RecordUsersOptions {
  /** The access methods whose tokens are taken. Default: those of the tenant's database, all of them. */
  access?: readonly string[];
  /** The cookie that holds the token, where it does not come as `Authorization: Bearer …`. Default: none is looked at. */
  cookie?: string;
  /**
   * How often a user's session signs in again, in milliseconds: how long one goes on who was deleted, or whom the access
   * method's AUTHENTICATE clause would refuse now. Default 60,000.
   */
  recheckMillis?: number;
  /** Where the tokens of users who signed out are kept until they end. Default: in this process. */
  revocations?: TokenRevocations;
}

/** Remembers tokens that are not to be taken any more. Applications of several processes share one, in a store of theirs. */
export interface TokenRevocations {
  /**
   * @param id names the token, and tells nothing of it
   * @param expiresAt when it may be forgotten, in milliseconds since 1970
   */
  add(id: string, expiresAt: number): Promise<void> | void;
  /** Asked for every request of a user; an error refuses the request. */
  has(id: string): Promise<boolean> | boolean;
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
  recordUsers: RecordUsersOptions & { recheckMillis: number };
  strictWrites: boolean;
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
  strictWrites: false,
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
    recordUsers: isObject,
    strictWrites: isBoolean,
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
  assertNoScope(options.recordUsers ?? {});
  assertKeys('recordUsers.', options.recordUsers ?? {}, {
    access: isNames,
    cookie: isText,
    recheckMillis: isDuration,
    revocations: isRevocations,
  });
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
    recordUsers: { recheckMillis: 60_000, ...defined(options.recordUsers) },
    telemetry: telemetry !== false && { queryText: false, ...defined(telemetryOptions) },
  };
}

/** Without the keys whose value is undefined: an option that is given as undefined is not given. */
function defined<Options extends object>(options: Options | undefined): Options {
  return Object.fromEntries(Object.entries(options ?? {}).filter(([, value]) => value !== undefined)) as Options;
}
