import type { ExecutionContext, Type } from '@nestjs/common';

/** Says which tenant a request is for. The answer is a claim of the request, checked against the store afterwards. */
export interface TenantStrategy {
  /** @returns an identifier, or undefined when this strategy finds none and the next one should be asked */
  identify(context: ExecutionContext): string | undefined | Promise<string | undefined>;
}

/** The short form of a strategy. */
export type TenantStrategyFunction = TenantStrategy['identify'];

/** What `tenants.strategies` takes: a strategy, a function, or a class that Nest creates with its dependencies. */
export type TenantStrategyInput = TenantStrategy | TenantStrategyFunction | Type<TenantStrategy>;

/** The parts of an HTTP request that strategies read; Express and Fastify agree in them. */
export interface HttpRequest {
  headers?: Record<string, string | string[] | undefined>;
  hostname?: string;
  params?: Record<string, unknown>;
  query?: Record<string, unknown>;
  user?: Record<string, unknown>;
}

/** The HTTP request behind a context; an empty one for transports that have none, so that nothing is identified. */
export function httpRequestOf(context: ExecutionContext): HttpRequest {
  switch (context.getType<string>()) {
    case 'http':
      return context.switchToHttp().getRequest<HttpRequest | undefined>() ?? {};
    case 'graphql':
      // A resolver's arguments are (parent, args, context, info); the context carries the request.
      return context.getArgByIndex<{ req?: HttpRequest } | undefined>(2)?.req ?? {};
    default:
      return {};
  }
}

/** From a header, such as `x-tenant-id`. */
export function fromHeader(name: string): TenantStrategy {
  const key = name.toLowerCase();
  return { identify: (context) => asClaim(httpRequestOf(context).headers?.[key]) };
}

/**
 * From the host name: `acme` of `acme.example.com` with `root: 'example.com'`. Behind a proxy, tell Express or Fastify to
 * trust it (`trust proxy`), so that they read `X-Forwarded-Host`.
 */
export function fromSubdomain({ root }: { root: string }): TenantStrategy {
  const suffix = `.${root.toLowerCase()}`;
  return {
    identify: (context) => {
      const host = hostOf(context);
      return host?.endsWith(suffix) ? host.slice(0, -suffix.length) : undefined;
    },
  };
}

/** From the whole host name: `{ 'notes.acme.com': 'acme' }`, for tenants with domains of their own. */
export function fromHost(identifiers: Readonly<Record<string, string>>): TenantStrategy {
  const byHost = new Map(Object.entries(identifiers).map(([host, identifier]) => [host.toLowerCase(), identifier]));
  return { identify: (context) => byHost.get(hostOf(context) ?? '') };
}

/** From a parameter of the route, such as `tenant` in `/t/:tenant/notes`. */
export function fromPath(param: string): TenantStrategy {
  return { identify: (context) => asClaim(httpRequestOf(context).params?.[param]) };
}

/** From the query string, such as `?tenant=acme`. */
export function fromQuery(name: string): TenantStrategy {
  return { identify: (context) => asClaim(httpRequestOf(context).query?.[name]) };
}

/** From `request.user`, which an authentication guard before `TenantGuard` has set, such as `user.tenantId`. */
export function fromUser(property: string): TenantStrategy {
  return { identify: (context) => asClaim(httpRequestOf(context).user?.[property]) };
}

/** Always the same tenant: for a deployment of one tenant's own, and for development. */
export function fromTenantId(fixed: string): TenantStrategy {
  return { identify: () => fixed };
}

function hostOf(context: ExecutionContext): string | undefined {
  // A name may end in the dot of the root, and is the same name.
  return httpRequestOf(context).hostname?.toLowerCase().replace(/\.$/, '');
}

/**
 * What a request says, as one string. A value that is there but is no string (a repeated parameter) must not count as
 * absent, or a weaker strategy would be asked: it becomes an identifier that nobody can have.
 */
function asClaim(value: unknown): string | undefined {
  if (value === undefined || value === null) return undefined;
  return typeof value === 'string' ? value : '';
}
