import type { IncomingMessage, ServerResponse } from 'node:http';

/**
 * The page keeps its tokens where scripts can read them (public/session.js), so no script may run here that is not one of our
 * files: neither from elsewhere nor out of a note. Nor may other pages show this one in a frame.
 */
const POLICY = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
/** Swagger's page has its styles and pictures inline; its scripts are files. */
const POLICY_OF_DOCS = `${POLICY}; style-src 'self' 'unsafe-inline'; img-src 'self' data:`;

export function securityHeaders({ url = '' }: IncomingMessage, response: ServerResponse, next: () => void): void {
  const isDocs = /^\/docs(?:[/?]|$)/.test(url);
  response.setHeader('content-security-policy', isDocs ? POLICY_OF_DOCS : POLICY);
  response.setHeader('x-content-type-options', 'nosniff');
  response.setHeader('referrer-policy', 'same-origin');
  // What one person has read is not for the next one at this browser.
  response.setHeader('cache-control', 'no-store');
  next();
}
