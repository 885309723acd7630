import { Logger } from '@nestjs/common';

/** What may be held for too long. */
interface Held {
  /** Whether it has a session at the moment. */
  readonly isHolding: boolean;
  /** Whose it is, for the report. */
  describe(): string;
}

interface Watched {
  takenAt: string;
  /** When it was first seen with a session, in milliseconds since 1970. */
  heldSince: number | undefined;
}

/**
 * Reports sessions that are held for too long, once each, with where they were taken: a `tenancy.attach()` that nobody
 * detaches, a stream that nobody ends. One timer for all, and only while something is watched; it keeps no process alive.
 */
export class LeakWatch {
  readonly #limitMillis: number;
  readonly #logger = new Logger('nestjs-surreal');
  readonly #watched = new Map<Held, Watched>();
  #timer: NodeJS.Timeout | undefined;
  #reports = 0;

  constructor(limitMillis: number) {
    this.#limitMillis = limitMillis;
  }

  /** How many were reported, since the start. */
  get reports(): number {
    return this.#reports;
  }

  /** To be called by the code that hands a session out, so that its callers are on the stack; ends with `forget()`. */
  watch(held: Held): void {
    const here: { stack?: string } = {};
    Error.captureStackTrace(here);
    const takenAt = (here.stack ?? '').split('\n').slice(2).join('\n');
    this.#watched.set(held, { takenAt, heldSince: undefined });
    this.#timer ??= setInterval(() => this.#look(), Math.max(5, this.#limitMillis / 4)).unref();
  }

  forget(held: Held): void {
    if (!this.#watched.delete(held) || this.#watched.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #look(): void {
    const now = Date.now();
    for (const [held, watched] of [...this.#watched]) {
      watched.heldSince = held.isHolding ? (watched.heldSince ?? now) : undefined;
      if (watched.heldSince === undefined || now - watched.heldSince < this.#limitMillis) continue;
      this.forget(held);
      this.#reports++;
      this.#logger.warn(
        `${held.describe()} has held a session for more than ${this.#limitMillis} ms (sessions.leakDetectionMillis). It is ` +
          `given back when its unit of work ends, or by detach(). It was taken\n${watched.takenAt}`,
      );
    }
  }
}
