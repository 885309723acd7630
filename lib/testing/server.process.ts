// The server's process. Started by ServerChild, asked over IPC, ends with the process that started it.
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { dirname } from 'node:path';
import { WebSocketServer, type WebSocket } from 'ws';
import type { ControlAnswer, ControlCalls, ControlRequest, ServerCounts } from './control.js';
import { Faults } from './faults.js';
import { openRequestLog } from './request-log.js';
import { ServerConnection, type ServerContext } from './server-connection.js';
import { openEngine, type OpenEngine } from './test-engine.js';
import { decodeRequest, toWireError } from './wire.js';

const HOST = '127.0.0.1';
const MAX_MESSAGE_BYTES = 128 * 1024 * 1024;
const STOP_GRACE_MILLIS = 3_000;

type Handlers = {
  [Name in Exclude<keyof ControlCalls, 'start'>]: (
    argument: ControlCalls[Name]['argument'],
  ) => ControlCalls[Name]['result'] | Promise<ControlCalls[Name]['result']>;
};

/** The engine behind a listening socket, and what the test may ask of it. */
class TestServer implements Handlers {
  readonly #engine: OpenEngine;
  readonly #listener: WebSocketServer;
  readonly #connections = new Set<ServerConnection>();
  readonly #context: ServerContext;

  constructor(engine: OpenEngine, listener: WebSocketServer, record: ServerContext['record']) {
    this.#engine = engine;
    this.#listener = listener;
    this.#context = {
      engine: engine.engine,
      faults: new Faults(),
      record,
      engineSessions: new Set(),
      closing: new Set(),
    };
    listener.on('connection', (socket) => this.#accept(socket));
  }

  async dropConnections(): Promise<undefined> {
    const closed = [...this.#listener.clients].map(async (socket) => {
      const gone = socket.readyState === socket.CLOSED ? undefined : once(socket, 'close');
      socket.terminate();
      await gone;
    });
    await Promise.all(closed);
    await Promise.all(this.#context.closing);
  }

  async sendGarbage(): Promise<undefined> {
    await Promise.all([...this.#connections].map((connection) => connection.sendGarbage()));
  }

  loseCall(filter: ControlCalls['loseCall']['argument']): undefined {
    this.#context.faults.loseCall(filter);
  }

  loseAnswer(filter: ControlCalls['loseAnswer']['argument']): undefined {
    this.#context.faults.loseAnswer(filter);
  }

  holdAnswers(filter: ControlCalls['holdAnswers']['argument']): number {
    return this.#context.faults.hold(filter);
  }

  held(hold: number): number {
    return this.#context.faults.held(hold);
  }

  release(hold: number): undefined {
    this.#context.faults.release(hold);
  }

  async counts(): Promise<ServerCounts> {
    const connections = [...this.#connections];
    const liveQueries = await Promise.all(connections.map((connection) => connection.liveQueries()));
    return {
      sessions: connections.reduce((sum, { sessions }) => sum + sessions, 0),
      transactions: connections.reduce((sum, { transactions }) => sum + transactions, 0),
      liveQueries: liveQueries.reduce((sum, count) => sum + count, 0),
    };
  }

  async stop(): Promise<undefined> {
    this.#listener.close();
    // A query that runs on must not hold up the end.
    await Promise.race([this.dropConnections(), new Promise((resolve) => setTimeout(resolve, STOP_GRACE_MILLIS))]);
    await this.#engine.close();
  }

  #accept(socket: WebSocket): void {
    const connection = new ServerConnection(socket, this.#context);
    this.#connections.add(connection);
    socket.on('message', (data, isBinary) => {
      if (!isBinary) return socket.close(1003, 'CBOR only');
      try {
        const request = decodeRequest(data);
        if ('error' in request) connection.send({ id: request.id, error: toWireError(request.error) });
        else void connection.serve(request);
      } catch {
        socket.close(1007, 'not a CBOR request');
      }
    });
    // ws closes the socket after an error; without a listener the error would end the process.
    socket.on('error', () => undefined);
    socket.once('close', () => {
      const closing: Promise<void> = connection.close().finally(() => {
        this.#context.closing.delete(closing);
        this.#connections.delete(connection);
      });
      this.#context.closing.add(closing);
    });
  }
}

async function start({ requestLog, ...settings }: ControlCalls['start']['argument']): Promise<[TestServer, number]> {
  const record = openRequestLog(requestLog);
  const engine = await openEngine(settings);
  const listener = new WebSocketServer({
    host: HOST,
    port: settings.port,
    path: '/rpc',
    maxPayload: MAX_MESSAGE_BYTES,
    handleProtocols: (protocols) => (protocols.has('cbor') ? 'cbor' : false),
  });
  const server = new TestServer(engine, listener, record);
  await once(listener, 'listening').catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EADDRINUSE') throw error;
    throw new Error(`port ${settings.port} of ${HOST} is in use. Leave the option "port" out to get a free one`);
  });
  listener.on('error', () => undefined);
  return [server, (listener.address() as AddressInfo).port];
}

let server: TestServer | undefined;
let logDirectory: string | undefined;

async function answer({ name, argument }: ControlRequest): Promise<unknown> {
  if (name === 'start') {
    const settings = argument as ControlCalls['start']['argument'];
    logDirectory = dirname(settings.requestLog);
    const [started, port] = await start(settings);
    server = started;
    return { port };
  }
  if (server === undefined) throw new Error(`"${name}" before "start"`);
  return (server[name] as (argument: unknown) => unknown).call(server, argument);
}

process.on('message', (request: ControlRequest) => {
  void answer(request)
    .then(
      (result): ControlAnswer => ({ id: request.id, result }),
      (error: unknown): ControlAnswer => ({
        id: request.id,
        error: error instanceof Error ? error.message : String(error),
      }),
    )
    .then((reply) => process.send?.(reply, () => request.name === 'stop' && process.exit(0)));
});
process.once('disconnect', () => {
  // The one who would have removed the log is gone.
  if (logDirectory !== undefined) rmSync(logDirectory, { recursive: true, force: true });
  process.exit(0);
});
