import { decodeJwt } from 'jose';
import { UnauthenticatedError } from '../surreal.errors.js';

/** Where a token says that it leads, unverified: the database does that. */
export interface TokenClaims {
  readonly namespace: string | undefined;
  readonly database: string | undefined;
  readonly access: string | undefined;
  /** The record, or the name of the system user. */
  readonly id: string | undefined;
  /** In milliseconds since 1970; Infinity for a token that never ends. */
  readonly expiresAt: number;
}

/** SurrealDB takes each of its claims by any of these names, and refuses a token that has one twice. */
const NAMES = {
  namespace: ['NS', 'ns', 'https://surrealdb.com/ns', 'https://surrealdb.com/namespace'],
  database: ['DB', 'db', 'https://surrealdb.com/db', 'https://surrealdb.com/database'],
  access: ['AC', 'ac', 'https://surrealdb.com/ac', 'https://surrealdb.com/access'],
  id: ['ID', 'id', 'https://surrealdb.com/id', 'https://surrealdb.com/record'],
};

/**
 * Reads a token without asking anybody.
 * @throws UnauthenticatedError when it is no token that SurrealDB could take; nothing of it is repeated
 */
export function readTokenClaims(token: string): TokenClaims {
  let claims: Record<string, unknown>;
  try {
    claims = decodeJwt(token);
  } catch {
    // Without the cause: the parser's own message repeats what it has read.
    throw new UnauthenticatedError('The bearer token is malformed.');
  }
  const { exp } = claims;
  if (exp !== undefined && typeof exp !== 'number') throw new UnauthenticatedError('The bearer token is malformed.');
  const read = (names: string[]) => textClaim(names.filter((name) => Object.hasOwn(claims, name)).map((name) => claims[name])); // prettier-ignore
  return {
    namespace: read(NAMES.namespace),
    database: read(NAMES.database),
    access: read(NAMES.access),
    id: read(NAMES.id),
    expiresAt: exp === undefined ? Infinity : exp * 1000,
  };
}

function textClaim(values: unknown[]): string | undefined {
  const [value] = values;
  if (values.length === 0) return undefined;
  if (values.length === 1 && typeof value === 'string') return value;
  throw new UnauthenticatedError('The bearer token says twice where it leads, or not in words.');
}
