import { AsyncLocalStorage } from 'node:async_hooks';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { setTimeout } from 'node:timers/promises';
import { ContextMissingError, ShuttingDownError } from '../surreal.errors.js';
import type { CallOptions } from '../session/call.js';
import type { HandleResources } from '../session/session-handle.js';
import type { Tenant } from '../tenant/tenant.js';
import { UnitOfWork, type UnitSetup } from './unit-of-work.js';

/** How often a shutdown looks whether all has ended. */
const POLL_MILLIS = 20;
/** How long a unit of work that was ended by a shutdown has to answer its client that it failed. */
const ANSWER_MILLIS = 200;

/** On the raw request: where a parameter decorator, which Nest gives no injector, finds the unit of work. */
const UNIT = Symbol('nestjs-surreal.unit');

/** The unit of work of an HTTP request, given in its raw form or the framework's. */
export function unitOfRequest(request: object): UnitOfWork | undefined {
  const raw = (request as { raw?: object }).raw ?? request;
  return (raw as { [UNIT]?: UnitOfWork })[UNIT];
}

/**
 * Which unit of work the running code belongs to, through `await`, timers and event emitters. One per application, so
 * that two applications in one process cannot take each other's.
 */
export class UnitContext {
  readonly #storage = new AsyncLocalStorage<UnitOfWork>();
  readonly #resources: HandleResources;
  /** What runs; of an HTTP request, with its response. */
  readonly #running = new Map<UnitOfWork, ServerResponse | undefined>();
  #isClosing = false;

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

  /** How many units of work are running. */
  get running(): number {
    return this.#running.size;
  }

  /** Whether the application is shutting down, and takes no new units of work. */
  get isClosing(): boolean {
    return this.#isClosing;
  }

  /** @throws ShuttingDownError once the application is shutting down */
  assertAccepting(): void {
    if (!this.#isClosing) return;
    throw new ShuttingDownError('The application is shutting down and takes no new units of work.');
  }

  /**
   * Opens a unit of work for a tenant, runs `work` in it, and ends it whatever happens.
   * @throws ShuttingDownError
   */
  async run<Result>(
    tenant: Tenant,
    work: (unit: UnitOfWork) => Promise<Result> | Result,
    options?: CallOptions,
  ): Promise<Result> {
    this.assertAccepting();
    const unit = this.#open({ tenant, options });
    try {
      return await this.#storage.run(unit, work, unit);
    } finally {
      this.#running.delete(unit);
      await unit.end();
    }
  }

  /** Opens the unit of work of an HTTP request; it ends when the response is closed, answered or not. */
  runRequest(request: IncomingMessage, response: ServerResponse, next: () => void): void {
    const unit = this.#open({ origin: request }, response);
    (request as { [UNIT]?: UnitOfWork })[UNIT] = unit;
    const end = () => {
      this.#running.delete(unit);
      void unit.end();
    };
    // A client that left while something before this was still at work: 'close' has been, and does not come again.
    if (response.closed || response.destroyed || request.socket.destroyed) end();
    else response.on('close', end);
    this.#storage.run(unit, next);
  }

  /**
   * Takes no new tenants' work, and waits for what runs. What has not ended in time is ended: its calls fail, and the
   * connection of a client that would wait on is cut.
   */
  async drain(timeoutMillis: number): Promise<void> {
    this.#isClosing = true;
    await this.#settled(timeoutMillis);
    const overdue = this.#ofTenants();
    await Promise.all(overdue.map(async ([unit]) => unit.end()));
    if (overdue.length > 0) await this.#settled(ANSWER_MILLIS);
    for (const [, response] of this.#ofTenants()) response?.destroy();
  }

  /** Ends all that still runs. */
  async close(): Promise<void> {
    this.#isClosing = true;
    await Promise.all([...this.#running.keys()].map(async (unit) => unit.end()));
  }

  async #settled(timeoutMillis: number): Promise<void> {
    const deadline = Date.now() + timeoutMillis;
    while (this.#ofTenants().length > 0 && Date.now() < deadline) await setTimeout(POLL_MILLIS);
  }

  #ofTenants(): [UnitOfWork, ServerResponse | undefined][] {
    return [...this.#running].filter(([{ tenant }]) => tenant !== undefined);
  }

  #open(setup: UnitSetup, response?: ServerResponse): UnitOfWork {
    const unit = new UnitOfWork(this.#resources, setup);
    this.#running.set(unit, response);
    return unit;
  }
}
