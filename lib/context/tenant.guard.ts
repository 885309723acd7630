import { type CanActivate, type ExecutionContext, Inject, Injectable, SetMetadata } from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import { callOptions } from '../session/call.js';
import { ContextMissingError } from '../surreal.errors.js';
import { isPromiseLike } from '../tenant/tenant-resolver.js';
import type { TenantSide } from '../tenant/tenant-side.js';
import { httpRequestOf } from '../tenant/tenant-strategy.js';
import { TENANCY_RESOURCES, type TenancyResources } from './tenancy.js';
import { unitOfRequest } from './unit-context.js';
import type { UnitOfWork } from './unit-of-work.js';

const SKIP_TENANT = 'nestjs-surreal:skip-tenant';
const CALL_TIMEOUT = 'nestjs-surreal:call-timeout';

/** Opts a handler, or all handlers of a controller, out of `TenantGuard`. They have no tenant session. */
export const SkipTenant = (): MethodDecorator & ClassDecorator => SetMetadata(SKIP_TENANT, true);

/**
 * Limits every call to the database that a handler, or a controller's handlers, make, in the place of
 * `requestTimeoutMillis`.
 * @param millis of each call, in milliseconds
 * @throws InvalidOptionsError at once, when it is no duration
 */
export const CallTimeout = (millis: number): MethodDecorator & ClassDecorator =>
  SetMetadata(CALL_TIMEOUT, callOptions({ requestTimeoutMillis: millis })?.requestTimeoutMillis);

/** What the decorators of a handler and its controller say. */
interface HandlerMetadata {
  skip: boolean;
  timeoutMillis: number | undefined;
}

/**
 * Finds out which tenant a request is for and binds the request to it. Use it with `@UseGuards(TenantGuard)` or as
 * `APP_GUARD`. Whatever it does not know, it refuses: nothing passes unguarded because of its kind.
 */
@Injectable()
export class TenantGuard implements CanActivate {
  readonly #resources: TenancyResources;
  readonly #reflector = new Reflector();
  /** By controller and handler: metadata is slow to read, and does not change. */
  readonly #metadata = new WeakMap<object, WeakMap<object, HandlerMetadata>>();

  constructor(@Inject(TENANCY_RESOURCES) resources: TenancyResources) {
    this.#resources = resources;
  }

  /**
   * @throws the TENANT_… errors of the resolver; ShuttingDownError; ContextMissingError for transports without a unit of
   * work
   */
  canActivate(context: ExecutionContext): Promise<boolean> | boolean {
    const { skip, timeoutMillis } = this.#metadataOf(context);
    if (skip) return true;
    const unit = unitOfRequest(httpRequestOf(context));
    if (unit === undefined) {
      throw new ContextMissingError(
        `TenantGuard does not know "${context.getType()}" requests, so it lets none pass. It guards HTTP and GraphQL over ` +
          'HTTP; elsewhere use tenancy.run().',
      );
    }
    if (timeoutMillis !== undefined) unit.options = { requestTimeoutMillis: timeoutMillis };
    // A guard that is registered twice asks once.
    if (unit.tenant !== undefined) return true;
    this.#resources.context.assertAccepting();
    // No promise where none is needed: every request passes here.
    const tenants = this.#resources.tenants();
    if (isPromiseLike(tenants)) return tenants.then((side) => this.#enter(unit, side, context));
    return this.#enter(unit, tenants, context);
  }

  #enter(unit: UnitOfWork, { resolver }: TenantSide, context: ExecutionContext): Promise<boolean> | boolean {
    const tenant = resolver.resolve(context);
    if (!isPromiseLike(tenant)) {
      unit.enter(tenant);
      return true;
    }
    return tenant.then((resolved) => {
      unit.enter(resolved);
      return true;
    });
  }

  #metadataOf(context: ExecutionContext): HandlerMetadata {
    const [handler, controller] = [context.getHandler(), context.getClass()];
    let ofController = this.#metadata.get(controller);
    if (ofController === undefined) this.#metadata.set(controller, (ofController = new WeakMap()));
    let metadata = ofController.get(handler);
    if (metadata === undefined) {
      metadata = {
        skip: this.#reflector.getAllAndOverride<boolean>(SKIP_TENANT, [handler, controller]) ?? false,
        timeoutMillis: this.#reflector.getAllAndOverride<number | undefined>(CALL_TIMEOUT, [handler, controller]),
      };
      ofController.set(handler, metadata);
    }
    return metadata;
  }
}
