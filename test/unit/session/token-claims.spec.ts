import { inspect } from 'node:util';
import { describe, expect, it } from '@jest/globals';
import { readTokenClaims } from '../../../lib/session/token-claims.js';

const part = (text: string) => Buffer.from(text).toString('base64url');

describe('readTokenClaims', () => {
  it.each([
    'SECRETpayload{',
    '{"SECRETpayload"',
    '["SECRETpayload"]',
    '{"exp":"SECRETpayload"}',
    '{"ns":1,"NS":"SECRETpayload"}',
  ])('R7: shows nothing of a token that it refuses: %s', (claims) => {
    let error: unknown;
    try {
      readTokenClaims(`${part('{"alg":"HS512"}')}.${part(claims)}.x`);
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toMatchObject({ code: 'UNAUTHENTICATED' });
    expect(inspect(error, { depth: 9 })).not.toContain('SECRET');
  });
});
