import type { IncomingMessage, ServerResponse } from 'node:http';
import type { HttpServer } from '@nestjs/common';
import { InvalidOptionsError } from '../surreal.errors.js';
import type { UnitContext } from './unit-context.js';

type Next = () => void;
type OnRequest = (request: { raw: IncomingMessage }, reply: { raw: ServerResponse }, done: Next) => void;

/** The adapters of applications that have their units of work already. */
const opened = new WeakSet<HttpServer>();

/**
 * Opens a unit of work for every HTTP request, as early as the platform allows: on Fastify in its first hook, which is
 * faster than a middleware there, on Express in a middleware in front of all routes.
 */
export function openUnitsForRequests(adapter: HttpServer, context: UnitContext): void {
  if (opened.has(adapter)) {
    throw new InvalidOptionsError(
      'SurrealModule is imported with forRoot() or forRootAsync() more than once. Import it once, in the root module: it is ' +
        'global, and two of them could send one tenant to the database of the other.',
    );
  }
  opened.add(adapter);
  if (adapter.getType() === 'fastify') {
    const onRequest: OnRequest = ({ raw }, reply, done) => context.runRequest(raw, reply.raw, done);
    (adapter.getInstance() as { addHook(name: string, hook: OnRequest): void }).addHook('onRequest', onRequest);
  } else {
    adapter.use?.((request: IncomingMessage, response: ServerResponse, next: Next) =>
      context.runRequest(request, response, next),
    );
  }
}
