import { Inject, Injectable } from '@nestjs/common';
import { type HealthIndicatorResult, HealthIndicatorService } from '@nestjs/terminus';
import type { TenancyStats } from '../context/stats.js';
import { Tenancy, TENANCY_RESOURCES, type TenancyResources } from '../context/tenancy.js';
import { InvalidOptionsError } from '../surreal.errors.js';
import { DatabaseProbe, type DownReason } from './database-probe.js';

/**
 * Why the application is not quite well although the database answers:
 * - `SHUTTING_DOWN`: no new units of work are taken
 * - `RECONNECTING`: a socket has dropped and is not back yet
 * - `CENTRAL_DISCONNECTED`: the service's own connection is not signed in; tenants' are not touched by it
 * - `SESSIONS_WAITING`: units of work wait for a session (`sessions.max`, `sessions.maxOwnPerTenant`)
 * - `CALLS_NEAR_LIMIT`: calls in flight or waiting on a socket have reached four fifths of their limit (`calls`)
 */
export type DegradedReason =
  'SHUTTING_DOWN' | 'RECONNECTING' | 'CENTRAL_DISCONNECTED' | 'SESSIONS_WAITING' | 'CALLS_NEAR_LIMIT';

/** What a check tells: counts, the server's version, and codes. No tenant, no address, no text of an error. */
export interface SurrealHealthDetails extends Record<string, unknown> {
  /** Of the server, such as `3.0.2`. */
  version: string;
  /** Of the sockets that were needed so far. */
  sockets: { open: number; total: number };
  sessions: { total: number; max: number; inUse: number; waiting: number };
  calls: { inFlight: number; waiting: number };
  /** Only when it is down or degraded. */
  reasons?: (DownReason | DegradedReason)[];
}

export interface SurrealPingCheckSettings {
  /** How long the database may take to answer, in milliseconds. Default 1,000. */
  timeoutMillis?: number;
}

/** From here on a limit of calls is near. */
const NEAR = 0.8;

/** Health of SurrealDB for `@nestjs/terminus`. Provide it in the module that imports `TerminusModule`. */
@Injectable()
export class SurrealHealthIndicator {
  readonly #tenancy: Tenancy;
  readonly #resources: TenancyResources;
  readonly #indicators: HealthIndicatorService;
  readonly #probe: DatabaseProbe;

  constructor(
    tenancy: Tenancy,
    @Inject(TENANCY_RESOURCES) resources: TenancyResources,
    indicators: HealthIndicatorService,
  ) {
    this.#tenancy = tenancy;
    this.#resources = resources;
    this.#indicators = indicators;
    this.#probe = new DatabaseProbe(resources.connection);
  }

  /**
   * `down` when the database does not answer in time, or no socket for sessions can be had; `degraded` when it answers
   * and something hurts all the same ({@link DegradedReason}); else `up`. A check costs one small query on the central
   * connection, which needs no rights; one that comes while another waits shares its answer. Terminus 11 knows no
   * `degraded`: there it is `up` with `state: 'degraded'`.
   * @throws InvalidOptionsError when a setting is unknown or wrong
   */
  async pingCheck<const Key extends string>(
    key: Key,
    settings: SurrealPingCheckSettings = {},
  ): Promise<HealthIndicatorResult<Key>> {
    const missing = await this.#probe.missingAfter(timeoutOf(settings));
    const indicator = this.#indicators.check(key);
    const details = this.#details();
    if (missing !== undefined) return indicator.down({ ...details, reasons: [missing] });
    const reasons = degradedReasons(this.#resources, this.#tenancy.stats());
    if (reasons.length === 0) return indicator.up(details);
    const hurt = { ...details, reasons };
    return hasDegraded(indicator) ? indicator.degraded(hurt) : indicator.up({ ...hurt, state: 'degraded' });
  }

  #details(): SurrealHealthDetails {
    const { sockets, sessions, calls } = this.#tenancy.stats();
    const needed = sockets.filter(({ state }) => state !== 'idle');
    return {
      version: this.#resources.connection.version,
      sockets: { open: needed.filter(({ state }) => state === 'open').length, total: needed.length },
      sessions: {
        total: sessions.total,
        max: sessions.max,
        inUse: sessions.inUse,
        waiting: sessions.waiting,
      },
      calls: { inFlight: calls.inFlight, waiting: calls.waiting },
    };
  }
}

/** What hurts, in the order of {@link DegradedReason}. */
export function degradedReasons(
  { connection, context, sockets, calls }: HealthResources,
  { sessions }: Pick<TenancyStats, 'sessions'>,
): DegradedReason[] {
  const isReconnecting = connection.transports.some(
    ({ transport: { state, connects } }) => state === 'connecting' && connects > 0,
  );
  const isNearLimit = sockets.queues.some(
    ({ inFlight, waiting }) => inFlight >= NEAR * calls.maxInFlight || waiting >= NEAR * calls.maxWaiting,
  );
  const found: [boolean, DegradedReason][] = [
    [context.isClosing, 'SHUTTING_DOWN'],
    [isReconnecting, 'RECONNECTING'],
    [connection.surreal.status !== 'connected', 'CENTRAL_DISCONNECTED'],
    [sessions.waiting > 0, 'SESSIONS_WAITING'],
    [isNearLimit, 'CALLS_NEAR_LIMIT'],
  ];
  return found.filter(([holds]) => holds).map(([, reason]) => reason);
}

/** As much of the resources as the reasons are read off. */
export interface HealthResources {
  connection: {
    surreal: { status: string };
    transports: readonly { transport: { state: string; connects: number } }[];
  };
  context: { isClosing: boolean };
  sockets: { queues: readonly { inFlight: number; waiting: number }[] };
  calls: { maxInFlight: number; maxWaiting: number };
}

type Indicator = ReturnType<HealthIndicatorService['check']>;

/** Since terminus 12. */
function hasDegraded(indicator: Partial<Pick<Indicator, 'degraded'>>): boolean {
  return typeof indicator.degraded === 'function';
}

function timeoutOf({ timeoutMillis = 1_000, ...unknown }: SurrealPingCheckSettings): number {
  const [name] = Object.keys(unknown);
  if (name !== undefined) {
    throw new InvalidOptionsError(`"${name}" is no setting of pingCheck(). Known is: timeoutMillis.`);
  }
  if (timeoutMillis > 0 && timeoutMillis < 2 ** 31) return timeoutMillis;
  throw new InvalidOptionsError('"timeoutMillis" must be a number of milliseconds above 0 and below 2^31.');
}
