/** How the library signs in as a tenant. */
export type TenantCredentials = UserCredentials | JwtCredentials | TokenCredentials | BearerCredentials | NoCredentials;

/** The roles of system users, as a token's `rl` claim spells them. */
export const SYSTEM_ROLES = ['Owner', 'Editor', 'Viewer'] as const;
export type SystemRole = (typeof SYSTEM_ROLES)[number];

/** A system user: `DEFINE USER … ON DATABASE PASSWORD …`. A sign-in costs the server 50 to 120 ms (argon2). */
export interface UserCredentials {
  type: 'user';
  username: string;
  password: string;
  /**
   * Where the user is defined; default `database`. Users of a higher level reach more than their tenant's data, and
   * each of their sessions costs two to four messages more.
   */
  level?: 'database' | 'namespace' | 'root';
}

/**
 * A token that the library mints for `DEFINE ACCESS … ON DATABASE TYPE JWT ALGORITHM … KEY …`: a system user of the
 * given roles, without argon2.
 */
export interface JwtCredentials {
  type: 'jwt';
  /** Name of the access method. */
  access: string;
  /** The shared secret for HS256/384/512, else the private key as PEM; or either as a JSON Web Key. */
  key: string | JwtKey;
  /** Must be the one the access method is defined with. Default: that of a JSON Web Key (`alg`), else `HS512`. */
  algorithm?: JwtAlgorithm;
  /** Goes into the tokens' header as `kid`. Default: that of a JSON Web Key, else none. */
  keyId?: string;
  roles: readonly SystemRole[];
}

/** A JSON Web Key that can sign: with `d` (RSA, EC, OKP) or `k` (oct). */
export interface JwtKey {
  kty: string;
  kid?: string;
  alg?: string;
  [member: string]: unknown;
}

/**
 * A token that is minted elsewhere, of a principal in the tenant's database: given once, or by a function that is asked
 * again before the last one ends. A token that is given once is of use until it ends.
 */
export interface TokenCredentials {
  type: 'token';
  token: string | (() => Promise<string> | string);
}

/** A grant's key: `ACCESS x ON DATABASE GRANT FOR USER …`, of `DEFINE ACCESS x ON DATABASE TYPE BEARER`. About 1 ms. */
export interface BearerCredentials {
  type: 'bearer';
  /** Name of the access method. */
  access: string;
  key: string;
}

/** The tenant has no sign-in of its own: only its record users may enter. */
export interface NoCredentials {
  type: 'none';
}

/** The algorithms that SurrealDB verifies. */
export const JWT_ALGORITHMS = [
  'HS256', 'HS384', 'HS512', 'RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'EdDSA',
] as const; // prettier-ignore
export type JwtAlgorithm = (typeof JWT_ALGORITHMS)[number];

/** The algorithm that tokens are minted with. */
export function jwtAlgorithm({ key, algorithm }: Pick<JwtCredentials, 'key' | 'algorithm'>): string {
  return algorithm ?? (typeof key === 'string' ? undefined : key.alg) ?? 'HS512';
}
