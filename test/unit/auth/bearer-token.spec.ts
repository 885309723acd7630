import { describe, expect, it } from '@jest/globals';
import type { ExecutionContext } from '@nestjs/common';
import { bearerTokenOf } from '../../../lib/auth/bearer-token.js';

const http = (request: object) =>
  ({ getType: () => 'http', switchToHttp: () => ({ getRequest: () => request }) }) as unknown as ExecutionContext;
const graphql = (request: object) =>
  ({ getType: () => 'graphql', getArgByIndex: () => ({ req: request }) }) as unknown as ExecutionContext;
const ws = (client: object | undefined) =>
  ({ getType: () => 'ws', switchToWs: () => ({ getClient: () => client }) }) as unknown as ExecutionContext;

const headers = { authorization: 'Bearer a.b.c' };
const refused = expect.objectContaining({ code: 'UNAUTHENTICATED' });

describe('bearerTokenOf', () => {
  it.each<[string, ExecutionContext, string | undefined]>([
    ['the Authorization header', http({ headers }), 'a.b.c'],
    ['its scheme in another case, with more blanks', http({ headers: { authorization: 'bEaReR   a.b.c  ' } }), 'a.b.c'],
    ['its scheme and a tab', http({ headers: { authorization: 'Bearer\ta.b.c' } }), 'a.b.c'],
    ['the request of a GraphQL operation', graphql({ headers }), 'a.b.c'],
    ['the handshake of a socket.io client', ws({ handshake: { headers } }), 'a.b.c'],
    ["a socket.io client's own auth", ws({ handshake: { headers: {}, auth: { token: 'a.b.c' } } }), 'a.b.c'],
    ['the request that a ws client came by', ws({ upgradeReq: { headers } }), 'a.b.c'],
    ['a cookie', http({ headers: { cookie: 'x=1; token=a.b.c' } }), 'a.b.c'],
    ['both, where they agree', http({ headers: { ...headers, cookie: 'token=a.b.c' } }), 'a.b.c'],
    ['nowhere: no headers', http({}), undefined],
    ['nowhere: another scheme', http({ headers: { authorization: 'Basic YTpi' } }), undefined],
    ['nowhere: an empty cookie', http({ headers: { cookie: 'token=' } }), undefined],
    ['nowhere: a client without a handshake', ws(undefined), undefined],
  ])('finds it in %s', (_case, context, token) => {
    expect(bearerTokenOf(context, 'token')).toBe(token);
  });

  it('looks at no cookie unless it is told which', () => {
    expect(bearerTokenOf(http({ headers: { cookie: 'token=a.b.c' } }), undefined)).toBeUndefined();
  });

  it.each<[string, ExecutionContext]>([
    ['two that differ', http({ headers: { ...headers, cookie: 'token=d.e.f' } })],
    ['two cookies of the same name', http({ headers: { cookie: 'token=a.b.c; x=1; token=d.e.f' } })],
    ['a header with a tab, and a cookie', http({ headers: { authorization: 'Bearer\ta.b.c', cookie: 'token=d.e.f' } })],
    ['two in a handshake', ws({ handshake: { headers, auth: { token: 'd.e.f' } } })],
    [
      'a header that came twice',
      http({ headers, rawHeaders: ['Authorization', 'Bearer a.b.c', 'AUTHORIZATION', 'x'] }),
    ],
    ['the same on Fastify', http({ headers, raw: { rawHeaders: ['authorization', 'a', 'authorization', 'b'] } })],
    ['nothing after Bearer', http({ headers: { authorization: 'Bearer ' } })],
    ['more than a token', http({ headers: { authorization: 'Bearer a.b.c d' } })],
    ['what is no token', http({ headers: { authorization: 'Bearer a.b.ö' } })],
    ['one that is too long', http({ headers: { authorization: `Bearer ${'a'.repeat(8_193)}` } })],
  ])('refuses %s', (_case, context) => {
    expect(() => bearerTokenOf(context, 'token')).toThrow(refused);
  });
});
