import { AsyncLocalStorage } from 'node:async_hooks';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { ContextMissingError } from '../surreal.errors.js';
import type { HandleResources } from '../session/session-handle.js';
import type { Tenant } from '../tenant/tenant.js';
import { UnitOfWork } from './unit-of-work.js';

/** By raw request: where a parameter decorator, which Nest gives no injector, finds the unit of work. */
const units = new WeakMap<object, UnitOfWork>();

/** The unit of work of an HTTP request, given in its raw form or the framework's. */
export function unitOfRequest(request: object): UnitOfWork | undefined {
  return units.get((request as { raw?: object }).raw ?? request);
}

/**
 * Which unit of work the running code belongs to, through `await`, timers and event emitters. One per application, so
 * that two applications in one process cannot take each other's.
 */
export class UnitContext {
  readonly #storage = new AsyncLocalStorage<UnitOfWork>();
  readonly #resources: HandleResources;
  readonly #running = new Set<UnitOfWork>();

  constructor(resources: HandleResources) {
    this.#resources = resources;
  }

  /** The unit of work that the running code belongs to, also after it has ended. */
  get current(): UnitOfWork | undefined {
    return this.#storage.getStore();
  }

  /** @throws ContextMissingError where no unit of work runs */
  require(): UnitOfWork {
    const unit = this.current;
    if (unit !== undefined) return unit;
    throw new ContextMissingError(
      'No unit of work runs here, so there is no tenant to query for. Inside an HTTP request this means that the code runs ' +
        'outside the async context of the request; elsewhere (jobs, cron, start-up, tests) wrap it in tenancy.run(tenant, …).',
    );
  }

  /** Opens a unit of work for a tenant, runs `work` in it, and ends it whatever happens. */
  async run<Result>(tenant: Tenant, work: (unit: UnitOfWork) => Promise<Result> | Result): Promise<Result> {
    const unit = this.#open(tenant);
    try {
      return await this.#storage.run(unit, work, unit);
    } finally {
      this.#running.delete(unit);
      await unit.end();
    }
  }

  /** Opens the unit of work of an HTTP request; it ends when the response is closed, answered or not. */
  runRequest(request: IncomingMessage, response: ServerResponse, next: () => void): void {
    const unit = this.#open();
    units.set(request, unit);
    const end = () => {
      this.#running.delete(unit);
      void unit.end();
    };
    // A client that left while something before this was still at work: 'close' has been, and does not come again.
    if (response.closed || response.destroyed || request.socket.destroyed) end();
    else response.once('close', end);
    this.#storage.run(unit, next);
  }

  /** Ends all that still runs. */
  async close(): Promise<void> {
    await Promise.all([...this.#running].map(async (unit) => unit.end()));
  }

  #open(tenant?: Tenant): UnitOfWork {
    const unit = new UnitOfWork(this.#resources, tenant);
    this.#running.add(unit);
    return unit;
  }
}
