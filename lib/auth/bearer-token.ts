import type { ExecutionContext } from '@nestjs/common';
import { parse } from 'cookie';
import { UnauthenticatedError } from '../surreal.errors.js';
import { type HttpRequest, httpRequestOf } from '../tenant/tenant-strategy.js';

/** Longer ones are refused unread. Tokens of SurrealDB have about 400 characters, those of others a few thousand. */
const MAX_LENGTH = 8_192;

/**
 * The token that came with a request: as `Authorization: Bearer …`, or in the cookie of that name; for a GraphQL operation by
 * its context's `req`, for a message of a socket.io client by the handshake (`auth.token`, or its headers). The places are
 * one request's: two that differ are refused, since whoever stands in front may have looked at the other one.
 * @returns undefined when there is none
 * @throws UnauthenticatedError when there are two, or it is too long or no token at all
 */
export function bearerTokenOf(context: ExecutionContext, cookie: string | undefined): string | undefined {
  const request = requestOf(context);
  const found = new Set([fromAuthorization(request), fromCookie(request, cookie), fromHandshake(request)]);
  found.delete(undefined);
  const [token, other] = found;
  if (other !== undefined) throw new UnauthenticatedError('The request has two bearer tokens, which differ.');
  if (token !== undefined && token.length > MAX_LENGTH) throw new UnauthenticatedError('The bearer token is too long.');
  return token;
}

/** What a request or a client's handshake says. */
interface TokenRequest extends HttpRequest {
  /** All headers as they came, names and values in turn: Node drops a second `Authorization`. */
  rawHeaders?: string[];
  raw?: { rawHeaders?: string[] };
  /** What a socket.io client gave in its option `auth`. */
  auth?: { token?: unknown };
}

function requestOf(context: ExecutionContext): TokenRequest {
  if (context.getType<string>() !== 'ws') return httpRequestOf(context);
  const client = context.switchToWs().getClient<{ handshake?: TokenRequest; upgradeReq?: TokenRequest } | undefined>();
  return client?.handshake ?? client?.upgradeReq ?? {};
}

function fromAuthorization(request: TokenRequest): string | undefined {
  const rawHeaders = request.rawHeaders ?? request.raw?.rawHeaders ?? [];
  const count = rawHeaders.filter((name, index) => index % 2 === 0 && name.toLowerCase() === 'authorization').length;
  if (count > 1) throw new UnauthenticatedError('The request has more than one Authorization header.');
  const header = request.headers?.authorization;
  if (typeof header !== 'string' || !/^Bearer(?:\s|$)/i.test(header)) return undefined;
  const token = /^Bearer\s+([\w.~+/=-]+)\s*$/i.exec(header)?.[1];
  if (token === undefined) throw new UnauthenticatedError('The Authorization header has no bearer token in it.');
  return token;
}

function fromCookie({ headers }: TokenRequest, name: string | undefined): string | undefined {
  const header = headers?.cookie;
  if (name === undefined || typeof header !== 'string') return undefined;
  const value = parse(header)[name];
  // The first of two counts here, and perhaps the last for whoever stands in front.
  if (header.split(';').filter((pair) => pair.split('=')[0]?.trim() === name).length > 1) {
    throw new UnauthenticatedError('The request has the cookie of its token more than once.');
  }
  return value === '' ? undefined : value;
}

function fromHandshake({ auth }: TokenRequest): string | undefined {
  const token = auth?.token;
  return typeof token === 'string' && token !== '' ? token : undefined;
}
