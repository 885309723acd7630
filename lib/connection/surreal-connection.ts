import { setTimeout } from 'node:timers/promises';
import { Logger } from '@nestjs/common';
import { Surreal } from 'surrealdb';
import {
  ConnectionLostError,
  InvalidOptionsError,
  SessionsUnsupportedError,
  SurrealModuleError,
} from '../surreal.errors.js';
import { backoffDelay } from './backoff.js';
import { CentralEngine } from './central-engine.js';
import { EmbeddedTransport } from './embedded-transport.js';
import { type Endpoint, parseEndpoint, redactUrl } from './endpoint.js';
import { ensureRootUser } from './root-user.js';
import type { CallLimits } from './call-limits.js';
import type { ClosableTransport, RpcTransport } from './rpc-transport.js';
import { SessionSockets } from './session-sockets.js';
import { SigninChannel } from './signin-channel.js';
import { describeCause, type ReconnectOptions, SocketTransport } from './socket-transport.js';

export interface ConnectionOptions {
  url: string | readonly string[];
  authentication?: { username: string; password: string } | undefined;
  namespace?: string | undefined;
  database?: string | undefined;
  requestTimeoutMillis: number;
  connectTimeoutMillis: number;
  pingIntervalMillis: number;
  reconnect: ReconnectOptions;
  /** How many sockets carry sessions. */
  sockets: number;
  calls: CallLimits;
}

/** What a socket is for. The embedded engine is all of it. */
export type SocketPurpose = 'central' | 'sessions' | 'signins' | 'logins' | 'embedded';

interface Transports {
  central: ClosableTransport;
  sessions: SessionSockets;
  signins: SigninChannel;
  logins: SigninChannel;
  /** All that must be closed. */
  all: { purpose: SocketPurpose; transport: ClosableTransport }[];
}

const RECONNECT = { firstMillis: 100, maxMillis: 10_000 };

/**
 * All sockets of one application. Several kinds, so that nobody is held up or mistaken for somebody else:
 * `central` carries the SDK's `Surreal` and the root sign-in; `sessions` carry the sessions of tenants, and their own
 * default sessions never sign in; `signins` and `logins` turn passwords into tokens. The embedded engine is all of them.
 */
export class SurrealConnection {
  /** The SDK's connection, signed in as the service itself. */
  readonly surreal: Surreal;
  readonly sessions: SessionSockets;
  /** Sign-ins of the tenants themselves. */
  readonly signins: SigninChannel;
  /** Sign-ins that application code asks for, with end users' passwords: a flood of them holds up no tenant's own. */
  readonly logins: SigninChannel;
  /** All sockets, for whoever looks at their state; they are this object's to close. */
  readonly transports: Transports['all'];
  readonly #central: ClosableTransport;
  readonly #options: ConnectionOptions;
  readonly #url: string;
  readonly #logger = new Logger('nestjs-surreal');
  #version = '';
  #closing: Promise<void> | undefined;
  readonly #stop = new AbortController();
  #recovering = false;

  /**
   * Connects, with back-off for `connectTimeoutMillis`. The caller owns the connection and ends it with `close()`.
   * @throws SessionsUnsupportedError for `http(s)://` and for servers before 3.0
   * @throws InvalidOptionsError when the url or the sign-in is wrong
   * @throws ConnectionLostError when nobody answers, with the url and the cause
   */
  static async open(options: ConnectionOptions): Promise<SurrealConnection> {
    const endpoint = parseEndpoint(options.url);
    const transports =
      endpoint.type === 'socket' ? socketTransports(endpoint, options) : await embedded(endpoint, options);
    const connection = new SurrealConnection(transports, options, endpoint);
    try {
      await connection.#connect();
      return connection;
    } catch (error) {
      await connection.close();
      throw error;
    }
  }

  private constructor(transports: Transports, options: ConnectionOptions, endpoint: Endpoint) {
    this.#central = transports.central;
    this.sessions = transports.sessions;
    this.signins = transports.signins;
    this.logins = transports.logins;
    this.transports = transports.all;
    this.#options = options;
    // The SDK wants one url; it picks the engine by its scheme and builds the addresses of import and export from it.
    this.#url = endpoint.type === 'embedded' ? endpoint.url : (endpoint.urls[0] as URL).href;
    const scheme = this.#url.slice(0, this.#url.indexOf(':'));
    this.surreal = new Surreal({
      engines: { [scheme]: (context) => new CentralEngine(context, this.#central, options.requestTimeoutMillis) },
    });
  }

  /** The server's version, such as `3.0.2`. */
  get version(): string {
    return this.#version;
  }

  /** Ends all sockets and the embedded engine. Calls still in flight fail. Safe to call twice. */
  close(): Promise<void> {
    return (this.#closing ??= this.#close());
  }

  async #close(): Promise<void> {
    this.#stop.abort();
    await this.surreal.close();
    await Promise.all(this.transports.map(({ transport }) => transport.close()));
  }

  async #connect(): Promise<void> {
    const { connectTimeoutMillis, authentication } = this.#options;
    this.#version = await this.#firstContact(Date.now() + connectTimeoutMillis).catch((cause: unknown) => {
      if (!(cause instanceof ConnectionLostError)) throw cause;
      throw new ConnectionLostError(
        `${describeCause(cause)} Is SurrealDB running there (surreal start), and can this machine reach it?`,
        { outcome: 'not-sent', cause },
      );
    });
    if (this.#central instanceof EmbeddedTransport && authentication !== undefined) {
      await ensureRootUser(this.#central, authentication);
    }
    await this.#connectCentral();
    // The SDK gives up for good when the server refuses its restore; a service does not.
    this.surreal.subscribe('disconnected', () => void this.#recoverCentral());
  }

  /** The server's version, as soon as it answers: a proxy in front of a server that is not up yet takes calls and drops them. */
  async #firstContact(deadline: number): Promise<string> {
    for (let attempt = 1; ; attempt++) {
      try {
        await this.#central.ready(deadline - Date.now());
        return await serverVersion(this.#central);
      } catch (error) {
        const delay = backoffDelay(RECONNECT, attempt);
        if (!(error instanceof ConnectionLostError) || Date.now() + delay >= deadline) throw error;
        await setTimeout(delay);
      }
    }
  }

  async #connectCentral(): Promise<void> {
    const { authentication, namespace, database } = this.#options;
    try {
      await this.surreal.connect(this.#url, {
        versionCheck: false,
        ...(namespace === undefined ? {} : { namespace }),
        ...(database === undefined ? {} : { database }),
        // A function, and null for every session but the SDK's own: a plain value would sign every session that the
        // application opens on the SDK in as the service at a reconnect.
        ...(authentication === undefined
          ? {}
          : { authentication: (session) => (session === undefined ? { ...authentication } : null) }),
      });
    } catch (cause) {
      if (cause instanceof SurrealModuleError) throw cause;
      throw new InvalidOptionsError(
        `SurrealDB at ${redactUrl(this.#url)} refused the service's own sign-in (${describeCause(cause)}). ` +
          'Check the option "authentication": it needs a user that is defined ON ROOT.',
        { cause },
      );
    }
  }

  async #recoverCentral(): Promise<void> {
    // Each failed attempt ends in another `disconnected`: one recovery at a time.
    if (this.#recovering) return;
    this.#recovering = true;
    const { signal } = this.#stop;
    for (let attempt = 1; !signal.aborted; attempt++) {
      try {
        await setTimeout(backoffDelay(RECONNECT, attempt), undefined, { signal });
        await this.#connectCentral();
        break;
      } catch (error) {
        if (!signal.aborted) this.#logger.error(`The central connection is down: ${describeCause(error)}`);
      }
    }
    this.#recovering = false;
  }
}

function socketTransports({ urls }: { urls: URL[] }, options: ConnectionOptions): Transports {
  const all: Transports['all'] = [];
  // The SDK waits for its connection without asking for it again, so that one must not be given up.
  const { maxAttempts: _, ...forEver } = options.reconnect;
  const open = (purpose: SocketPurpose) => {
    const reconnect = purpose === 'central' ? forEver : options.reconnect;
    const transport = new SocketTransport({ urls, ...options, reconnect });
    all.push({ purpose, transport });
    return transport;
  };
  const central = open('central');
  const sessions = Array.from({ length: options.sockets }, () => open('sessions'));
  return {
    central,
    sessions: new SessionSockets(sessions, options.calls),
    signins: SigninChannel.onSocket(open('signins')),
    logins: SigninChannel.onSocket(open('logins')),
    all,
  };
}

async function embedded(
  endpoint: Extract<Endpoint, { type: 'embedded' }>,
  options: ConnectionOptions,
): Promise<Transports> {
  const transport = await openDatastore(endpoint, options);
  return {
    central: transport,
    sessions: new SessionSockets([transport], options.calls),
    signins: await SigninChannel.onEmbedded(transport),
    logins: await SigninChannel.onEmbedded(transport),
    all: [{ purpose: 'embedded', transport }],
  };
}

/** An engine that was closed, also one of a process that has just ended, lets go of its directory a moment later. */
const LOCK_MILLIS = 5_000;

async function openDatastore(
  endpoint: Extract<Endpoint, { type: 'embedded' }>,
  { requestTimeoutMillis, connectTimeoutMillis }: ConnectionOptions,
): Promise<EmbeddedTransport> {
  const deadline = Date.now() + Math.min(connectTimeoutMillis, LOCK_MILLIS);
  for (let attempt = 1; ; attempt++) {
    try {
      return await EmbeddedTransport.open(endpoint, requestTimeoutMillis);
    } catch (cause) {
      if (cause instanceof SurrealModuleError) throw cause;
      if (/\block(ed)?\b/i.test(describeCause(cause)) && Date.now() < deadline) {
        await setTimeout(backoffDelay(RECONNECT, attempt));
        continue;
      }
      throw new InvalidOptionsError(
        `The embedded SurrealDB could not open ${redactUrl(endpoint.url)}: ${describeCause(cause)}. ` +
          'Check that the directory can be written and that no other process has it open.',
        { cause },
      );
    }
  }
}

async function serverVersion(transport: RpcTransport): Promise<string> {
  const answer = await transport.send<string>({ method: 'version' });
  const version = /(\d+)\.\d+\.\d+\S*/.exec(answer);
  if (version === null || Number(version[1]) < 3) {
    throw new SessionsUnsupportedError(
      `The server is ${answer}, which has no sessions, so tenants could not be kept apart. ` +
        'Sessions need ws(s):// and SurrealDB 3: upgrade the server.',
    );
  }
  return version[0];
}
