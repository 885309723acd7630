import type { RecordId } from 'surrealdb';
import type { Tenant } from '../tenant/tenant.js';
import { recordExists } from './identity.js';
import { initialPrincipal, sharingKey } from './principal.js';
import type { ServerSession } from './server-session.js';
import { signedOut } from './session-errors.js';
import type { SlotResources } from './session-slot.js';

/**
 * Whether a record is there, as the tenant itself sees it. For users whose PERMISSIONS do not let them see their own record.
 *
 * It is asked while a session of that user is signed in, which has a place in the pool: waiting here for a second place could
 * wait for ever, for others that do the same. So it takes the tenant's session if there is one, else one beyond the pool's
 * limits, for as long as it looks; there are never more of those than sessions that are being signed in.
 * @throws UnauthenticatedError when the tenant has no sign-in of its own; what `ServerSession.prepare` throws
 */
export async function existsForTenant(
  { pool, openOwn }: SlotResources,
  tenant: Tenant,
  record: RecordId,
): Promise<boolean> {
  const principal = initialPrincipal(tenant, undefined);
  if (principal.type === 'nobody') throw signedOut(tenant);
  const shared = pool.existingShared(sharingKey(tenant, principal));
  if (shared !== undefined) return await look(shared, record).finally(() => void pool.release(shared));
  const session = openOwn({ tenant, principal, variables: new Map(), target: tenant });
  return await look(session, record).finally(() => session.close('The look at a record user is over.'));
}

async function look(session: ServerSession, record: RecordId): Promise<boolean> {
  while (!session.isReady) await session.prepare();
  return await recordExists(session.transport, session.id, record);
}
