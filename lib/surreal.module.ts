import {
  type BeforeApplicationShutdown,
  ConfigurableModuleBuilder,
  type DynamicModule,
  Inject,
  Module,
  type NestModule,
  type OnApplicationBootstrap,
  type OnApplicationShutdown,
  type Provider,
  Scope,
} from '@nestjs/common';
import { ApplicationConfig, HttpAdapterHost, ModuleRef } from '@nestjs/core';
import { AUTH_RESOURCES, type AuthResources } from './auth/auth-resources.js';
import { Callers } from './auth/callers.js';
import { RecordUserGuard } from './auth/record-user.guard.js';
import { TenantAuth } from './auth/tenant-auth.js';
import { SurrealConnection } from './connection/surreal-connection.js';
import { currentSession } from './context/current-session.js';
import { openUnitsForRequests } from './context/http-units.js';
import { SurrealExceptionFilter } from './context/surreal-exception.filter.js';
import { takeStats } from './context/stats.js';
import { Tenancy, TENANCY_RESOURCES, type TenancyResources } from './context/tenancy.js';
import { TenantSession } from './context/tenant-session.js';
import { TenantGuard } from './context/tenant.guard.js';
import { UnitContext } from './context/unit-context.js';
import { CallStatistics } from './session/call-statistics.js';
import { LeakWatch } from './session/leak-watch.js';
import { existsForTenant } from './session/record-lookup.js';
import { ServerSession } from './session/server-session.js';
import type { HandleResources } from './session/session-handle.js';
import { SessionPool } from './session/session-pool.js';
import type { SessionResources } from './session/sign-in.js';
import { keepsAuthInTransactions } from './session/tenant-transaction.js';
import { TokenSource } from './session/token-source.js';
import { resolveOptions, type ResolvedOptions, SURREAL_OPTIONS, type SurrealModuleOptions } from './surreal.options.js';
import { Telemetry } from './telemetry/telemetry.js';
import { tenantSide } from './tenant/tenant-side.js';
import { TenantStore } from './tenant/tenant-store.js';

/** Injection token of the SDK's connection. A symbol: the SDK ships an ESM and a CommonJS copy of its class. */
export const SURREAL = Symbol.for('nestjs-surreal.Surreal');
/** Injection token behind `@InjectRequestSession()`. */
const REQUEST_SESSION = Symbol.for('nestjs-surreal.requestSession');

/** Injects the SDK's connection, signed in as the service itself: the central side, for provisioning and registries. */
export const InjectSurreal = (): PropertyDecorator & ParameterDecorator => Inject(SURREAL);

/**
 * Injects this request's session as an object that stays this request's wherever it is passed. It makes the provider, and
 * all that depend on it, request-scoped, which Nest builds anew for each request; `TenantSession` does not.
 */
export const InjectRequestSession = (): PropertyDecorator & ParameterDecorator => Inject(REQUEST_SESSION);

/** `create…` is what a class given to `forRootAsync({ useClass | useExisting })` implements. */
export interface SurrealOptionsFactory {
  createSurrealOptions(): SurrealModuleOptions | Promise<SurrealModuleOptions>;
}

const { ConfigurableModuleClass, MODULE_OPTIONS_TOKEN, OPTIONS_TYPE, ASYNC_OPTIONS_TYPE } =
  new ConfigurableModuleBuilder<SurrealModuleOptions>()
    .setClassMethodName('forRoot')
    .setFactoryMethodName('createSurrealOptions')
    .build();

const providers: Provider[] = [
  { provide: SURREAL_OPTIONS, inject: [MODULE_OPTIONS_TOKEN], useFactory: resolveOptions },
  {
    provide: SurrealConnection,
    inject: [SURREAL_OPTIONS],
    useFactory: (options: ResolvedOptions) => SurrealConnection.open(options),
  },
  { provide: SURREAL, inject: [SurrealConnection], useFactory: ({ surreal }: SurrealConnection) => surreal },
  { provide: Telemetry, inject: [SURREAL_OPTIONS], useFactory: (options: ResolvedOptions) => Telemetry.load(options) },
  {
    provide: TENANCY_RESOURCES,
    inject: [SURREAL_OPTIONS, SurrealConnection, ModuleRef, Telemetry],
    useFactory: makeResources,
  },
  { provide: UnitContext, inject: [TENANCY_RESOURCES], useFactory: ({ context }: TenancyResources) => context },
  Tenancy,
  TenantGuard,
  {
    provide: AUTH_RESOURCES,
    inject: [TENANCY_RESOURCES, SURREAL_OPTIONS],
    useFactory: ({ context, pool }: TenancyResources, { recordUsers }: ResolvedOptions): AuthResources => ({
      context,
      pool,
      callers: new Callers(pool, recordUsers),
      options: recordUsers,
    }),
  },
  TenantAuth,
  RecordUserGuard,
  {
    provide: TenantStore,
    inject: [TENANCY_RESOURCES],
    // The store may be a provider of the application that is made after this one: it is looked up when it is asked.
    useFactory: ({ tenants }: TenancyResources): TenantStore => ({
      findByIdentifier: async (identifier) => (await tenants()).store.findByIdentifier(identifier),
    }),
  },
  { provide: TenantSession, inject: [UnitContext], useFactory: currentSession },
  {
    provide: REQUEST_SESSION,
    inject: [UnitContext],
    scope: Scope.REQUEST,
    useFactory: (context: UnitContext) => context.require().session,
  },
  {
    provide: SurrealExceptionFilter,
    inject: [SURREAL_OPTIONS, ApplicationConfig, HttpAdapterHost],
    useFactory: (options: ResolvedOptions, config: ApplicationConfig, host: HttpAdapterHost) => {
      const filter = new SurrealExceptionFilter(host);
      // Registered here and not as APP_FILTER, since only the resolved options say whether it is wanted.
      if (options.exceptionFilter) config.addGlobalFilter(filter);
      return filter;
    },
  },
];

/**
 * Makes an application multi-tenant on SurrealDB. Import it once, in the root module, with `forRoot` or `forRootAsync`;
 * what it provides is available everywhere.
 */
@Module({
  providers,
  exports: [
    SURREAL,
    Tenancy,
    TenantAuth,
    TenantGuard,
    RecordUserGuard,
    TenantStore,
    TenantSession,
    REQUEST_SESSION,
    TENANCY_RESOURCES,
    AUTH_RESOURCES,
  ],
})
export class SurrealModule
  extends ConfigurableModuleClass
  implements NestModule, OnApplicationBootstrap, BeforeApplicationShutdown, OnApplicationShutdown
{
  static override forRoot(options: typeof OPTIONS_TYPE): DynamicModule {
    return { ...super.forRoot(options), global: true };
  }

  static override forRootAsync(options: typeof ASYNC_OPTIONS_TYPE): DynamicModule {
    return { ...super.forRootAsync(options), global: true };
  }

  readonly #connection: SurrealConnection;
  readonly #resources: TenancyResources;
  readonly #telemetry: Telemetry;
  readonly #host: HttpAdapterHost;

  constructor(
    connection: SurrealConnection,
    @Inject(TENANCY_RESOURCES) resources: TenancyResources,
    telemetry: Telemetry,
    host: HttpAdapterHost,
  ) {
    super();
    this.#connection = connection;
    this.#resources = resources;
    this.#telemetry = telemetry;
    this.#host = host;
  }

  /** Nest calls this before it sets up routes, whatever they are: units of work are opened in front of all of them. */
  configure(): void {
    openUnitsForRequests(this.#host.httpAdapter, this.#resources.context);
  }

  /** Called by Nest last of all at start: of an application that fails before, nothing is left in the global meter. */
  onApplicationBootstrap(): void {
    this.#telemetry.observe(() => takeStats(this.#resources, false));
  }

  /**
   * Called by Nest before it closes the HTTP server, after the `onModuleDestroy` of all. From now on new units of work are
   * refused.
   */
  async beforeApplicationShutdown(): Promise<void> {
    await this.#resources.context.drain(this.#resources.shutdownTimeoutMillis);
  }

  /** Called by Nest once the HTTP server is closed, so requests have ended. */
  async onApplicationShutdown(): Promise<void> {
    this.#telemetry.stop();
    await this.#resources.context.close();
    await this.#resources.pool.close();
    await this.#connection.close();
  }
}

function makeResources(
  options: ResolvedOptions,
  connection: SurrealConnection,
  moduleRef: ModuleRef,
  { tracer }: Telemetry,
): TenancyResources {
  const { requestTimeoutMillis, strictWrites } = options;
  const { sessions: sockets, signins, logins } = connection;
  const tokens = new TokenSource(signins, requestTimeoutMillis);
  const { maxLifetimeMillis, leakDetectionMillis } = options.sessions;
  const sessionResources: SessionResources = {
    sockets,
    tokens,
    prepareTimeoutMillis: requestTimeoutMillis,
    maxLifetimeMillis,
    recheckMillis: options.recordUsers.recheckMillis,
    recordExists: (tenant, record) => existsForTenant(handleResources, tenant, record),
  };
  const handleResources: HandleResources = {
    pool: new SessionPool<ServerSession>({ ...options.sessions, ...options.calls, ...options.recordUsers }),
    openShared: (tenant, principal) => ServerSession.shared(sessionResources, tenant, principal),
    openOwn: (state) => new ServerSession(sessionResources, state, true),
    sockets,
    logins,
    requestTimeoutMillis,
    strictWrites,
    transactionsKeepAuth: keepsAuthInTransactions(connection.version),
    statistics: new CallStatistics(),
    leaks: leakDetectionMillis === undefined ? undefined : new LeakWatch(leakDetectionMillis),
    tracer,
  };
  const context = new UnitContext(handleResources);
  return {
    ...handleResources,
    context,
    connection,
    tokens,
    tenants: tenantSide(options.tenants, moduleRef),
    maxSessions: options.sessions.max,
    calls: options.calls,
    shutdownTimeoutMillis: options.shutdownTimeoutMillis,
  };
}
