import { createServer, type Server } from 'node:http';
import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { ExecutionContext } from '@nestjs/common';
import { exportJWK, SignJWT } from 'jose';
import { fromHost, fromSubdomain, fromToken, fromUser } from 'nestjs-surreal';

/** As much of a context as strategies look at. */
function contextOf(request: object): ExecutionContext {
  return { getType: () => 'http', switchToHttp: () => ({ getRequest: () => request }) } as unknown as ExecutionContext;
}

const bearer = (token: string) => contextOf({ headers: { authorization: `Bearer ${token}` } });
const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
const publicPem = rsa.publicKey.export({ type: 'spki', format: 'pem' }).toString();

describe('fromToken', () => {
  const sign = (alg: string, key: Parameters<SignJWT['sign']>[0], claims = {}) =>
    new SignJWT({ tid: 'acme', ...claims }).setProtectedHeader({ alg, kid: 'one' }).sign(key);
  const unauthenticated = { code: 'UNAUTHENTICATED' };

  it('verifies with a public key', async () => {
    const strategy = fromToken({ claim: 'tid', key: publicPem });
    expect(await strategy.identify(bearer(await sign('RS256', rsa.privateKey)))).toBe('acme');
  });

  it('never takes the public key for a shared secret', async () => {
    const strategy = fromToken({ claim: 'tid', key: publicPem });
    const forged = await sign('HS256', new TextEncoder().encode(publicPem));
    await expect(strategy.identify(bearer(forged))).rejects.toMatchObject(unauthenticated);
    const bare = publicPem.replace(/-----.*-----|\n/g, '');
    expect(() => fromToken({ claim: 'tid', key: bare })).toThrow(/without its PEM lines/);
  });

  it('holds issuer and audience where they are given', async () => {
    const strategy = fromToken({ claim: 'tid', key: publicPem, issuer: 'us', audience: 'notes' });
    const right = await sign('RS256', rsa.privateKey, { iss: 'us', aud: ['notes'] });
    expect(await strategy.identify(bearer(right))).toBe('acme');
    for (const claims of [{ iss: 'them', aud: 'notes' }, { iss: 'us', aud: 'other' }, {}]) {
      await expect(strategy.identify(bearer(await sign('RS256', rsa.privateKey, claims)))).rejects.toMatchObject(
        unauthenticated,
      );
    }
  });

  it('leaves a request without a token, or with another scheme, to the next strategy', async () => {
    const strategy = fromToken({ claim: 'tid', key: publicPem });
    expect(await strategy.identify(contextOf({ headers: {} }))).toBeUndefined();
    expect(await strategy.identify(contextOf({ headers: { authorization: 'Basic YTpi' } }))).toBeUndefined();
  });

  it.each([
    ['neither key', {}, /either "key" or "jwksUri"/],
    ['both', { key: 'a', jwksUri: 'https://a' }, /either "key" or "jwksUri"/],
    ['an empty key', { key: '' }, /"key" is empty/],
    ['a broken PEM', { key: '-----BEGIN PUBLIC KEY-----\nx\n-----END PUBLIC KEY-----' }, /not a public key in PEM/],
    ['no url', { jwksUri: 'keys' }, /"jwksUri" is not a url/],
  ])('refuses %s at once', (_case, options, message) => {
    expect(() => fromToken({ claim: 'tid', ...options })).toThrow(message);
  });

  describe('with the keys of an issuer', () => {
    let server: Server;
    let url: string;
    let status = 200;
    beforeEach(async () => {
      const jwk = { ...(await exportJWK(rsa.publicKey)), kid: 'one', alg: 'RS256' };
      status = 200;
      server = createServer((_request, response) => {
        response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify({ keys: [jwk] }));
      }).listen(0, '127.0.0.1');
      await once(server, 'listening');
      url = `http://127.0.0.1:${(server.address() as { port: number }).port}/keys`;
    });
    afterEach(async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    });

    it('verifies', async () => {
      const strategy = fromToken({ claim: 'tid', jwksUri: url });
      expect(await strategy.identify(bearer(await sign('RS256', rsa.privateKey)))).toBe('acme');
      const other = generateKeyPairSync('rsa', { modulusLength: 2048 });
      await expect(strategy.identify(bearer(await sign('RS256', other.privateKey)))).rejects.toMatchObject(
        unauthenticated,
      );
    });

    it('does not blame the caller when the issuer is down', async () => {
      status = 500;
      const strategy = fromToken({ claim: 'tid', jwksUri: url });
      await expect(strategy.identify(bearer(await sign('RS256', rsa.privateKey)))).rejects.toMatchObject({
        status: 503,
      });
    });
  });
});

describe('host names', () => {
  const strategy = fromSubdomain({ root: 'Example.com' });

  it.each([
    ['acme.example.com', 'acme'],
    ['ACME.example.COM', 'acme'],
    ['acme.example.com.', 'acme'],
    ['a.b.example.com', 'a.b'],
    ['example.com', undefined],
    ['acme.example.org', undefined],
    ['acmeexample.com', undefined],
    ['[::1]', undefined],
    [undefined, undefined],
  ])('fromSubdomain: %s is %s', (hostname, expected) => {
    expect(strategy.identify(contextOf({ hostname }))).toBe(expected);
  });

  it('fromHost knows its own hosts only, and nothing inherited', () => {
    const strategy = fromHost({ 'Notes.acme.com': 'acme' });
    expect(['notes.acme.com', 'notes.acme.com.', 'other.com', '__proto__'].map((hostname) => strategy.identify(contextOf({ hostname })))).toEqual([
      'acme', 'acme', undefined, undefined,
    ]); // prettier-ignore
  });

  it('fromUser takes what the guard before has found', () => {
    expect(fromUser('tenant').identify(contextOf({ user: { tenant: 'acme' } }))).toBe('acme');
    expect(fromUser('tenant').identify(contextOf({}))).toBeUndefined();
  });
});
