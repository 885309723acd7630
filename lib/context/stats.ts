import type { SocketPurpose } from '../connection/surreal-connection.js';
import type { ServerSession } from '../session/server-session.js';
import type { SurrealErrorCode } from '../surreal.errors.js';
import type { TenancyResources } from './tenancy.js';

/** What is going on at one moment. Counters count from the start of the application. */
export interface TenancyStats {
  readonly sockets: readonly SocketStats[];
  readonly sessions: SessionStats;
  readonly calls: CallStats;
  readonly signins: SigninStats;
  /** Units of work that are running, those without a tenant included. */
  readonly units: number;
  /** Those reported by `sessions.leakDetectionMillis`. */
  readonly leaks: number;
  /** By tenant id, of those that have sessions or calls; only when asked for. */
  readonly tenants?: Readonly<Record<string, TenantStats>>;
}

export interface SocketStats {
  /** `embedded` for the engine inside this process, which is all of the others. */
  readonly purpose: SocketPurpose;
  /** `idle` is one that was not needed yet, or that was given up until the next call (`reconnect.maxAttempts`). */
  readonly state: 'idle' | 'connecting' | 'open' | 'closed';
  /** Calls that wait for their answer. */
  readonly inFlight: number;
  readonly reconnects: number;
}

export interface SessionStats {
  /** The option `sessions.max`. */
  readonly max: number;
  readonly total: number;
  readonly inUse: number;
  readonly idle: number;
  /** Those that belong to one unit of work alone. */
  readonly own: number;
  /** Signed in on the server now; the others come back when they are next needed. */
  readonly ready: number;
  /** Units of work that wait for a session. */
  readonly waiting: number;
}

export interface CallStats {
  readonly total: number;
  /** Calls of tenants that the server works at, those included that nobody waits for any more. */
  readonly inFlight: number;
  /** Calls of tenants that have not been sent yet. */
  readonly waiting: number;
  readonly failures: Readonly<Partial<Record<SurrealErrorCode, number>>>;
}

export interface SigninStats {
  /** Sign-ins with a password, of tenants and of end users. */
  readonly total: number;
  readonly pending: number;
  /** How often a tenant's own credentials did not work. */
  readonly refused: number;
}

export interface TenantStats {
  readonly sessions: number;
  readonly inUse: number;
  readonly own: number;
  readonly inFlight: number;
  /** Calls that have not been sent, and units of work that wait for a session. */
  readonly waiting: number;
}

/** Takes a snapshot that nothing changes any more. */
export function takeStats(resources: TenancyResources, withTenants: boolean): TenancyStats {
  const { pool, connection, tokens, statistics, context, sockets, leaks } = resources;
  const sessions = [...pool.sessions];
  const count = (test: (session: ServerSession) => boolean) => sessions.filter(test).length;
  const inUse = count(({ uses }) => uses > 0);
  const { signins, logins } = connection;
  return Object.freeze({
    sockets: Object.freeze(connection.transports.map(socketStats)),
    sessions: Object.freeze({
      max: resources.maxSessions,
      total: sessions.length,
      inUse,
      idle: sessions.length - inUse,
      own: count(({ own }) => own),
      ready: count(({ isReady }) => isReady),
      waiting: pool.waiters.size,
    }),
    calls: Object.freeze({
      total: statistics.calls,
      inFlight: sum(sockets.queues.map(({ inFlight }) => inFlight)),
      waiting: sum(sockets.queues.map(({ waiting }) => waiting)),
      failures: Object.freeze({ ...statistics.failures }),
    }),
    signins: Object.freeze({
      total: signins.requests + logins.requests,
      pending: signins.pending + logins.pending,
      refused: tokens.refusals,
    }),
    units: context.running,
    leaks: leaks?.reports ?? 0,
    ...(withTenants ? { tenants: tenantStats(resources, sessions) } : {}),
  });
}

function socketStats({ purpose, transport }: TenancyResources['connection']['transports'][number]): SocketStats {
  const { state, inFlight, connects } = transport;
  return Object.freeze({ purpose, state, inFlight, reconnects: Math.max(0, connects - 1) });
}

function tenantStats(
  { pool, sockets }: TenancyResources,
  sessions: readonly ServerSession[],
): NonNullable<TenancyStats['tenants']> {
  const counts = new Map<string, { sessions: number; inUse: number; own: number }>();
  const countsOf = (id: string) => {
    const known = counts.get(id) ?? { sessions: 0, inUse: 0, own: 0 };
    counts.set(id, known);
    return known;
  };
  for (const id of [...sockets.queues.flatMap(({ keys }) => keys), ...pool.waiters.keys]) countsOf(id);
  for (const { tenant, uses, own } of sessions) {
    const known = countsOf(tenant?.id ?? '');
    known.sessions++;
    if (uses > 0) known.inUse++;
    if (own) known.own++;
  }
  // What belongs to no tenant has the empty key.
  counts.delete('');
  const entries = [...counts].map(([id, known]): [string, TenantStats] => {
    const { inFlight, waiting } = sockets.queueOf(id).trafficOf(id);
    return [id, Object.freeze({ ...known, inFlight, waiting: waiting + pool.waiters.sizeOf(id) })];
  });
  return Object.freeze(Object.fromEntries(entries));
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
