import type * as OpenTelemetry from '@opentelemetry/api';
import { ServerError } from 'surrealdb';
import { translateDatabaseError } from '../session/database-errors.js';
import { type RpcQueryResult, statementError } from '../session/query-connection.js';
import type { QueryTracer, TracedQuery } from '../session/query-tracer.js';
import { SurrealModuleError } from '../surreal.errors.js';
import { type QuerySummary, summarize } from './query-summary.js';

/** The name under which spans and metrics appear. */
export const SCOPE = 'nestjs-surreal';

/** In seconds, as the conventions advise. */
const BUCKETS = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10];

export interface QuerySpansOptions {
  queryText: boolean;
  /** Of everything: which database it is and where. */
  common: OpenTelemetry.Attributes;
}

/**
 * A span, and a duration in the histogram, for each query. Bindings, results and texts of errors are in none of them; the
 * tenant is in spans, not in metrics, whose number must not grow with the number of tenants.
 */
export class QuerySpans implements QueryTracer {
  readonly #api: typeof OpenTelemetry;
  readonly #options: QuerySpansOptions;
  /** Undefined when nobody had registered a meter provider at the start. */
  readonly #durations: OpenTelemetry.Histogram | undefined;
  /** What the API has for a provider until one is registered. */
  readonly #nobody: OpenTelemetry.TracerProvider;
  #provider: OpenTelemetry.TracerProvider | undefined;
  #tracer: OpenTelemetry.Tracer | undefined;

  constructor(api: typeof OpenTelemetry, options: QuerySpansOptions) {
    this.#api = api;
    this.#options = options;
    this.#nobody = new api.ProxyTracerProvider().getDelegate();
    const meter = api.metrics.getMeter(SCOPE);
    if (meter !== api.createNoopMeter()) {
      this.#durations = meter.createHistogram('db.client.operation.duration', {
        description: 'Duration of database client operations.',
        unit: 's',
        advice: { explicitBucketBoundaries: BUCKETS },
      });
    }
  }

  trace<Result>(query: TracedQuery, work: () => Promise<Result>): Promise<Result> {
    const tracer = this.#activeTracer();
    return tracer === undefined && this.#durations === undefined ? work() : this.#observe(tracer, query, work);
  }

  async #observe<Result>(
    tracer: OpenTelemetry.Tracer | undefined,
    query: TracedQuery,
    work: () => Promise<Result>,
  ): Promise<Result> {
    const summary = summarize(query);
    // All of it at the start, for samplers to decide by.
    const span = tracer?.startSpan(summary.summary ?? summary.operation ?? 'surrealdb', {
      kind: this.#api.SpanKind.CLIENT,
      attributes: this.#attributes(query, summary),
    });
    const startedAt = performance.now();
    const end = (failure: OpenTelemetry.Attributes) => {
      const seconds = (performance.now() - startedAt) / 1_000;
      this.#end(span, failure);
      const { operation } = summary;
      const name = operation === undefined ? {} : { 'db.operation.name': operation };
      this.#durations?.record(seconds, { ...this.#options.common, ...name, ...failure });
    };
    try {
      const result = await work();
      end(failureIn(result));
      return result;
    } catch (error) {
      end(describeFailure(error));
      throw error;
    }
  }

  #end(span: OpenTelemetry.Span | undefined, failure: OpenTelemetry.Attributes): void {
    if (span === undefined) return;
    // Without a message and without the exception: the database's texts quote values (R7).
    if ('error.type' in failure) {
      span.setStatus({ code: this.#api.SpanStatusCode.ERROR });
      span.setAttributes(failure);
    }
    span.end();
  }

  #attributes({ sql, tenant, target }: TracedQuery, summary: QuerySummary): OpenTelemetry.Attributes {
    const { common, queryText } = this.#options;
    const attributes: OpenTelemetry.Attributes = { ...common };
    if (target !== undefined) attributes['db.namespace'] = `${target.namespace}|${target.database}`;
    if (summary.operation !== undefined) attributes['db.operation.name'] = summary.operation;
    if (summary.summary !== undefined) attributes['db.query.summary'] = summary.summary;
    if (summary.collection !== undefined) attributes['db.collection.name'] = summary.collection;
    if (summary.procedure !== undefined) attributes['db.stored_procedure.name'] = summary.procedure;
    if (summary.statements !== undefined) attributes['db.operation.batch.size'] = summary.statements;
    // The SDK's builders count their parameters for ever, so that no two texts would be the same.
    if (queryText) attributes['db.query.text'] = sql.replaceAll(/\$bind__\d+/g, '$bind');
    if (tenant !== undefined) attributes['nestjs_surreal.tenant.id'] = tenant.id;
    return attributes;
  }

  /** Undefined while nobody has registered a provider. Asked at each query: that can happen late, and anew in tests. */
  #activeTracer(): OpenTelemetry.Tracer | undefined {
    const registered = this.#api.trace.getTracerProvider();
    const provider = 'getDelegate' in registered ? (registered as Proxied).getDelegate() : registered;
    if (provider === this.#nobody) return undefined;
    if (provider !== this.#provider) {
      this.#provider = provider;
      this.#tracer = provider.getTracer(SCOPE);
    }
    return this.#tracer;
  }
}

type Proxied = Pick<OpenTelemetry.ProxyTracerProvider, 'getDelegate'>;

/** The failure among the results of the statements; empty when there is none, or when it is no query that was answered. */
function failureIn(result: unknown): OpenTelemetry.Attributes {
  if (!Array.isArray(result)) return {};
  const failed = (result as RpcQueryResult[]).filter(({ status }) => status === 'ERR');
  if (failed.length === 0) return {};
  const errors = failed.map(statementError);
  // Of a transaction that failed, the statements around the one to blame fail too, saying only so.
  const [blamed] = [...errors.filter((error) => !isConsequence(error)), ...errors];
  return describeFailure(blamed);
}

function isConsequence(error: unknown): boolean {
  return error instanceof ServerError && error.kind === 'Query';
}

/** What is told of an error: its kind, never its text. */
function describeFailure(error: unknown): OpenTelemetry.Attributes {
  const type = errorType(translateDatabaseError(error));
  const isAnswer = error instanceof ServerError || (error as Partial<Error> | undefined)?.cause instanceof ServerError;
  return { 'error.type': type, ...(isAnswer ? { 'db.response.status_code': type } : {}) };
}

/** The code of this library; else the kind of the database's error; else the name of whatever was thrown. */
function errorType(error: unknown): string {
  if (error instanceof SurrealModuleError) return error.code;
  const name = error instanceof ServerError ? error.kind : (error as Partial<Error> | undefined)?.name;
  return typeof name === 'string' && /^\w{1,64}$/.test(name) ? name : '_OTHER';
}
