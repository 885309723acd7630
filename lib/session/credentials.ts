import { createPrivateKey, createSecretKey, type JsonWebKey, type KeyObject } from 'node:crypto';
import { SignJWT } from 'jose';
import type { SigninChannel } from '../connection/signin-channel.js';
import { RequestTimeoutError } from '../surreal.errors.js';
import type { Tenant } from '../tenant/tenant.js';
import {
  type BearerCredentials,
  jwtAlgorithm,
  type JwtCredentials,
  type NoCredentials,
  type TenantCredentials,
  type TokenCredentials,
  type UserCredentials,
} from '../tenant/tenant-credentials.js';

/** Life of a token that is minted here, in seconds. It is checked when it is presented, so it need not outlive a session. */
const MINTED_TOKEN_SECONDS = 300;

/** Credentials that become a token; the others sign a session in by themselves, or not at all. */
export type TokenisedCredentials = Exclude<TenantCredentials, BearerCredentials | NoCredentials>;

/**
 * Obtains a token that signs a session in as the tenant.
 * @param limitMillis how long a function that is asked for a token may take
 * @throws the SDK's ServerError when the database refuses the credentials; what the function throws
 */
export async function obtainToken(
  tenant: Tenant,
  credentials: TokenisedCredentials,
  signins: SigninChannel,
  limitMillis: number,
): Promise<string> {
  switch (credentials.type) {
    case 'user':
      return await signInUser(tenant, credentials, signins);
    case 'jwt':
      return await mintToken(tenant, credentials);
    case 'token':
      return await askForToken(tenant, credentials, limitMillis);
  }
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

async function mintToken(tenant: Tenant, credentials: JwtCredentials): Promise<string> {
  const { access, key, roles, keyId = typeof key === 'string' ? undefined : key.kid } = credentials;
  const alg = jwtAlgorithm(credentials);
  return await new SignJWT({ ns: tenant.namespace, db: tenant.database, ac: access, rl: [...roles] })
    .setProtectedHeader({ alg, typ: 'JWT', ...(keyId === undefined ? {} : { kid: keyId }) })
    .setIssuedAt()
    .setExpirationTime(`${MINTED_TOKEN_SECONDS}s`)
    .sign(signingKey(key, alg));
}

function signingKey(key: JwtCredentials['key'], algorithm: string): KeyObject {
  const isSecret = algorithm.startsWith('HS');
  if (typeof key === 'string') return isSecret ? createSecretKey(key, 'utf8') : createPrivateKey(key);
  return isSecret
    ? createSecretKey(String(key.k), 'base64url')
    : createPrivateKey({ key: key as JsonWebKey, format: 'jwk' });
}

async function askForToken(tenant: Tenant, { token }: TokenCredentials, limitMillis: number): Promise<string> {
  if (typeof token === 'string') return token;
  let timer: NodeJS.Timeout | undefined;
  const overdue = new Promise<never>((_resolve, reject) => {
    const error = new RequestTimeoutError(
      `The function in credentials.token of tenant "${tenant.id}" gave no token within ${limitMillis} ms.`,
    );
    timer = setTimeout(() => reject(error), limitMillis);
  });
  try {
    // Its own words stay in the cause: they are nobody's that this library knows.
    const asked = (async () => token())().catch((cause: unknown) => {
      throw new Error('the function in credentials.token failed', { cause });
    });
    const given: unknown = await Promise.race([asked, overdue]);
    if (typeof given === 'string' && given !== '') return given;
    throw new TypeError('the function in credentials.token gave no token');
  } finally {
    clearTimeout(timer);
  }
}
