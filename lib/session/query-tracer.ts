import { type BoundQuery, RecordId, RecordIdRange, Table } from 'surrealdb';
import type { Tenant } from '../tenant/tenant.js';

/** What a tracer is told of a query. */
export interface TracedQuery {
  /** The text, which may hold values that the application has pasted in; never the bindings. */
  sql: string;
  /** Undefined for a session that belongs to no tenant. */
  tenant: Tenant | undefined;
  /** Where it runs; undefined for a session without a tenant that has not said so yet. */
  target: { namespace: string; database: string } | undefined;
  /** The table that a parameter of the text stands for, if it does: all that is told of the bindings. */
  tableOf(parameter: string): string | undefined;
}

/** Sees every query of units of work from the outside. */
export interface QueryTracer {
  /** Runs the query; what it answers or throws is handed on as it is. */
  trace<Result>(query: TracedQuery, work: () => Promise<Result>): Promise<Result>;
}

/** A query for a tracer, with its bindings out of reach. */
export function tracedQuery(
  { query, bindings }: Pick<BoundQuery, 'query' | 'bindings'>,
  tenant: Tenant | undefined,
  target: TracedQuery['target'],
): TracedQuery {
  return { sql: query, tenant, target, tableOf: (parameter) => tableOf(bindings[parameter]) };
}

/** Only of values that are tables and record ids by their class: a field of anything else may be data. */
function tableOf(value: unknown): string | undefined {
  if (value instanceof RecordId || value instanceof RecordIdRange) return tableOf(value.table);
  return value instanceof Table ? (value as Table<string>).name : undefined;
}
