import { ServerError } from 'surrealdb';
import type { SurrealConnection } from '../connection/surreal-connection.js';
import { ConnectionLostError } from '../surreal.errors.js';

/** Why the database is taken to be down. */
export type DownReason = 'NO_ANSWER' | 'NO_SESSION_SOCKET';

type Transport = SurrealConnection['transports'][number]['transport'];

interface Running {
  isDone: Promise<DownReason | undefined>;
  /** What it waits for at the moment. */
  missing: DownReason;
}

/** Asks the database for a sign of life, once at a time: whoever asks while an answer is awaited shares it. */
export class DatabaseProbe {
  readonly #connection: Pick<SurrealConnection, 'transports'>;
  #running: Running | undefined;

  constructor(connection: Pick<SurrealConnection, 'transports'>) {
    this.#connection = connection;
  }

  /** What is missing after this long; undefined when the database answers. Never throws. */
  async missingAfter(timeoutMillis: number): Promise<DownReason | undefined> {
    const running = (this.#running ??= this.#start());
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<DownReason>((resolve) => {
      timer = setTimeout(() => resolve(running.missing), timeoutMillis);
    });
    return await Promise.race([running.isDone, late]).finally(() => clearTimeout(timer));
  }

  #start(): Running {
    const running: Running = { isDone: Promise.resolve(undefined), missing: 'NO_ANSWER' };
    running.isDone = this.#run(running)
      .catch(() => running.missing)
      .finally(() => (this.#running = undefined));
    return running;
  }

  async #run(running: Running): Promise<undefined> {
    const { transports } = this.#connection;
    const central = transports.find(({ purpose }) => purpose === 'central' || purpose === 'embedded');
    await roundTrip((central as (typeof transports)[number]).transport).catch(async (error: unknown) => {
      // The socket was dead already, and nobody had noticed: the next one tells.
      if (!(error instanceof ConnectionLostError)) throw error;
      await roundTrip((central as (typeof transports)[number]).transport);
    });
    running.missing = 'NO_SESSION_SOCKET';
    await oneOpen(transports.filter(({ purpose }) => purpose === 'sessions').map(({ transport }) => transport));
  }
}

/** A query, since a `ping` is answered by the server without its datastore. A refusal is an answer too. */
async function roundTrip(transport: Transport): Promise<void> {
  await transport.ready();
  await transport.send({ method: 'query', params: ['RETURN 1'] }).catch((error: unknown) => {
    if (!(error instanceof ServerError)) throw error;
  });
}

/** Waits for one of the sockets that were needed before; the others are opened when they are. */
async function oneOpen(transports: readonly Transport[]): Promise<void> {
  const needed = transports.filter(({ state }) => state !== 'idle');
  if (needed.length > 0) await Promise.any(needed.map(async (transport) => transport.ready()));
}
