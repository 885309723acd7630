import { createPublicKey, createSecretKey, type KeyObject } from 'node:crypto';
import { ServiceUnavailableException } from '@nestjs/common';
import { createRemoteJWKSet, errors, jwtVerify, type JWTVerifyOptions } from 'jose';
import { InvalidOptionsError, UnauthenticatedError } from '../surreal.errors.js';
import { httpRequestOf, type TenantStrategy } from './tenant-strategy.js';

export interface TokenStrategyOptions {
  /** Name of the claim that holds the tenant identifier. */
  claim: string;
  /** The shared secret of HS256/384/512, or the issuer's public key as PEM. Give this or `jwksUri`. */
  key?: string;
  /** Where the issuer publishes its keys; fetched when needed, cached, and fetched again for an unknown `kid`. */
  jwksUri?: string;
  /** The algorithms to accept; default: those that fit the kind of the key. */
  algorithms?: string[];
  /** When given, the token's `iss` must be it. */
  issuer?: string | string[];
  /** When given, the token's `aud` must contain it. */
  audience?: string | string[];
}

/** A symmetric key fits these alone, so that a public key can never be taken for a shared secret. */
const SYMMETRIC = ['HS256', 'HS384', 'HS512'];
const ASYMMETRIC = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA'];

/**
 * From a claim of the caller's bearer token, after its signature and times were verified. A request without a token is
 * left to the next strategy; one with a token that does not hold is refused.
 * @throws UnauthenticatedError (per request) malformed, forged, expired, or without the claim
 * @throws InvalidOptionsError (at once) neither or both of `key` and `jwksUri`
 */
export function fromToken({ claim, key, jwksUri, algorithms, issuer, audience }: TokenStrategyOptions): TenantStrategy {
  const verifier = makeVerifier(key, jwksUri);
  const options: JWTVerifyOptions = {
    algorithms: algorithms ?? verifier.algorithms,
    ...(issuer === undefined ? {} : { issuer }),
    ...(audience === undefined ? {} : { audience }),
  };
  return {
    identify: async (context) => {
      const token = bearerToken(httpRequestOf(context).headers?.authorization);
      if (token === undefined) return undefined;
      const claims = await verifier.verify(token, options);
      const identifier = Object.hasOwn(claims, claim) ? claims[claim] : undefined;
      if (typeof identifier !== 'string') throw new UnauthenticatedError(`The bearer token has no claim "${claim}".`);
      return identifier;
    },
  };
}

interface Verifier {
  algorithms: string[];
  verify(token: string, options: JWTVerifyOptions): Promise<Record<string, unknown>>;
}

function makeVerifier(key: string | undefined, jwksUri: string | undefined): Verifier {
  if ((key === undefined) === (jwksUri === undefined)) {
    throw new InvalidOptionsError('fromToken: give either "key" or "jwksUri".');
  }
  if (jwksUri !== undefined) {
    if (!URL.canParse(jwksUri)) throw new InvalidOptionsError('fromToken: "jwksUri" is not a url.');
    const keys = createRemoteJWKSet(new URL(jwksUri));
    return { algorithms: ASYMMETRIC, verify: (token, options) => verified(() => jwtVerify(token, keys, options)) };
  }
  const object = keyObject(key as string);
  return {
    algorithms: object.type === 'secret' ? SYMMETRIC : ASYMMETRIC,
    verify: (token, options) => verified(() => jwtVerify(token, object, options)),
  };
}

function keyObject(key: string): KeyObject {
  if (key === '') throw new InvalidOptionsError('fromToken: "key" is empty. Is its environment variable set?');
  try {
    if (key.includes('-----BEGIN')) return createPublicKey(key);
  } catch (cause) {
    throw new InvalidOptionsError('fromToken: "key" is not a public key in PEM.', { cause });
  }
  // Taken for a shared secret it would let everybody who knows it sign.
  if (isBarePublicKey(key)) {
    throw new InvalidOptionsError(
      'fromToken: "key" is a public key without its PEM lines (-----BEGIN PUBLIC KEY-----).',
    );
  }
  return createSecretKey(key, 'utf8');
}

function isBarePublicKey(key: string): boolean {
  try {
    createPublicKey({ key: Buffer.from(key, 'base64'), format: 'der', type: 'spki' });
    return true;
  } catch {
    return false;
  }
}

async function verified(verify: () => Promise<{ payload: Record<string, unknown> }>): Promise<Record<string, unknown>> {
  try {
    return (await verify()).payload;
  } catch (cause) {
    if (isBadToken(cause)) {
      throw new UnauthenticatedError(`The bearer token does not hold (${cause.code}).`, { cause });
    }
    throw new ServiceUnavailableException("The keys of the token's issuer cannot be fetched at the moment", { cause });
  }
}

/** Whether it is the token that does not hold, and not the issuer's keys that could not be had. */
function isBadToken(cause: unknown): cause is errors.JOSEError {
  const isAboutKeys = cause instanceof errors.JWKSTimeout || cause instanceof errors.JWKSInvalid;
  return cause instanceof errors.JOSEError && !isAboutKeys && cause.code !== errors.JOSEError.code;
}

/** The token of `Authorization: Bearer …`; undefined when the header is of another scheme or absent. */
function bearerToken(header: string | string[] | undefined): string | undefined {
  return typeof header === 'string' ? /^Bearer +(\S+) *$/i.exec(header)?.[1] : undefined;
}
