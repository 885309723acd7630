import { type BoundQuery, type LiveMessage, SurrealQueryable, type Uuid } from 'surrealdb';
import { ConnectionLostError, TransactionClosedError } from '../surreal.errors.js';
import { translateDatabaseError } from './database-errors.js';
import { QueryConnection, type QueryRoad, type RpcQueryResult } from './query-connection.js';
import type { ServerSession } from './server-session.js';
import type { LeasedResource, SessionLease } from './session-lease.js';

/**
 * A transaction on the server. Its id opens it to every session of the socket, so the id stays in here. It belongs to
 * the socket it was begun on and is lost with it.
 */
export class OpenTransaction implements QueryRoad, LeasedResource {
  readonly #lease: SessionLease;
  readonly #session: ServerSession;
  readonly #id: Uuid;
  readonly #epoch: number;
  #isClosed = false;

  /**
   * Begins one. It ends by `commit()`, by `cancel()`, or with its unit of work, which cancels it.
   * @throws what `SessionLease` throws for a query
   */
  static async begin(lease: SessionLease): Promise<OpenTransaction> {
    return await lease.begin(async (session) => {
      const { transport } = lease;
      const call = { method: 'begin', session: session.id };
      const cancel = (id: unknown) => transport.send({ method: 'cancel', params: [id], session: session.id });
      const id = await transport.send<Uuid>(call, { onLateResult: (late) => void cancel(late).catch(() => undefined) });
      const transaction = new OpenTransaction(lease, session, id);
      try {
        lease.adopt(transaction);
      } catch (error) {
        await cancel(id).catch(() => undefined);
        throw error;
      }
      return transaction;
    });
  }

  private constructor(lease: SessionLease, session: ServerSession, id: Uuid) {
    this.#lease = lease;
    this.#session = session;
    this.#id = id;
    this.#epoch = lease.transport.epoch;
  }

  get isClosed(): boolean {
    return this.#isClosed || this.#lease.isClosed;
  }

  async query({ query, bindings }: BoundQuery): Promise<RpcQueryResult[]> {
    this.#assertUsable();
    return await this.#send<RpcQueryResult[]>('query', [query, bindings]);
  }

  /** Live queries do not run in transactions; the SDK sends them outside. */
  onLive(id: Uuid, listener: (message: LiveMessage) => void): () => void {
    return this.#lease.onLive(id, listener);
  }

  onReconnect(listener: () => void): () => void {
    return this.#lease.onReconnect(listener);
  }

  async commit(): Promise<void> {
    this.#assertUsable();
    await this.#finish('commit');
  }

  async cancel(): Promise<void> {
    this.#assertUsable();
    await this.#finish('cancel');
  }

  /** Cancels it if nobody has ended it yet. */
  async end(): Promise<void> {
    if (!this.#isClosed) await this.#finish('cancel');
  }

  async #finish(method: 'commit' | 'cancel'): Promise<void> {
    this.#isClosed = true;
    try {
      await this.#send(method, [this.#id]);
    } finally {
      this.#lease.disown(this, this.#session);
    }
  }

  async #send<Result = void>(method: string, params: unknown[]): Promise<Result> {
    const { transport } = this.#lease;
    if (transport.epoch !== this.#epoch) {
      throw new ConnectionLostError(
        `The connection dropped, and this transaction with it; "${method}" was not sent. Nothing of it was kept. Run the ` +
          'whole unit of work again.',
        { outcome: 'not-sent' },
      );
    }
    const txn = method === 'query' ? this.#id : undefined;
    try {
      return await transport.send<Result>({ method, params, session: this.#session.id, txn });
    } catch (error) {
      throw translateDatabaseError(error);
    }
  }

  #assertUsable(): void {
    if (this.#isClosed) {
      throw new TransactionClosedError('The transaction was committed or cancelled already. Begin a new one.');
    }
    this.#lease.assertOpen();
  }
}

/** A transaction that sees its own writes, and that nobody else sees before `commit()`. */
export class TenantTransaction extends SurrealQueryable {
  readonly #transaction: OpenTransaction;

  /** @internal by `TenantSession.begin()` */
  constructor(transaction: OpenTransaction) {
    super(new QueryConnection(transaction) as never, undefined);
    this.#transaction = transaction;
  }

  /** True after `commit()`, `cancel()`, or the end of its unit of work. */
  get isClosed(): boolean {
    return this.#transaction.isClosed;
  }

  /**
   * Keeps what was written.
   * @throws TransactionConflictError another transaction changed the same records first; nothing was kept
   * @throws TransactionClosedError the second time
   * @throws ConnectionLostError `unknown`: it may have been kept
   */
  async commit(): Promise<void> {
    await this.#transaction.commit();
  }

  /**
   * Undoes what was written. A transaction that is never ended is cancelled with its unit of work.
   * @throws TransactionClosedError the second time
   */
  async cancel(): Promise<void> {
    await this.#transaction.cancel();
  }

  /** `await using transaction = await db.begin()`: cancels it unless it was ended. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#transaction.end().catch(() => undefined);
  }
}
