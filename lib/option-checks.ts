import { InvalidOptionsError } from './surreal.errors.js';

/** Says what an option should have been; undefined when it is right. */
export type Check = (value: unknown) => string | undefined;

export const isText: Check = (value) => (typeof value === 'string' && value !== '' ? undefined : 'a non-empty string');
export const isBoolean: Check = (value) => (typeof value === 'boolean' ? undefined : 'true or false');
export const isSwitch: Check = (value) =>
  isBoolean(value) === undefined || isObject(value) === undefined ? undefined : 'true, false or an object';
export const isObject: Check = (value) => (typeof value === 'object' && value !== null ? undefined : 'an object');
export const isCount: Check = (value) =>
  Number.isInteger(value) && (value as number) > 0 ? undefined : 'a whole number above 0';
/** setTimeout counts in 31 bits: longer ones would fire at once. */
export const isDuration: Check = (value) =>
  typeof value === 'number' && value > 0 && value < 2 ** 31
    ? undefined
    : 'a number of milliseconds above 0 and below 2^31';
export const isUrl: Check = (value) => {
  const urls = Array.isArray(value) ? value : [value];
  return urls.every((url) => isText(url) === undefined) ? undefined : 'a url or a list of urls';
};
export const isAuthentication: Check = (value) => {
  const { username, password } = (value ?? {}) as Record<string, unknown>;
  return isText(username) === undefined && isText(password) === undefined ? undefined : '{ username, password }';
};
const isStrategies: Check = (value) => {
  const isStrategy = (one: unknown) =>
    typeof one === 'function' || typeof (one as { identify?: unknown })?.identify === 'function';
  const isList = Array.isArray(value) && value.length > 0 && value.every(isStrategy);
  return isList ? undefined : 'a non-empty list of strategies (fromHeader(…), a function, or a class with identify())';
};
export const isNames: Check = (value) =>
  Array.isArray(value) && value.length > 0 && value.every((name) => isText(name) === undefined)
    ? undefined
    : "a non-empty list of names, such as ['account']";
export const isRevocations: Check = (value) => {
  const { add, has } = (value ?? {}) as Record<string, unknown>;
  return typeof add === 'function' && typeof has === 'function' ? undefined : 'an object with add() and has()';
};
const isStore: Check = (value) =>
  ['function', 'string', 'symbol'].includes(typeof value) ||
  typeof (value as { findByIdentifier?: unknown } | null)?.findByIdentifier === 'function'
    ? undefined
    : 'an object with findByIdentifier(), a class, or an injection token';

export function assertObject(name: string, value: unknown): void {
  if (isObject(value) !== undefined) throw new InvalidOptionsError(`${name} needs an object of options.`);
}

/**
 * Every key must be known, and every value that is given must pass its check. Values are not shown: one is a
 * password.
 * @throws InvalidOptionsError naming the option
 */
export function assertKeys(prefix: string, options: object, checks: Record<string, Check>): void {
  for (const [key, value] of Object.entries(options)) {
    const check = Object.hasOwn(checks, key) ? checks[key] : undefined;
    if (check === undefined) {
      const known = Object.keys(checks).map((name) => prefix + name);
      throw new InvalidOptionsError(`Option "${prefix}${key}" is unknown. Known are: ${known.join(', ')}.`);
    }
    const expected = value === undefined ? undefined : check(value);
    if (expected !== undefined) throw new InvalidOptionsError(`Option "${prefix}${key}" must be ${expected}.`);
  }
}

const MISSING = {
  strategies: "Say how to find a request's tenant, such as [fromHeader('x-tenant-id')].",
  store: 'Say who knows the tenants, such as new InMemoryTenantStore([…]).',
};

/** @throws InvalidOptionsError naming the option of `tenants` that is missing, unknown or of the wrong form */
export function assertTenants(tenants: { cache?: unknown; strategies?: unknown; store?: unknown }): void {
  assertKeys('tenants.', tenants, {
    strategies: isStrategies,
    store: isStore,
    crossCheck: isBoolean,
    cache: (value) =>
      typeof value === 'boolean' || isObject(value) === undefined ? undefined : 'true, false or an object',
  });
  for (const name of ['strategies', 'store'] as const) {
    if (tenants[name] === undefined)
      throw new InvalidOptionsError(`Option "tenants.${name}" is missing. ${MISSING[name]}`);
  }
  const { cache } = tenants;
  if (typeof cache === 'object' && cache !== null) {
    assertKeys('tenants.cache.', cache, { ttlMillis: isDuration, negativeTtlMillis: isDuration, max: isCount });
  }
}

/** @throws InvalidOptionsError for what SurrealDB 1 had in the place of `access` */
export function assertNoScope(recordUsers: object): void {
  const legacy = ['scope', 'SC', 'sc'].find((name) => Object.hasOwn(recordUsers, name));
  if (legacy === undefined) return;
  throw new InvalidOptionsError(
    `Option "recordUsers.${legacy}": a scope of SurrealDB 1 is a record access method now (DEFINE ACCESS account ON DATABASE ` +
      "TYPE RECORD …). Give its name: access: ['account'].",
  );
}
