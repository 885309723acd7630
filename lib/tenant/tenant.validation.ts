import { TenantInvalidError, TenantSigninFailedError } from '../surreal.errors.js';
import type { Tenant } from './tenant.js';
import { JWT_ALGORITHMS, jwtAlgorithm, type JwtCredentials, type JwtKey, SYSTEM_ROLES } from './tenant-credentials.js';

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
  if ('scope' in values || 'SC' in values) {
    return '"credentials" has a scope of SurrealDB 1. Those are record access methods now (DEFINE ACCESS … TYPE RECORD), and for end users: see TenantAuth.';
  }
  switch (values.type) {
    case 'user':
      return missingText(values, 'username', 'password') ?? levelProblem(values.level);
    case 'jwt':
      return missingText(values, 'access') ?? keyProblem(values) ?? rolesProblem(values.roles);
    case 'token':
      return typeof values.token === 'function'
        ? undefined
        : missingText(values, 'token')?.replace('string', 'string or a function');
    case 'bearer':
      return missingText(values, 'access', 'key');
    case 'none':
      return undefined;
    default:
      return '"credentials.type" must be "user", "jwt", "token", "bearer" or "none".';
  }
}

function missingText(values: Record<string, unknown>, ...names: string[]): string | undefined {
  const name = names.find((one) => typeof values[one] !== 'string' || values[one] === '');
  return name === undefined ? undefined : `"credentials.${name}" must be a non-empty string.`;
}

function levelProblem(level: unknown): string | undefined {
  const isKnown = [undefined, 'database', 'namespace', 'root'].includes(level as undefined);
  return isKnown ? undefined : '"credentials.level" must be database, namespace or root.';
}

function rolesProblem(roles: unknown): string | undefined {
  if (!Array.isArray(roles) || roles.length === 0) return '"credentials.roles" must list at least one role.';
  return roles.every((role) => SYSTEM_ROLES.some((known) => known === role))
    ? undefined
    : '"credentials.roles" may hold Owner, Editor and Viewer only.';
}

function keyProblem(credentials: Record<string, unknown>): string | undefined {
  const { key, keyId } = credentials;
  const isText = typeof key === 'string' && key !== '';
  if (!isText && (typeof key !== 'object' || key === null)) {
    return '"credentials.key" must be a non-empty string or a JSON Web Key.';
  }
  const algorithm = jwtAlgorithm(credentials as unknown as JwtCredentials);
  if (!JWT_ALGORITHMS.some((known) => known === algorithm)) {
    return `"credentials.algorithm" must be one of ${JWT_ALGORITHMS.join(', ')}.`;
  }
  if (keyId !== undefined && (typeof keyId !== 'string' || keyId === '')) {
    return '"credentials.keyId" must be a non-empty string.';
  }
  return isText ? undefined : jwkProblem(key as JwtKey, algorithm);
}

function jwkProblem(key: JwtKey, algorithm: string): string | undefined {
  const isSecret = algorithm.startsWith('HS');
  const member = isSecret ? 'k' : 'd';
  if (typeof key.kty !== 'string' || (key.kty === 'oct') !== isSecret || typeof key[member] !== 'string') {
    return `"credentials.key" is no JSON Web Key that can sign with ${algorithm}: its "${member}" is missing.`;
  }
  return (key.alg ?? algorithm) === algorithm
    ? undefined
    : '"credentials.algorithm" is not the algorithm ("alg") of "credentials.key".';
}
