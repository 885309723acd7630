import type { AnyAuth } from 'surrealdb';
import { InvalidOptionsError, InvalidValueError, TenantMismatchError } from '../surreal.errors.js';
import type { Tenant } from '../tenant/tenant.js';

/** Credentials of a system user, of a record user by its access method, or a grant's key (`TYPE BEARER`). */
export type SigninAuth = AnyAuth;

interface Place {
  namespace: string;
  database: string;
}

/**
 * Names that are the RPC's own. It takes them in capitals before its small ones, so a variable `NS` that comes from a caller
 * would sign in at another tenant; and by `refresh` one comes in without a password.
 */
const RESERVED = ['ns', 'db', 'ac', 'sc', 'refresh'];

/** What SurrealDB 1 called what, for those who come from there. */
const LEGACY = ['NS', 'DB', 'SC', 'ns', 'db', 'sc', 'scope', 'user', 'pass'];

/**
 * Puts the SDK's form of credentials into the RPC's, as the SDK does for its own session (`buildRpcAuth`).
 * @param place namespace and database for record users that name none
 * @param tenant the tenant whose session it is, which the sign-in must not leave
 * @throws TenantMismatchError when the credentials are for somewhere else: nothing is sent
 * @throws InvalidOptionsError when they have no form that there is
 * @throws InvalidValueError when a variable has a name that is the protocol's own
 */
export function rpcAuth(
  auth: SigninAuth,
  place: Place | undefined,
  tenant: Tenant | undefined,
): Record<string, unknown> {
  assertPresentForm(auth);
  const { namespace, database } = auth as Partial<Place>;
  assertWithin(tenant, namespace, database);
  if ('variables' in auth || 'key' in auth) {
    const target = { ns: namespace ?? place?.namespace, db: database ?? place?.database };
    if (target.ns === undefined || target.db === undefined) {
      throw new InvalidOptionsError('A sign-in with an access method needs a namespace and a database.');
    }
    if ('key' in auth) return { key: auth.key, ac: auth.access, ...target };
    return { ...signVariables(auth.variables), ac: auth.access, ...target };
  }
  if (!('username' in auth)) {
    throw new InvalidOptionsError(
      'Give { username, password } for a system user, { access, variables } for a record user, or { access, key } for a grant.',
    );
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

/** @throws InvalidOptionsError for what was right in SurrealDB 1, showing the present form; it shows no value */
export function assertPresentForm(auth: object): void {
  if (typeof auth !== 'object' || auth === null) throw new InvalidOptionsError('A sign-in takes an object.');
  const legacy = LEGACY.filter((name) => Object.hasOwn(auth, name));
  if (legacy.length === 0) return;
  const isScope = legacy.some((name) => ['SC', 'sc', 'scope'].includes(name));
  const present = isScope
    ? 'A scope is a record access method now (DEFINE ACCESS name ON DATABASE TYPE RECORD …): give ' +
      "{ access: 'name', variables: { email, … } }."
    : 'Give { username, password }, with { namespace, database } for a user who is defined there.';
  throw new InvalidOptionsError(
    `${legacy.map((name) => `"${name}"`).join(', ')}: that is the form of SurrealDB 1. ${present}`,
  );
}

function signVariables(variables: unknown): Record<string, unknown> {
  if (typeof variables !== 'object' || variables === null) {
    throw new InvalidOptionsError('The variables of a sign-in must be an object.');
  }
  for (const name of Object.keys(variables)) {
    if (!RESERVED.includes(name.toLowerCase())) continue;
    throw new InvalidValueError(
      `A variable of a sign-in cannot be called "${name}": that is a name of the protocol's own.`,
      { field: name },
    );
  }
  return variables as Record<string, unknown>;
}

function assertWithin(tenant: Tenant | undefined, namespace: string | undefined, database: string | undefined): void {
  if (tenant === undefined) return;
  if ((namespace ?? tenant.namespace) === tenant.namespace && (database ?? tenant.database) === tenant.database) return;
  throw new TenantMismatchError(
    `The credentials are for another namespace or database than those of tenant "${tenant.id}".`,
  );
}
