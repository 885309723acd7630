// Requests to the server, each for one tenant and, where somebody is signed in there, by that person.

import { hostTenant, place } from './place.js';
import { askOtherTabs, endSession, replaceTokens, tokensOf } from './session.js';

/** What the server refused, in its own words. */
export class RequestError extends Error {
  constructor(message, { status, fields = {} } = {}) {
    super(message);
    this.status = status;
    this.fields = fields;
  }
}

/** Whoever asked is not signed in any more. The page asks to sign in by itself; nobody needs to say so again. */
export class SignedOutError extends RequestError {}

/**
 * As the person who is signed in at the tenant that is shown. A token that has ended is renewed once, without a word.
 * @param {{ method?: string, body?: object | ((tokens: object) => object) }} [options]
 * @throws SignedOutError when that is not to be had
 */
export async function request(path, { method, body } = {}) {
  const { tenant } = place;
  const sendWith = (tokens) =>
    send(path, { method, body: typeof body === 'function' ? body(tokens) : body, tenant, access: tokens.access });
  const tokens = tokensOf(tenant);
  if (tokens === undefined) throw new SignedOutError('Sign in first.', { status: 401 });
  try {
    return await sendWith(tokens);
  } catch (error) {
    if (error.status !== 401) throw error;
  }
  const renewed = await renew(tenant, tokens);
  try {
    return await sendWith(renewed);
  } catch (error) {
    if (error.status === 401) throw over(tenant);
    throw error;
  }
}

/** As nobody in particular. */
export const requestAsNobody = (path, options = {}) => send(path, { ...options, tenant: place.tenant });

/** Renewals that are under way, by tenant: a refresh token is good for one, however many requests have been refused. */
const renewals = new Map();

function renew(tenant, tokens) {
  // Another request has done it while this one was under way.
  const now = tokensOf(tenant);
  if (now === undefined) throw new SignedOutError('Sign in first.', { status: 401 });
  if (now.access !== tokens.access) return now;
  if (!renewals.has(tenant)) {
    // One tab after the other: a copy of this one has the same refresh token.
    const locks = navigator.locks ?? { request: (_name, work) => work() };
    const renewal = locks.request(`notes ${tenant}`, () => renewAlone(tenant, tokens));
    renewals.set(
      tenant,
      renewal.finally(() => renewals.delete(tenant)),
    );
  }
  return renewals.get(tenant);
}

async function renewAlone(tenant, tokens) {
  const now = tokensOf(tenant);
  if (now !== undefined && now.access !== tokens.access) return now;
  try {
    const renewed = await send('/refresh', { tenant, method: 'POST', body: tokens });
    // Signed out meanwhile: these are nobody's.
    if (tokensOf(tenant)?.access !== tokens.access) throw new SignedOutError('Sign in first.', { status: 401 });
    replaceTokens(tenant, tokens, renewed);
    return renewed;
  } catch (error) {
    // Anything else may pass, and the tokens are still good then.
    if (error.status !== 401 || error instanceof SignedOutError) throw error;
  }
  if (await askOtherTabs(tenant, tokens)) return tokensOf(tenant);
  throw over(tenant);
}

function over(tenant) {
  endSession(tenant);
  return new SignedOutError('The session has expired.', { status: 401 });
}

async function send(path, { method = 'GET', body, tenant, access }) {
  let response;
  try {
    response = await fetch(path, {
      method,
      headers: {
        ...(hostTenant === undefined && tenant ? { 'x-tenant-id': tenant } : {}),
        ...(access ? { authorization: `Bearer ${access}` } : {}),
        ...(body ? { 'content-type': 'application/json' } : {}),
      },
      ...(body ? { body: JSON.stringify(body) } : {}),
    });
  } catch {
    throw new RequestError('The server cannot be reached. Is it still running?');
  }
  if (response.status === 204) return undefined;
  const answer = await response.json().catch(() => ({}));
  if (response.ok) return answer;
  // The schema's own refusal names one field; the validation's names all.
  const fields = answer.fields ?? (answer.field ? { [answer.field]: answer.message } : {});
  throw new RequestError(answer.message ?? `The server answered ${response.status}.`, {
    status: response.status,
    fields,
  });
}
