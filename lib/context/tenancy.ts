import { Inject, Injectable } from '@nestjs/common';
import type { CallLimits } from '../connection/call-limits.js';
import type { SurrealConnection } from '../connection/surreal-connection.js';
import { type CallOptions, callOptions } from '../session/call.js';
import { type HandleResources, SessionHandle } from '../session/session-handle.js';
import type { TokenSource } from '../session/token-source.js';
import { CachedTenantStore } from '../tenant/cached-tenant-store.js';
import type { TenantSide } from '../tenant/tenant-side.js';
import type { Tenant } from '../tenant/tenant.js';
import { takeStats, type TenancyStats } from './stats.js';
import type { TenantSession } from './tenant-session.js';
import type { UnitContext } from './unit-context.js';

/** What the module wires together, for its own classes. */
export interface TenancyResources extends HandleResources {
  context: UnitContext;
  connection: SurrealConnection;
  tokens: TokenSource;
  tenants: () => Promise<TenantSide> | TenantSide;
  /** The option `sessions.max`. */
  maxSessions: number;
  /** The option `calls`, each of whose limits is of one socket. */
  calls: CallLimits;
  /** How long a shutdown waits for what runs. */
  shutdownTimeoutMillis: number;
}

/** Injection token of what the module wires together, for the classes that Nest makes again in other modules. */
export const TENANCY_RESOURCES = Symbol.for('nestjs-surreal.resources');

/** Units of work outside a request: jobs, cron, command lines, tests. */
@Injectable()
export class Tenancy {
  readonly #resources: TenancyResources;

  constructor(@Inject(TENANCY_RESOURCES) resources: TenancyResources) {
    this.#resources = resources;
  }

  /**
   * Runs `work` as a unit of work of a tenant: every `TenantSession` used inside is that tenant's, in whatever service.
   * Units may be nested; the inner one has a session of its own. When it returns, all it held has been given back.
   * @param tenant an identifier for the store, or a record
   * @param options bounds of its calls to the database
   * @throws TenantInvalidError, TenantNotFoundError, TenantSuspendedError, ShuttingDownError; whatever `work` throws
   */
  async run<Result>(
    tenant: string | Tenant,
    work: (db: TenantSession) => Promise<Result> | Result,
    options?: CallOptions,
  ): Promise<Result> {
    const admitted = await this.#admit(tenant);
    return await this.#resources.context.run(admitted, (unit) => work(unit.session), callOptions(options));
  }

  /**
   * A session of one's own, on the server now. The caller ends it, by `detach()` or `await using`.
   * @param tenant without one the session starts with nothing: free to `use()` and to sign in, every query refused until then
   * @param options bounds of its calls to the database
   */
  async attach(tenant?: string | Tenant, options?: CallOptions): Promise<TenantSession> {
    this.#resources.context.assertAccepting();
    const bounds = callOptions(options);
    const admitted = tenant === undefined ? undefined : await this.#admit(tenant);
    const { evictions } = this.#resources.pool;
    const owner = { requireTenant: () => admitted, evictions, options: bounds, origin: 'attach' };
    const handle = new SessionHandle(this.#resources, owner);
    try {
      return await handle.attach();
    } catch (error) {
      await handle.close('The session could not be attached.');
      throw error;
    }
  }

  /** The running unit of work, if there is one and its tenant is known. */
  current(): { tenant: Tenant; session: TenantSession } | undefined {
    const unit = this.#resources.context.current;
    return unit?.tenant === undefined || unit.hasEnded ? undefined : { tenant: unit.tenant, session: unit.session };
  }

  /**
   * Closes a tenant's sessions and forgets its tokens and its cached record, now. Units of work that are running fail with
   * SESSION_CLOSED at their next query; new ones start afresh from the store.
   */
  async evict(tenantId: string): Promise<void> {
    const { pool, tokens, tenants } = this.#resources;
    const { store } = await tenants();
    if (store instanceof CachedTenantStore) store.forget(tenantId);
    tokens.evict(tenantId);
    await pool.evict(tenantId);
  }

  /**
   * What is going on now: sockets, sessions, calls, sign-ins. A snapshot, frozen; taking it sends nothing.
   * @param options `tenants: true` adds the figures of each tenant; their number is not bounded
   */
  stats(options: { tenants?: boolean } = {}): TenancyStats {
    return takeStats(this.#resources, options.tenants === true);
  }

  async #admit(tenant: string | Tenant): Promise<Tenant> {
    const { resolver } = await this.#resources.tenants();
    return typeof tenant === 'string' ? await resolver.find(tenant) : resolver.admit(tenant);
  }
}
