import { PoolExhaustedError } from '../surreal.errors.js';

/** How many calls may be under way, and wait, on one socket. */
export interface CallLimits {
  /** Calls of one tenant that the server works at, while other tenants use the socket too. */
  maxInFlightPerTenant: number;
  /** Calls of all tenants that the server works at. */
  maxInFlight: number;
  /** Calls of one tenant that have not been sent yet. */
  maxWaitingPerTenant: number;
  /** Calls of all tenants that have not been sent yet. */
  maxWaiting: number;
}

/** What a queue is of: calls, whose limits are options, or sign-ins, whose limits are the library's own. */
export type Queued = 'calls' | 'sign-ins';

const WHY: Record<keyof CallLimits, (limit: number, queued: Queued) => string> = {
  maxInFlightPerTenant: (limit, queued) => `Its time was over before its turn came: ${limit} ${queued} of this tenant are in flight`, // prettier-ignore
  maxInFlight: (limit, queued) => `Its time was over before its turn came: ${limit} ${queued} are in flight`,
  maxWaitingPerTenant: (limit, queued) => `${limit} ${queued} of this tenant wait already`,
  maxWaiting: (limit, queued) => `${limit} ${queued} wait already: the database is away or too slow for the load`,
};

/** What a call is told that a limit keeps from being sent. */
export function tooMany(name: keyof CallLimits, limits: CallLimits, queued: Queued): PoolExhaustedError {
  const limit = queued === 'calls' ? `calls.${name}` : queued;
  const what = `The call was not sent; it may be tried again. ${WHY[name](limits[name], queued)} (${limit}).`;
  return new PoolExhaustedError(what, { limit });
}
