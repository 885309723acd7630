import { createPrivateKey } from 'node:crypto';
import { decodeJwt, SignJWT } from 'jose';
import type { SigninChannel } from '../connection/signin-channel.js';
import type { JwtCredentials, Tenant, UserCredentials } from '../tenant/tenant.js';

/** Life of a token that is minted here, in seconds. It is checked when it is presented, so it need not outlive a session. */
const MINTED_TOKEN_SECONDS = 300;

/**
 * Obtains a token that signs a session in as the tenant.
 * @throws the SDK's ServerError when the database refuses the credentials
 */
export async function obtainToken(tenant: Tenant, signins: SigninChannel): Promise<string> {
  switch (tenant.credentials.type) {
    case 'user':
      return await signInUser(tenant, tenant.credentials, signins);
    case 'jwt':
      return await mintToken(tenant, tenant.credentials);
  }
}

/**
 * When a token ends, in milliseconds since 1970; Infinity for one that never does. It is not verified: the database
 * does that.
 */
export function tokenExpiry(token: string): number {
  const { exp } = decodeJwt(token);
  return exp === undefined ? Infinity : exp * 1000;
}

async function signInUser(tenant: Tenant, credentials: UserCredentials, signins: SigninChannel): Promise<string> {
  const { username, password, level = 'database' } = credentials;
  const scope = {
    database: { ns: tenant.namespace, db: tenant.database },
    namespace: { ns: tenant.namespace },
    root: {},
  }[level];
  const tokens = await signins.request('signin', { ...scope, user: username, pass: password }, tenant.id);
  return tokens.access;
}

async function mintToken(tenant: Tenant, { access, key, algorithm = 'HS512', roles }: JwtCredentials): Promise<string> {
  const signingKey = algorithm.startsWith('HS') ? new TextEncoder().encode(key) : createPrivateKey(key);
  return await new SignJWT({ ns: tenant.namespace, db: tenant.database, ac: access, rl: [...roles] })
    .setProtectedHeader({ alg: algorithm, typ: 'JWT' })
    .setIssuedAt()
    .setExpirationTime(`${MINTED_TOKEN_SECONDS}s`)
    .sign(signingKey);
}
