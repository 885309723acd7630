import type { Tenant } from '../tenant/tenant.js';
import { principalKey } from '../tenant/tenant.js';
import type { Caller } from './caller.js';

/**
 * Who a session is signed in as: its tenant; the bearer of a request's token; the bearer of a token, or of a grant's key, by
 * a handle's own sign-in; or nobody.
 */
export type Principal =
  | { type: 'tenant' }
  | Caller
  | { type: 'bearer'; token: string }
  | { type: 'grant'; params: Record<string, unknown> }
  | { type: 'nobody' };

// Of each one for all sessions: there are many of those.
const TENANT: Principal = Object.freeze({ type: 'tenant' });
export const NOBODY: Principal = Object.freeze({ type: 'nobody' });

/** Who a unit of work starts as. */
export function initialPrincipal(tenant: Tenant | undefined, caller: Caller | undefined): Principal {
  if (caller !== undefined) return caller;
  return tenant === undefined || tenant.credentials.type === 'none' ? NOBODY : TENANT;
}

/** What units of work that start as the same principal share a session by. */
export function sharingKey(tenant: Tenant, principal: Principal): string {
  return principal.type === 'caller' ? principal.key : principalKey(tenant);
}
