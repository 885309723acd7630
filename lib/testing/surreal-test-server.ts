import type { ControlCalls, ServerCounts } from './control.js';
import type { CallFilter } from './faults.js';
import { RequestLogReader, type RecordedRequest } from './request-log.js';
import { ServerChild } from './server-child.js';
import { readFilter, readOptions, type ServerSettings, type SurrealTestServerOptions } from './server-options.js';

/** Answers that a test server withholds, see {@link SurrealTestServer.holdAnswers}. */
export interface HeldAnswers {
  /** How many matching calls have run and wait with their answer. */
  held(): Promise<number>;
  /** Sends them, and withholds no more. Does nothing when called again, or when the server is gone. */
  release(): Promise<void>;
}

/**
 * A SurrealDB server for tests: the real engine (the package `@surrealdb/node`, to be installed beside this one) in a
 * process of its own, behind a WebSocket that speaks the protocol of `surreal start` with authentication on. It counts
 * requests and loses connections on demand.
 *
 * End it with `stop()` or `await using`; until then its process keeps the test's process alive.
 *
 * @example
 * await using server = await SurrealTestServer.start();
 * await application.connectTo(server.url);
 * server.clearRequests();
 * await server.dropConnections();
 * expect(server.count('signin')).toBe(0);
 */
export class SurrealTestServer {
  readonly #log = new RequestLogReader();
  readonly #settings: ServerSettings;
  #child: ServerChild | undefined;
  #change: Promise<void> = Promise.resolve();

  private constructor(settings: ServerSettings) {
    this.#settings = settings;
  }

  /**
   * Starts a server and resolves when it takes connections.
   * @throws TypeError for an option that is unknown or has a wrong value.
   * @throws Error when the engine is not installed, the port is in use, the storage cannot be opened, or the process
   * dies (with the end of what it wrote to stderr). Nothing is left behind then.
   */
  static async start(options: SurrealTestServerOptions = {}): Promise<SurrealTestServer> {
    const server = new SurrealTestServer(readOptions(options));
    await server.#inTurn(() => server.#launch());
    return server;
  }

  /** Where clients connect: `ws://127.0.0.1:PORT/rpc`. The same after a restart. */
  get url(): string {
    return `ws://127.0.0.1:${this.#settings.port}/rpc`;
  }

  /** The user that owns the server. */
  get root(): { username: string; password: string } {
    return { ...this.#settings.root };
  }

  /**
   * Every RPC request the server took, in order, over restarts, since the start or the last `clearRequests()`. A call
   * that was answered is in it. Still there after `stop()`.
   */
  get requests(): RecordedRequest[] {
    return [...this.#log.read()];
  }

  /** How many requests the server took, of one method or of all. As exact as {@link requests}. */
  count(method?: string): number {
    const requests = this.#log.read();
    return method === undefined ? requests.length : requests.filter((request) => request.method === method).length;
  }

  /** Starts {@link requests} and {@link count} afresh. */
  clearRequests(): void {
    this.#log.clear();
  }

  /**
   * Cuts every socket at once, without a closing handshake, as a failing network would. Resolves when the server has
   * cleaned up after them: sessions detached, transactions cancelled, live queries ended.
   */
  async dropConnections(): Promise<void> {
    await this.#call('dropConnections', undefined);
  }

  /**
   * Sends every socket frames that answer no call: CBOR that is no answer, an answer to nobody, text, and bytes that are no
   * CBOR. Resolves when they are on their way. What becomes of the sockets is the client's affair.
   */
  async sendGarbage(): Promise<void> {
    await this.#call('sendGarbage', undefined);
  }

  /**
   * Cuts the socket of the next call that matches instead of running it, as if it had been lost on its way: it is not
   * among {@link requests}. Good for one call; arm it again for the next. Resolves when it is armed.
   */
  async loseCall(filter: CallFilter = {}): Promise<void> {
    await this.#call('loseCall', readFilter(filter));
  }

  /**
   * Lets the next call that matches run, and then cuts its socket instead of answering. Good for one call; arm it again
   * for the next. Resolves when it is armed.
   */
  async loseAnswer(filter: CallFilter = {}): Promise<void> {
    await this.#call('loseAnswer', readFilter(filter));
  }

  /**
   * Lets matching calls run but withholds their answers until `release()`. Applies to calls that come in after it
   * resolved. Calls of the same session go on meanwhile.
   */
  async holdAnswers(filter: CallFilter = {}): Promise<HeldAnswers> {
    const child = this.#running();
    const hold = await child.call('holdAnswers', readFilter(filter));
    return {
      held: () => child.call('held', hold),
      release: async () => {
        if (child.isRunning) await child.call('release', hold);
      },
    };
  }

  /** How many attached sessions live on the server, over all sockets. The sockets' default sessions are not among them. */
  async sessions(): Promise<number> {
    return (await this.#counts()).sessions;
  }

  /** How many transactions were begun and neither committed nor cancelled. */
  async openTransactions(): Promise<number> {
    return (await this.#counts()).transactions;
  }

  /** How many live queries the server forwards. */
  async liveQueries(): Promise<number> {
    return (await this.#counts()).liveQueries;
  }

  /** Ends the server's process with SIGKILL and resolves when it is gone. `restart()` brings it back. */
  async kill(): Promise<void> {
    await this.#inTurn(async () => this.#child?.kill());
  }

  /**
   * Ends the server. Resolves when its process and its temporary files are gone. `restart()` can bring it back.
   * Does nothing when it is stopped already.
   */
  async stop(): Promise<void> {
    await this.#inTurn(async () => {
      await this.#child?.stop();
      this.#child = undefined;
      this.#log.close();
    });
  }

  /**
   * Starts the server again on the same port and storage, stopping it first if it runs. Faults that were armed are gone.
   * @throws Error as `start()` does; the server is then stopped.
   */
  async restart(): Promise<void> {
    await this.#inTurn(async () => {
      await this.#child?.stop();
      await this.#launch();
    });
  }

  /** Same as {@link stop}. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async #launch(): Promise<void> {
    this.#child = undefined;
    try {
      const { child, port } = await ServerChild.start({ ...this.#settings, requestLog: this.#log.open() });
      this.#child = child;
      this.#settings.port = port;
    } catch (error) {
      this.#log.close();
      throw error;
    }
  }

  // One change of state at a time: a stop() during a restart() must find the process that is being started.
  #inTurn(change: () => Promise<void>): Promise<void> {
    const turn = this.#change.then(change);
    this.#change = turn.catch(() => undefined);
    return turn;
  }

  #running(): ServerChild {
    if (this.#child === undefined) throw new Error('the test server is stopped: call restart() first');
    return this.#child;
  }

  async #call<Name extends keyof ControlCalls>(
    name: Name,
    argument: ControlCalls[Name]['argument'],
  ): Promise<ControlCalls[Name]['result']> {
    return this.#running().call(name, argument);
  }

  #counts(): Promise<ServerCounts> {
    return this.#call('counts', undefined);
  }
}
