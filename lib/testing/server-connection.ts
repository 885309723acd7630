import { Uuid } from 'surrealdb';
import type { WebSocket } from 'ws';
import type { Faults } from './faults.js';
import type { RecordedRequest } from './request-log.js';
import { ServerSession } from './server-session.js';
import type { TestEngine } from './test-engine.js';
import { encodeMessage, garbageFrames, serverError, toWireError, type WireRequest } from './wire.js';

/** What all sockets of a server share. */
export interface ServerContext {
  engine: TestEngine;
  faults: Faults;
  record: (request: RecordedRequest) => void;
  /** Ids that live in the engine now: two sockets may use the same session id, one engine cannot. */
  engineSessions: Set<string>;
  /** Sockets that are gone and still being cleaned up after. */
  closing: Set<Promise<void>>;
}

/**
 * One socket: its default session, the sessions it attached, its transactions and live queries. What belongs to
 * another socket does not exist for it. `close()` gives everything back.
 */
export class ServerConnection {
  readonly #context: ServerContext;
  readonly #socket: WebSocket;
  readonly #sessions = new Map<string, ServerSession>();
  readonly #transactions = new Map<string, Uuid>();
  readonly #defaultSession: Promise<ServerSession>;
  #isClosed = false;

  constructor(socket: WebSocket, context: ServerContext) {
    this.#socket = socket;
    this.#context = context;
    this.#defaultSession = this.#openSession(Uuid.v4());
    // Every call without a session reports it; without such a call nobody has to know.
    this.#defaultSession.catch(() => undefined);
  }

  get sessions(): number {
    return this.#sessions.size;
  }

  get transactions(): number {
    return this.#transactions.size;
  }

  /** Live queries of all attached sessions and of the default one. */
  async liveQueries(): Promise<number> {
    const sessions = [await this.#defaultSession, ...this.#sessions.values()];
    return sessions.reduce((sum, session) => sum + session.liveQueries.size, 0);
  }

  /** Runs a request and answers it, or does to it and its answer what the armed faults say. Never rejects. */
  async serve(request: WireRequest): Promise<void> {
    const { id, method, session, params } = request;
    const sql = method === 'query' && typeof params?.[0] === 'string' ? { sql: params[0] } : {};
    const fate = this.#context.faults.decide({ method, ...sql });
    if (fate.callLost) return this.#socket.terminate();
    this.#context.record({ method, ...(session ? { session: session.toString() } : {}), ...sql });
    const answer = await this.#execute(request).then(
      (result) => ({ id, result }),
      (error: unknown) => ({ id, error: toWireError(error) }),
    );
    await fate.untilReleased();
    if (fate.answerLost) this.#socket.terminate();
    else this.send(answer);
  }

  /** Sends a message, if the socket is still there. */
  send(message: { id?: unknown; result?: unknown; error?: unknown }): void {
    if (this.#socket.readyState !== this.#socket.OPEN) return;
    try {
      this.#socket.send(encodeMessage(message));
    } catch (error) {
      this.#socket.send(encodeMessage({ id: message.id, error: toWireError(error) }));
    }
  }

  /** Sends frames as no server should. Never rejects. */
  async sendGarbage(): Promise<void> {
    const sent = garbageFrames().map((frame) => new Promise((resolve) => this.#socket.send(frame, resolve)));
    await Promise.all(sent);
  }

  /** Cancels the open transactions, ends the live queries and detaches the sessions. Never rejects. */
  async close(): Promise<void> {
    this.#isClosed = true;
    const [opened] = await Promise.allSettled([this.#defaultSession]);
    const sessions = [...this.#sessions.values(), ...(opened.status === 'fulfilled' ? [opened.value] : [])];
    for (const session of sessions) session.endLiveQueries();
    await Promise.allSettled([...this.#transactions.values()].map((txn) => this.#send('cancel', [txn])));
    await Promise.allSettled(sessions.map((session) => this.#closeSession(session)));
    this.#transactions.clear();
    this.#sessions.clear();
  }

  async #execute(request: WireRequest): Promise<unknown> {
    const { method, params, txn } = request;
    if (method === 'ping') return undefined;
    if (method === 'sessions') return [...this.#sessions.keys()].map((id) => new Uuid(id));
    if (method === 'attach' || method === 'detach') return this.#attachOrDetach(method, request.session);
    if (method === 'commit' || method === 'cancel') return this.#endTransaction(request);
    const session = await this.#sessionOf(request);
    if (txn !== undefined) this.#assertOwn(txn);
    if (method === 'use') assertUsable(params);
    const result = await session.run(method, () => this.#send(method, params, session, txn));
    if (method === 'begin') await this.#began(result);
    if (method === 'reset') session.endLiveQueries();
    if (method === 'live') this.#forward(session, result);
    if (method === 'query') for (const id of liveIds(result)) this.#forward(session, id);
    return result;
  }

  #attachOrDetach(method: 'attach' | 'detach', id: Uuid | undefined): Promise<unknown> {
    if (id === undefined) throw serverError('Validation', -32603, 'Expected a session ID', { kind: 'InvalidParams' });
    return method === 'attach' ? this.#attach(id) : this.#detach(id);
  }

  async #attach(id: Uuid): Promise<void> {
    // A client that comes back attaches the ids it had before, perhaps while its former socket is being cleaned up.
    await Promise.all(this.#context.closing);
    const key = id.toString();
    if (this.#sessions.has(key)) {
      const details = { kind: 'Session', details: { id: key } };
      throw serverError('AlreadyExists', -32000, `Session already exists: ${key}`, details);
    }
    const session = new ServerSession(this.#context.engineSessions.has(key) ? Uuid.v4() : id);
    this.#sessions.set(key, session);
    await this.#openSession(session.id, session).catch((error: unknown) => {
      this.#sessions.delete(key);
      throw error;
    });
    if (this.#isClosed) await this.#closeSession(session);
  }

  // Of an unknown session the engine says nothing either.
  async #detach(id: Uuid): Promise<void> {
    const session = this.#sessions.get(id.toString());
    if (session === undefined) return;
    this.#sessions.delete(id.toString());
    session.endLiveQueries();
    await this.#closeSession(session);
  }

  async #openSession(id: Uuid, session = new ServerSession(id)): Promise<ServerSession> {
    this.#context.engineSessions.add(id.toString());
    await this.#send('attach', undefined, session);
    return session;
  }

  async #closeSession(session: ServerSession): Promise<void> {
    await this.#send('detach', undefined, session);
    this.#context.engineSessions.delete(session.id.toString());
  }

  async #sessionOf({ session: id }: WireRequest): Promise<ServerSession> {
    if (id === undefined) return this.#defaultSession;
    const session = this.#sessions.get(id.toString());
    if (session !== undefined) return session;
    const details = { kind: 'Session', details: { id: id.toString() } };
    throw serverError('NotFound', -32000, `Session not found: ${id.toString()}`, details);
  }

  async #began(txn: unknown): Promise<void> {
    if (!(txn instanceof Uuid)) return;
    if (this.#isClosed) await this.#send('cancel', [txn]);
    else this.#transactions.set(txn.toString(), txn);
  }

  // A transaction outlives the session it was begun on, so a session that was detached may still be named here.
  async #endTransaction({ method, params, session }: WireRequest): Promise<unknown> {
    const known = session === undefined ? await this.#defaultSession : this.#sessions.get(session.toString());
    known?.assertAllowed(method);
    const txn = params?.[0];
    if (txn instanceof Uuid) {
      this.#assertOwn(txn);
      this.#transactions.delete(txn.toString());
    }
    return this.#send(method, params);
  }

  #assertOwn(txn: Uuid): void {
    if (this.#transactions.has(txn.toString())) return;
    throw serverError('Validation', -32603, 'Transaction not found', { kind: 'InvalidParams' });
  }

  #forward(session: ServerSession, id: unknown): void {
    if (!(id instanceof Uuid) || this.#isClosed) return;
    const notifications = this.#context.engine.liveQuery(id)[Symbol.asyncIterator]();
    session.liveQueries.set(id.toString(), () => void notifications.return?.());
    void (async () => {
      for (let next = await notifications.next(); next.done !== true; next = await notifications.next()) {
        const { queryId, action, recordId, value } = next.value;
        this.send({ result: { id: queryId, action, record: recordId, result: value } });
        if (action === 'KILLED') break;
      }
      session.liveQueries.delete(id.toString());
      await notifications.return?.();
    })();
  }

  #send(method: string, params?: unknown[], session?: ServerSession, txn?: Uuid): Promise<unknown> {
    return this.#context.engine.send({
      method,
      ...(params === undefined ? {} : { params }),
      ...(session === undefined ? {} : { session: session.id }),
      ...(txn === undefined ? {} : { txn }),
    });
  }
}

// The engine aborts the whole process on a database without a namespace.
function assertUsable(params: unknown[] | undefined): void {
  const [namespace, database] = params ?? [];
  if (typeof namespace === 'string' || database === undefined || database === null) return;
  throw serverError('Validation', -32603, 'Expected a namespace with the database', { kind: 'InvalidParams' });
}

function liveIds(results: unknown): unknown[] {
  if (!Array.isArray(results)) return [];
  return (results as { type?: string; status?: string; result?: unknown }[])
    .filter(({ type, status }) => type === 'live' && status === 'OK')
    .map(({ result }) => result);
}
