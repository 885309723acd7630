import { TenantInvalidError, TenantSigninFailedError } from '../surreal.errors.js';
import { JWT_ALGORITHMS, type Tenant } from './tenant.js';

/**
 * The form of a tenant identifier: letters, digits, `_`, `-`, `.`, not starting with a sign, without `..`, 63 characters
 * at most (what a DNS label allows). Nothing else reaches a store (R11).
 */
const IDENTIFIER = /^[A-Za-z0-9_](?:[A-Za-z0-9_-]|\.(?!\.)){0,62}$/;

/** Namespaces and databases may be any name up to this length that has no control characters. */
// eslint-disable-next-line no-control-regex -- control characters are what is refused
const NAME = /^[^\u0000-\u001f\u007f]{1,255}$/;

/**
 * @returns the identifier
 * @throws TenantInvalidError when no tenant can be called so; the message does not repeat what was sent
 */
export function validateIdentifier(identifier: unknown): string {
  if (typeof identifier === 'string' && IDENTIFIER.test(identifier)) return identifier;
  throw new TenantInvalidError(
    'The tenant identifier is malformed: it may hold 1 to 63 letters, digits, "_", "-" and single ".", and starts with ' +
      'a letter, digit or "_".',
  );
}

/**
 * Checks what a store answered before anything is made of it.
 * @throws TenantSigninFailedError naming the tenant and the property that is wrong: the caller cannot mend a store
 */
export function validateTenant(tenant: Tenant): Tenant {
  const problem = tenantProblem(tenant);
  if (problem === undefined) return tenant;
  const id = JSON.stringify(String(tenant?.id).slice(0, 80));
  throw new TenantSigninFailedError(`The tenant store's record of tenant ${id} cannot be used: ${problem}`);
}

/** What is wrong with a tenant record, in words; undefined when it is sound. Shows names of properties, never secrets. */
export function tenantProblem(tenant: Tenant): string | undefined {
  if (typeof tenant !== 'object' || tenant === null) return 'it is not an object.';
  if (typeof tenant.id !== 'string' || !IDENTIFIER.test(tenant.id)) return '"id" is not a valid tenant identifier.';
  for (const name of ['namespace', 'database'] as const) {
    if (typeof tenant[name] !== 'string' || !NAME.test(tenant[name])) {
      return `"${name}" must be a name of 1 to 255 characters without control characters.`;
    }
  }
  const { status = 'active' } = tenant;
  if (status !== 'active' && status !== 'suspended') return '"status" must be "active" or "suspended".';
  return credentialsProblem(tenant.credentials);
}

function credentialsProblem(credentials: Tenant['credentials']): string | undefined {
  const values = (credentials ?? {}) as unknown as Record<string, unknown>;
  const missing = (...names: string[]) => names.find((name) => typeof values[name] !== 'string' || values[name] === '');
  switch (values.type) {
    case 'user': {
      const name = missing('username', 'password');
      if (name !== undefined) return `"credentials.${name}" must be a non-empty string.`;
      const levels = [undefined, 'database', 'namespace', 'root'];
      return levels.includes(values.level as undefined)
        ? undefined
        : '"credentials.level" must be database, namespace or root.';
    }
    case 'jwt': {
      const name = missing('access', 'key');
      if (name !== undefined) return `"credentials.${name}" must be a non-empty string.`;
      if (!Array.isArray(values.roles) || values.roles.length === 0)
        return '"credentials.roles" must list at least one role.';
      if (!values.roles.every((role) => ['Owner', 'Editor', 'Viewer'].includes(role as string))) {
        return '"credentials.roles" may hold Owner, Editor and Viewer only.';
      }
      return values.algorithm === undefined || JWT_ALGORITHMS.some((known) => known === values.algorithm)
        ? undefined
        : `"credentials.algorithm" must be one of ${JWT_ALGORITHMS.join(', ')}.`;
    }
    default:
      return '"credentials.type" must be "user" or "jwt".';
  }
}
