import type { BoundQuery, LiveMessage, SurrealQueryable, Uuid } from 'surrealdb';
import { ConnectionLostError, TransactionClosedError, TransactionUnsupportedError } from '../surreal.errors.js';
import type { SendOptions } from '../connection/rpc-transport.js';
import { type Call, type CallOptions, callOptions, CLEANUP_MILLIS } from './call.js';
import type { QueryRoad, RpcQueryResult } from './query-connection.js';
import { RoadQueryable } from './queryable.js';
import type { Dependent, ServerSession } from './server-session.js';
import type { SessionLease } from './session-lease.js';

/**
 * A transaction on the server. Its id opens it to every session of the socket, so the id stays in here, and it is used
 * with the very session that began it: one principal, for as long as it lives. It is lost with its socket.
 */
export class OpenTransaction implements QueryRoad, Dependent {
  readonly #lease: SessionLease;
  readonly #session: ServerSession;
  readonly #sessionId: Uuid;
  readonly #id: Uuid;
  readonly #epoch: number;
  #release: () => void = () => undefined;
  #isClosed = false;
  #hasFailed = false;

  /**
   * Begins one. It ends by `commit()`, by `cancel()`, or with its unit of work or its session, which cancel it.
   * @throws what `SessionLease.withSession` throws
   */
  static async begin(lease: SessionLease): Promise<OpenTransaction> {
    return await lease.traced({ query: 'BEGIN', bindings: {} }, () => OpenTransaction.#begin(lease));
  }

  static async #begin(lease: SessionLease): Promise<OpenTransaction> {
    return await lease.withSession(async (session, call) => {
      assertKeepsAuth(lease, session);
      const { id: sessionId, transport } = session;
      const { epoch } = transport;
      const cancel = (id: unknown) =>
        transport
          .send({ method: 'cancel', params: [id], session: sessionId }, { isUrgent: true })
          .catch(() => undefined);
      call.onLateResult = (late) => void cancel(late);
      const id = await transport.send<Uuid>({ method: 'begin', session: sessionId }, call);
      const transaction = new OpenTransaction(lease, session, sessionId, id, epoch);
      try {
        transaction.#release = lease.adopt(transaction, session);
      } catch (error) {
        await cancel(id);
        throw error;
      }
      return transaction;
    });
  }

  private constructor(lease: SessionLease, session: ServerSession, sessionId: Uuid, id: Uuid, epoch: number) {
    this.#lease = lease;
    this.#session = session;
    this.#sessionId = sessionId;
    this.#id = id;
    this.#epoch = epoch;
  }

  get isClosed(): boolean {
    return this.#isClosed || this.#lease.isClosed || this.#isLost;
  }

  get strictWrites(): boolean {
    return this.#lease.strictWrites;
  }

  async query(bound: BoundQuery, options?: CallOptions): Promise<RpcQueryResult[]> {
    this.#assertUsable();
    return await this.#lease.traced(bound, () => this.#query(bound, options));
  }

  async #query({ query, bindings }: BoundQuery, options: CallOptions | undefined): Promise<RpcQueryResult[]> {
    const message = { method: 'query', params: [query, bindings], txn: this.#id };
    return await this.#lease.track(async (call) => {
      // One that was cancelled under the query, by an eviction say, has no answer worth reading: say what happened instead.
      const results = await this.#send<RpcQueryResult[]>(message, call).catch((error: unknown) => {
        if (this.#isClosed && !(error instanceof ConnectionLostError)) this.#assertUsable();
        throw error;
      });
      if (this.#isClosed) this.#assertUsable();
      return results;
    }, options);
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
    await this.#lease.track((call) => this.#finish('commit', call));
  }

  async cancel(): Promise<void> {
    // A commit that failed has ended it. To say so here would hide why it failed from whoever cancels on any error.
    if (this.#hasFailed) return;
    this.#assertUsable();
    await this.#lease.track((call) => this.#finish('cancel', call));
  }

  /** Cancels it if nobody has ended it yet. */
  async end(): Promise<void> {
    if (!this.#isClosed) await this.#finish('cancel').catch(() => undefined);
  }

  async #finish(method: 'commit' | 'cancel', call?: Call): Promise<void> {
    this.#isClosed = true;
    try {
      await this.#lease.traced({ query: method.toUpperCase(), bindings: {} }, () =>
        this.#send({ method, params: [this.#id] }, { ...bounds(call), isUrgent: true }),
      );
    } catch (error) {
      this.#hasFailed = true;
      throw error;
    } finally {
      this.#release();
    }
  }

  async #send<Result>(
    message: { method: string; params: unknown[]; txn?: Uuid },
    options: SendOptions,
  ): Promise<Result> {
    if (this.#isLost) {
      throw new ConnectionLostError(
        `The connection dropped, and this transaction with it; "${message.method}" was not sent. Nothing of it was kept. Run ` +
          'the whole unit of work again.',
        { outcome: 'not-sent' },
      );
    }
    return await this.#session.transport.send<Result>({ ...message, session: this.#sessionId }, options);
  }

  get #isLost(): boolean {
    return this.#session.transport.epoch !== this.#epoch;
  }

  #assertUsable(): void {
    this.#lease.assertOpen();
    this.#session.assertOpen();
    if (this.#isClosed) {
      throw new TransactionClosedError('The transaction was committed or cancelled already. Begin a new one.');
    }
    if (this.#session.id === this.#sessionId || this.#isLost) return;
    throw new TransactionClosedError(
      'The session that began this transaction was given up, and the transaction with it.',
    );
  }
}

/** @param version of the server, such as `3.0.2` */
export function keepsAuthInTransactions(version: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  return major > 3 || (major === 3 && minor >= 1);
}

/**
 * On servers before 3.1 `PERMISSIONS … WHERE owner = $auth.id` compares with NONE inside a transaction: a record user could
 * write what is nobody's, and would not find its own.
 */
function assertKeepsAuth(lease: SessionLease, { identity }: ServerSession): void {
  if (lease.transactionsKeepAuth || identity?.record === undefined) return;
  throw new TransactionUnsupportedError(
    'A record user cannot begin a transaction on this server: before SurrealDB 3.1 $auth is NONE inside it, and the ' +
      'PERMISSIONS that compare with $auth do not hold. Send the whole transaction as the text of one query ' +
      "(db.query('BEGIN; …; COMMIT'), where $auth is kept), or upgrade the server.",
  );
}

/** The bounds of a call, or of tidying up, as plain options, to which others can be added. */
function bounds(call: Call | undefined): SendOptions {
  if (call === undefined) return { timeoutMillis: CLEANUP_MILLIS };
  return { timeoutMillis: call.timeoutMillis, onPending: (cancel) => call.onPending(cancel) };
}

/** A transaction that sees its own writes, and that nobody else sees before `commit()`. */
export class TenantTransaction extends RoadQueryable {
  readonly #transaction: OpenTransaction;

  /** @internal by `TenantSession.begin()` */
  constructor(transaction: OpenTransaction) {
    super(transaction);
    this.#transaction = transaction;
  }

  /** True after `commit()`, `cancel()`, the end of its unit of work, or the loss of its socket. */
  get isClosed(): boolean {
    return this.#transaction.isClosed;
  }

  /** Its queries with options of their own, as `TenantSession.withOptions()`. */
  withOptions(options: CallOptions): SurrealQueryable {
    return new RoadQueryable(this.#transaction, callOptions(options));
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
   * Undoes what was written; after a `commit()` that failed there is nothing to undo. A transaction that is never ended is
   * cancelled with its unit of work.
   * @throws TransactionClosedError the second time, or after a commit
   */
  async cancel(): Promise<void> {
    await this.#transaction.cancel();
  }

  /** `await using transaction = await db.begin()`: cancels it unless it was ended. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#transaction.end();
  }
}
