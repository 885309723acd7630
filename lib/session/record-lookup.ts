import type { RecordId } from 'surrealdb';
import type { Tenant } from '../tenant/tenant.js';
import { recordExists } from './identity.js';
import type { LeaseResources } from './lease-resources.js';
import { SessionLease } from './session-lease.js';

/**
 * Whether a record is there, as the tenant itself sees it. For users whose PERMISSIONS do not let them see their own record.
 * @throws UnauthenticatedError when the tenant has no sign-in of its own; what `SessionLease.withSession` throws
 */
export async function existsForTenant(resources: LeaseResources, tenant: Tenant, record: RecordId): Promise<boolean> {
  const owner = {
    requireTenant: () => tenant,
    evictions: resources.pool.evictions,
    options: undefined,
    origin: 'the look at a record user',
  };
  const lease = new SessionLease(resources, owner);
  try {
    return await lease.withSession(({ transport, id }) => recordExists(transport, id, record));
  } finally {
    await lease.close('The look at a record user is over.');
  }
}
