import type { Tenant } from '../tenant/tenant.js';

/** What a tracer is told of a query. */
export interface TracedQuery {
  /** The text, which may hold values that the application has pasted in; never the bindings. */
  sql: string;
  /** Undefined for a session that belongs to no tenant. */
  tenant: Tenant | undefined;
}

/** Sees every query of units of work from the outside. */
export interface QueryTracer {
  /** Runs the query; what it answers or throws is handed on as it is. */
  trace<Result>(query: TracedQuery, work: () => Promise<Result>): Promise<Result>;
}
