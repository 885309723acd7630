import { type CanActivate, type ExecutionContext, Inject, Injectable, SetMetadata } from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import { ContextMissingError } from '../surreal.errors.js';

import { httpRequestOf } from '../tenant/tenant-strategy.js';
import { TENANCY_RESOURCES, type TenancyResources } from './tenancy.js';
import { unitOfRequest } from './unit-context.js';

const SKIP_TENANT = 'nestjs-surreal:skip-tenant';

/** Opts a handler, or all handlers of a controller, out of `TenantGuard`. They have no tenant session. */
export const SkipTenant = (): MethodDecorator & ClassDecorator => SetMetadata(SKIP_TENANT, true);

/**
 * Finds out which tenant a request is for and binds the request to it. Use it with `@UseGuards(TenantGuard)` or as
 * `APP_GUARD`. Whatever it does not know, it refuses: nothing passes unguarded because of its kind.
 */
@Injectable()
export class TenantGuard implements CanActivate {
  readonly #resources: TenancyResources;
  readonly #reflector = new Reflector();

  constructor(@Inject(TENANCY_RESOURCES) resources: TenancyResources) {
    this.#resources = resources;
  }

  /** @throws the TENANT_… errors of the resolver; ContextMissingError for transports without a unit of work */
  async canActivate(context: ExecutionContext): Promise<boolean> {
    if (this.#reflector.getAllAndOverride<boolean>(SKIP_TENANT, [context.getHandler(), context.getClass()]))
      return true;
    const unit = unitOfRequest(httpRequestOf(context));
    if (unit === undefined) {
      throw new ContextMissingError(
        `TenantGuard does not know "${context.getType()}" requests, so it lets none pass. It guards HTTP and GraphQL over ` +
          'HTTP; elsewhere use tenancy.run().',
      );
    }
    // A guard that is registered twice asks once.
    if (unit.tenant !== undefined) return true;
    const { resolver } = await this.#resources.tenants();
    unit.enter(await resolver.resolve(context));
    return true;
  }
}
