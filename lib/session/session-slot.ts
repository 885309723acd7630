import { SessionClosedError } from '../surreal.errors.js';
import type { Tenant } from '../tenant/tenant.js';
import type { Call, CallOptions } from './call.js';
import { translateDatabaseError } from './database-errors.js';
import type { Caller } from './caller.js';
import type { Identity } from './identity.js';
import { initialPrincipal, NOBODY, type Principal, sharingKey } from './principal.js';
import type { ServerSession, SessionState } from './server-session.js';
import { anotherUser, signedOut } from './session-errors.js';
import type { SessionPool, SessionRequest } from './session-pool.js';

export interface SlotResources {
  pool: SessionPool<ServerSession>;
  /** Makes a session for all units of work of a principal; the pool decides when. */
  openShared: (tenant: Tenant, principal: Principal) => ServerSession;
  /** Makes a session of one's own; the pool decides when. */
  openOwn: (state: SessionState) => ServerSession;
}

/** Whose unit of work it is. Asked at each use: a session may be handed out before a guard has found the tenant. */
export interface LeaseOwner {
  /**
   * Undefined for a session that belongs to no tenant.
   * @throws ContextMissingError as long as it is not known
   */
  requireTenant(): Tenant | undefined;
  /** Whose token came with the request, once it has been taken for the unit's principal. */
  readonly caller?: Caller | undefined;
  /** The pool's `evictions` when the tenant was admitted: an eviction after it ends the unit of work. */
  readonly evictions: number;
  /** Bounds of every call that names none. */
  readonly options: CallOptions | undefined;
  /** What the unit of work is, such as `GET /notes`, for reports. */
  readonly origin: string | undefined;
}

/**
 * The session that a unit of work has at the moment, and how it comes to have another: the principal's shared one first,
 * one of its own from its first change on. What it has is retained until it is replaced or the slot is closed.
 */
export class SessionSlot {
  readonly #resources: SlotResources;
  readonly #owner: LeaseOwner;
  #session: ServerSession | undefined;
  /** What the unit has made of its session; undefined as long as it has changed nothing. */
  #changed: SessionState | undefined;
  #arriving: Promise<ServerSession> | undefined;
  /** As whom its caller was seen first. */
  #caller: Identity | undefined;
  #cancelWait: ((error: Error) => void) | undefined;
  #closedBecause: string | undefined;

  constructor(resources: SlotResources, owner: LeaseOwner) {
    this.#resources = resources;
    this.#owner = owner;
  }

  get session(): ServerSession | undefined {
    return this.#session;
  }

  get tenant(): Tenant | undefined {
    return this.#owner.requireTenant();
  }

  get changed(): SessionState | undefined {
    return this.#changed;
  }

  get isClosed(): boolean {
    return this.#closedBecause !== undefined;
  }

  /** Whether a session is on its way: it must be waited for at the end. */
  get isArriving(): boolean {
    return this.#arriving !== undefined;
  }

  /** As `ready()`, where nothing has to be waited for: the steady state. Undefined elsewhere. */
  take(): ServerSession | undefined {
    const { pool } = this.#resources;
    if (this.#session === undefined && this.#changed === undefined && this.#arriving === undefined) {
      const tenant = this.#admitted();
      const principal = initialPrincipal(tenant, this.#owner.caller);
      if (tenant !== undefined) this.#session = pool.existingShared(sharingKey(tenant, principal));
    }
    return this.#session?.isReady === true && this.#isSameUser(this.#session) ? pool.retain(this.#session) : undefined;
  }

  /**
   * The session, retained for one call and ready for it; the caller releases it.
   * @throws what `ServerSession.prepare` and `SessionPool` throw; SessionClosedError when the tenant was evicted
   */
  async ready(): Promise<ServerSession> {
    const { pool } = this.#resources;
    for (;;) {
      if ((this.#changed?.principal ?? this.#initialPrincipal()).type === 'nobody') throw signedOut(this.tenant);
      const session = pool.retain(this.#session ?? (await this.arrive()));
      try {
        if (!session.isReady) await session.prepare();
        this.assertOpen();
        if (!this.#isSameUser(session)) throw anotherUser();
      } catch (error) {
        void pool.release(session);
        // Another took its place while it was being prepared: that one counts.
        if (this.isClosed || this.#session === session || this.#session === undefined)
          throw translateDatabaseError(error);
        continue;
      }
      if (session === this.#session && session.isReady) return session;
      void pool.release(session);
    }
  }

  /** The session as it is. One arrives at a time; one that arrives too late goes straight back. */
  async arrive(): Promise<ServerSession> {
    if (this.#session !== undefined) return this.#session;
    this.#arriving ??= this.#acquire().finally(() => (this.#arriving = undefined));
    return await this.#arriving;
  }

  /** Leaves the shared session, so that the next one is this unit's own. */
  own(): SessionState {
    if (this.#changed !== undefined) return this.#changed;
    this.#admitted();
    this.#changed = this.stateAs(this.#initialPrincipal());
    // Given back before the other is acquired: a unit of work that held one while it waits could wait for itself.
    void this.giveBack();
    return this.#changed;
  }

  /** What it has is for whom the unit began as; from now on it is its caller's. Variables that were set come along. */
  becomeCaller(caller: Caller): void {
    if (this.#changed !== undefined) this.#changed = this.stateAs(caller);
    void this.giveBack();
  }

  /** The state it would have with another principal. */
  stateAs(principal: Principal): SessionState {
    const tenant = this.#owner.requireTenant();
    const { variables, target = tenant } = this.#changed ?? {};
    return { tenant, principal, variables: new Map(variables), target };
  }

  /**
   * Signs in by another session in the place of the present one, which goes on for those who still use it. When that
   * fails, the present one stays, or its like comes again.
   * @param call bounds it, and can be given up: the present one then stays
   * @param replaced runs when the new one is in its place, before the old one is given back
   */
  async replace(state: SessionState, call: Call, replaced: () => Promise<void>): Promise<void> {
    const { pool } = this.#resources;
    const session = await call.until(this.#acquireFor(state), (late) => void pool.release(late));
    try {
      this.assertOpen();
      while (!session.isReady) await call.until(Promise.resolve(session.prepare()));
      call.assertWanted();
      this.assertOpen();
    } catch (error) {
      void pool.release(session);
      throw error;
    }
    const before = this.#session;
    this.#changed = state;
    this.#session = session;
    this.#cancelWait?.(new SessionClosedError('The session was changed meanwhile.'));
    await replaced();
    if (before !== undefined) void pool.release(before);
  }

  /** Becomes nobody's, at once. */
  async vacate(vacated: () => Promise<void>): Promise<void> {
    this.#changed = this.stateAs(NOBODY);
    const session = this.#session;
    this.#session = undefined;
    await vacated();
    if (session !== undefined) await this.#resources.pool.release(session);
  }

  /** Nothing is to be had of it any more, and nobody waits for it; what it has is given back by `giveBack()`. */
  close(because: string): void {
    this.#closedBecause = because;
    this.#cancelWait?.(new SessionClosedError(because));
  }

  /** @throws SessionClosedError after `close()` */
  assertOpen(): void {
    if (this.#closedBecause !== undefined) throw this.closedError(this.#closedBecause);
  }

  /** What whoever uses it after its end is told. */
  closedError(because: string): SessionClosedError {
    return new SessionClosedError(
      `${because} A TenantSession can be used only while its unit of work runs: await everything before it ` +
        'ends, or give background work a unit of work of its own with tenancy.run().',
    );
  }

  /** Resolves when nothing is on its way any more. Never throws. */
  async arrived(): Promise<void> {
    await this.#arriving?.catch(() => undefined);
  }

  /** @returns when the session is closed by this, a promise of its having left the server */
  giveBack(): Promise<void> | undefined {
    const session = this.#session;
    this.#session = undefined;
    return session === undefined ? undefined : this.#resources.pool.release(session);
  }

  async #acquire(): Promise<ServerSession> {
    const { pool } = this.#resources;
    for (;;) {
      const tenant = this.#admitted();
      const principal = this.#initialPrincipal();
      const changed = (this.#changed ??= principal.type === 'nobody' ? this.stateAs(principal) : undefined);
      try {
        const session = await (changed === undefined
          ? this.#acquireShared(tenant as Tenant, principal)
          : this.#acquireFor(changed));
        const isAsked = this.#changed === changed && this.#initialPrincipal() === principal;
        if (!this.isClosed && isAsked && this.#session === undefined && this.#isAdmitted()) {
          return (this.#session = session);
        }
        // The unit was changed, evicted, or ended while this one was on its way.
        void pool.release(session);
      } catch (error) {
        if (this.#session === undefined || this.isClosed) throw error;
      }
      this.assertOpen();
      if (this.#session !== undefined) return this.#session;
    }
  }

  #acquireShared(tenant: Tenant, principal: Principal): ServerSession | Promise<ServerSession> {
    return this.#request({
      tenantId: tenant.id,
      key: sharingKey(tenant, principal),
      takesShare: principal.type === 'caller',
      open: () => this.#resources.openShared(tenant, principal),
    });
  }

  /** A session of this unit's own. One of its own that it has already is succeeded, a shared one is given back first. */
  async #acquireFor(state: SessionState): Promise<ServerSession> {
    const { pool, openOwn } = this.#resources;
    this.#admitted();
    const open = () => openOwn(state);
    const present = this.#session;
    if (present?.own === true) return pool.acquireSuccessor(present, open);
    // A unit of work that held one session while it waits for another could wait for itself.
    void this.giveBack();
    return await this.#request({ tenantId: state.tenant?.id ?? '', key: undefined, takesShare: true, open });
  }

  #request(request: SessionRequest<ServerSession>): ServerSession | Promise<ServerSession> {
    return this.#resources.pool.acquire(request, (cancel) => (this.#cancelWait = cancel));
  }

  /** By AUTHENTICATE a token can be another user's from one sign-in to the next; a unit of work is one user's. */
  #isSameUser(session: ServerSession): boolean {
    const { identity } = session;
    if (this.#owner.caller === undefined || session.state.principal.type !== 'caller' || identity === undefined)
      return true;
    this.#caller ??= identity;
    return this.#caller === identity || String(this.#caller.record) === String(identity.record);
  }

  #initialPrincipal(): Principal {
    return initialPrincipal(this.#owner.requireTenant(), this.#owner.caller);
  }

  /**
   * @throws SessionClosedError when the tenant was evicted since this unit of work began
   * @throws UnauthenticatedError when its caller has signed out since
   */
  #admitted(): Tenant | undefined {
    const tenant = this.#owner.requireTenant();
    if (this.#owner.caller?.isRevoked === true) throw signedOut(tenant);
    if (!this.#isAdmitted()) throw new SessionClosedError(`Tenant "${tenant?.id}" was evicted.`);
    return tenant;
  }

  #isAdmitted(): boolean {
    const { caller, evictions } = this.#owner;
    const tenant = this.#owner.requireTenant();
    if (caller?.isRevoked === true) return false;
    return tenant === undefined || !this.#resources.pool.wasEvicted(tenant.id, evictions);
  }
}
