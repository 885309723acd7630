import type * as OpenTelemetry from '@opentelemetry/api';
import { type Endpoint, parseEndpoint } from '../connection/endpoint.js';
import type { TenancyStats } from '../context/stats.js';
import type { QueryTracer } from '../session/query-tracer.js';
import type { ResolvedOptions } from '../surreal.options.js';
import { observeMetrics } from './metrics.js';
import { QuerySpans } from './query-spans.js';

/**
 * Spans and metrics of one application, if it has OpenTelemetry's API. No type of that package shows in the declaration of
 * this class, so that applications without it compile.
 */
export class Telemetry {
  /** Undefined when there is nobody to tell. */
  readonly tracer: QueryTracer | undefined;
  readonly #api: typeof OpenTelemetry | undefined;
  readonly #address: string;
  #stop: (() => void) | undefined;

  /**
   * Looks for `@opentelemetry/api`, unless `telemetry: false`; an application that has not installed it goes without.
   * @throws whatever the package itself throws while it is loaded
   */
  static async load({ telemetry, url }: Pick<ResolvedOptions, 'telemetry' | 'url'>): Promise<Telemetry> {
    const endpoint = parseEndpoint(url);
    if (telemetry === false) return new Telemetry(endpoint, undefined, false);
    return new Telemetry(endpoint, await importOpenTelemetry(), telemetry.queryText);
  }

  private constructor(endpoint: Endpoint, api: typeof OpenTelemetry | undefined, queryText: boolean) {
    this.#api = api;
    this.#address = addressOf(endpoint);
    if (api !== undefined) this.tracer = new QuerySpans(api, { queryText, common: commonAttributes(endpoint) });
  }

  /** Shows these figures in the metrics, until `stop()`. Its caller must see to that: meters are global. */
  observe(stats: () => TenancyStats): void {
    if (this.#api !== undefined) this.#stop ??= observeMetrics(this.#api, this.#address, stats);
  }

  /** Safe to call twice, and without `observe()`. */
  stop(): void {
    this.#stop?.();
    this.#stop = undefined;
  }
}

async function importOpenTelemetry(): Promise<typeof OpenTelemetry | undefined> {
  try {
    return await import('@opentelemetry/api');
  } catch (error) {
    // Of Node, and of those who resolve in its place (jest, Yarn).
    const isMissing = ['ERR_MODULE_NOT_FOUND', 'MODULE_NOT_FOUND'].includes((error as { code?: string }).code ?? '');
    if (isMissing) return undefined;
    throw error;
  }
}

/** For the nodes of a cluster no address: which of them answers changes with every socket. */
function commonAttributes(endpoint: Endpoint): OpenTelemetry.Attributes {
  const system = { 'db.system.name': 'surrealdb' };
  const [url, ...others] = endpoint.type === 'socket' ? endpoint.urls : [];
  if (url === undefined || others.length > 0) return system;
  return { ...system, 'server.address': hostOf(url), 'server.port': portOf(url) };
}

function addressOf(endpoint: Endpoint): string {
  if (endpoint.type === 'embedded') return endpoint.scheme;
  return endpoint.urls.map((url) => `${url.hostname}:${portOf(url)}`).join(',');
}

/** An IPv6 address without the brackets of urls. */
function hostOf({ hostname }: URL): string {
  return hostname.replace(/^\[(.*)\]$/, '$1');
}

function portOf({ port, protocol }: URL): number {
  return port === '' ? (protocol === 'wss:' ? 443 : 80) : Number(port);
}
