import { CborCodec, type Uuid } from 'surrealdb';
import type { RpcCall } from '../connection/rpc-transport.js';
import { isNotSent } from '../surreal.errors.js';
import type { Call } from './call.js';
import { translateDatabaseError } from './database-errors.js';
import { enterDatabase } from './identity.js';
import type { Principal } from './principal.js';
import type { ServerSession, SessionState } from './server-session.js';
import type { SessionLease } from './session-lease.js';
import type { SessionSlot } from './session-slot.js';

const CODEC = new CborCodec({});

/**
 * What a unit of work does to its session: in one of its own from the first change on (R2), one change after the other. Each
 * throws what `SessionLease.withSession` throws.
 */
export class SessionChanges {
  readonly #lease: SessionLease;
  readonly #slot: SessionSlot;
  #last: Promise<unknown> | undefined;

  constructor(lease: SessionLease, slot: SessionSlot) {
    this.#lease = lease;
    this.#slot = slot;
  }

  /** Sets or unsets a variable, in a session of its own (R2). When it fails, it is as if it had not been tried. */
  async setVariable(name: string, change: { value: unknown } | undefined): Promise<void> {
    await this.#serially(async () => {
      const state = this.#slot.own();
      // A copy, as the server gets one: what the caller does to its object later must not come back after a reconnect.
      const value: unknown = change === undefined ? undefined : CODEC.decode(CODEC.encode(change.value));
      const call =
        change === undefined ? { method: 'unset', params: [name] } : { method: 'let', params: [name, value] };
      if (state.principal.type !== 'nobody') await this.#changing((session) => ({ ...call, session }));
      if (change === undefined) state.variables.delete(name);
      else state.variables.set(name, value);
    });
  }

  /** Selects where a session without a tenant works: at once, or when it signs in. */
  async use(target: NonNullable<SessionState['target']>): Promise<void> {
    await this.#serially(async () => {
      const state = this.#slot.own();
      if (state.principal.type !== 'nobody') {
        await this.#atomically(({ transport, id }, call) => call.until(enterDatabase(transport, id, target)));
      }
      state.target = target;
    });
  }

  /**
   * Signs in as somebody else, in another session on the server: what runs in the present one goes on as who it was. When it
   * fails, for whatever reason, the lease stays signed in as before.
   */
  async signIn(principal: Principal): Promise<void> {
    await this.#serially(async () => {
      const state = this.#slot.stateAs(principal);
      await this.#lease.track((call) => this.#slot.replace(state, call, () => this.#lease.endLiveQueries()));
    });
  }

  /** Signs out, at once: what is sent from now on is refused. What runs already ends as who it was. */
  async signOut(): Promise<void> {
    await this.#serially(async () => {
      await this.#slot.vacate(() => this.#lease.endLiveQueries());
    });
  }

  /** Makes a session of its own on the server now; one that is nobody's is only attached. */
  async attach(): Promise<void> {
    await this.#serially(async () => {
      const { principal } = this.#slot.own();
      if (principal.type === 'nobody') await (await this.#slot.arrive()).attach();
      else await this.#lease.withSession(() => Promise.resolve());
    });
  }

  /** A change on the server. When it fails, the session is made anew without it, whatever came of it. */
  async #changing(message: (session: Uuid) => RpcCall): Promise<void> {
    await this.#atomically((session, call) => session.transport.send(message(session.id), call));
  }

  async #atomically(change: (session: ServerSession, call: Call) => Promise<unknown>): Promise<void> {
    await this.#lease.withSession(async (session, call) => {
      const { id } = session;
      await change(session, call).catch(async (error: unknown) => {
        if (!isNotSent(error)) await session.rebuild(id);
        throw error;
      });
    });
  }

  /** One change after the other, in the order in which they were asked for. */
  async #serially(change: () => Promise<void>): Promise<void> {
    this.#lease.assertOpen();
    const turn = (this.#last ?? Promise.resolve()).then(async () => {
      this.#lease.assertOpen();
      await change();
    });
    this.#last = turn.catch(() => undefined);
    await turn.catch((error: unknown) => {
      throw translateDatabaseError(error);
    });
  }
}
