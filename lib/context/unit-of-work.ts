import { ContextMissingError } from '../surreal.errors.js';
import type { CallOptions } from '../session/call.js';
import type { Caller } from '../session/caller.js';
import { type HandleResources, SessionHandle } from '../session/session-handle.js';
import type { LeaseOwner } from '../session/session-slot.js';
import type { Tenant } from '../tenant/tenant.js';

/** An HTTP request, as far as it says what the unit of work is. */
interface UnitOrigin {
  method?: string | undefined;
  url?: string | undefined;
}

export interface UnitSetup {
  tenant?: Tenant;
  options?: CallOptions | undefined;
  origin?: UnitOrigin;
}

/** One request, message, job or `tenancy.run()`: its tenant, once that is known, and its session. */
export class UnitOfWork implements LeaseOwner {
  readonly #resources: HandleResources;
  readonly #origin: UnitOrigin | undefined;
  #tenant: Tenant | undefined;
  #caller: Caller | undefined;
  #evictions: number;
  #session: SessionHandle | undefined;
  #hasEnded = false;

  /** Bounds of the unit's calls in the place of the module's. */
  options: CallOptions | undefined;

  constructor(resources: HandleResources, { tenant, options, origin }: UnitSetup = {}) {
    this.#resources = resources;
    this.#tenant = tenant;
    this.options = options;
    this.#origin = origin;
    this.#evictions = resources.pool.evictions;
  }

  get tenant(): Tenant | undefined {
    return this.#tenant;
  }

  /** Whose token came with the request; undefined as long as the unit is the tenant's own. */
  get caller(): Caller | undefined {
    return this.#caller;
  }

  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  /** The unit's one session. It may be handed out before the tenant is known, and refuses queries until then. */
  get session(): SessionHandle {
    if (this.#session === undefined) {
      this.#session = new SessionHandle(this.#resources, this);
      if (this.#hasEnded) void this.#session.close('The unit of work is over.');
    }
    return this.#session;
  }

  /** Binds the unit to its tenant, once and for all. */
  enter(tenant: Tenant): void {
    if (this.#tenant !== undefined && this.#tenant.id !== tenant.id) {
      throw new ContextMissingError(`This unit of work belongs to tenant "${this.#tenant.id}" already.`);
    }
    if (this.#tenant !== undefined) return;
    this.#tenant = tenant;
    this.#evictions = this.#resources.pool.evictions;
  }

  /**
   * Makes the unit a caller's, once and for all; without a promise where the caller is signed in already.
   * @throws UnauthenticatedError, TenantMismatchError when the token does not hold; the unit is nobody's then
   */
  becomeCaller(caller: Caller): Promise<void> | undefined {
    if (this.#caller === undefined) {
      this.#caller = caller;
      return this.session.becomeCaller(caller);
    }
    // A guard that runs again: for another field of a GraphQL operation, or registered twice.
    if (this.#caller.key === caller.key) return this.session.ready();
    throw new ContextMissingError('This unit of work belongs to another caller already.');
  }

  /** Closes the session. Safe to call twice; without a promise where there is nothing to wait for. */
  end(): Promise<void> | undefined {
    if (this.#hasEnded) return undefined;
    this.#hasEnded = true;
    return this.#session?.close('The unit of work is over.');
  }

  get evictions(): number {
    return this.#evictions;
  }

  get origin(): string | undefined {
    // Without the query of the url, which may hold secrets.
    return this.#origin && `${this.#origin.method} ${this.#origin.url?.replace(/\?.*/s, '')}`;
  }

  requireTenant(): Tenant {
    if (this.#tenant !== undefined) return this.#tenant;
    throw new ContextMissingError(
      'No tenant is known for this request yet. Put TenantGuard on the handler (or register it as APP_GUARD), before ' +
        'anything that queries; a handler with @SkipTenant() has no tenant session.',
    );
  }
}
