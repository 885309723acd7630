import type { AnyAuth } from 'surrealdb';
import { InvalidOptionsError, TenantMismatchError } from '../surreal.errors.js';
import type { Tenant } from '../tenant/tenant.js';

/** Credentials of a system user, or of a record user by its access method. */
export type SigninAuth = Exclude<AnyAuth, { key: string }>;

interface Place {
  namespace: string;
  database: string;
}

/**
 * Puts the SDK's form of credentials into the RPC's, as the SDK does for its own session (`buildRpcAuth`).
 * @param place namespace and database for record users that name none
 * @param tenant the tenant whose session it is, which the sign-in must not leave
 * @throws TenantMismatchError when the credentials are for somewhere else: nothing is sent
 */
export function rpcAuth(
  auth: SigninAuth,
  place: Place | undefined,
  tenant: Tenant | undefined,
): Record<string, unknown> {
  const { namespace, database } = auth as Partial<Place>;
  assertWithin(tenant, namespace, database);
  if ('variables' in auth) {
    const target = { ns: namespace ?? place?.namespace, db: database ?? place?.database };
    if (target.ns === undefined || target.db === undefined) {
      throw new InvalidOptionsError('A sign-in with an access method needs a namespace and a database.');
    }
    return { ...auth.variables, ac: auth.access, ...target };
  }
  if (!('username' in auth)) {
    throw new InvalidOptionsError('Give { username, password }, or { access, variables } for a record user.');
  }
  if (database !== undefined && namespace === undefined) {
    throw new InvalidOptionsError('A sign-in with a database needs its namespace too.');
  }
  // On a tenant's session a user is one of the tenant's database: a name and password alone must not reach for root.
  const target = tenant === undefined ? { ns: namespace, db: database } : { ns: tenant.namespace, db: tenant.database };
  return {
    user: auth.username,
    pass: auth.password,
    ...(target.ns === undefined ? {} : { ns: target.ns }),
    ...(target.db === undefined ? {} : { db: target.db }),
  };
}

function assertWithin(tenant: Tenant | undefined, namespace: string | undefined, database: string | undefined): void {
  if (tenant === undefined) return;
  if ((namespace ?? tenant.namespace) === tenant.namespace && (database ?? tenant.database) === tenant.database) return;
  throw new TenantMismatchError(
    `The credentials are for another namespace or database than those of tenant "${tenant.id}".`,
  );
}
