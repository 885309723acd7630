/** Which calls a fault is about. Without a key, all of them. */
export interface CallFilter {
  /** The RPC method: `query`, `signin`, `commit`, … */
  method?: string;
  /** Part of the SurrealQL text, or an expression it matches. Calls other than `query` have no text and never match. */
  match?: string | RegExp;
}

/** A {@link CallFilter} as it crosses to the server's process. */
export interface CallFilterMessage {
  method?: string;
  match?: string | { source: string; flags: string };
}

/** What a call is asked about: its method and, of a query, its text. */
export interface FilteredCall {
  method: string;
  sql?: string;
}

/** What is to happen to the answer of one call, decided when the call came in. */
export interface AnswerFate {
  /** Cut the socket instead of answering. */
  lost: boolean;
  /** Settles when the answer may go out. To be called when the call has run, and not before. */
  untilReleased(): Promise<void>;
}

interface Hold {
  matches: (call: FilteredCall) => boolean;
  held: number;
  released: Promise<void>;
  release: () => void;
}

/** The faults that are armed in a server. They end with its process. */
export class Faults {
  readonly #losses: ((call: FilteredCall) => boolean)[] = [];
  readonly #holds = new Map<number, Hold>();
  #lastHold = 0;

  /** Arms the loss of one answer: that of the next call that matches. */
  lose(filter: CallFilterMessage): void {
    this.#losses.push(matcher(filter));
  }

  /** Withholds the answers of all matching calls that come in from now on, until `release` of the number returned. */
  hold(filter: CallFilterMessage): number {
    const { promise: released, resolve: release } = withResolvers();
    this.#holds.set(++this.#lastHold, { matches: matcher(filter), held: 0, released, release });
    return this.#lastHold;
  }

  /** How many calls have run and are waiting with their answer. 0 for a hold that was released. */
  held(hold: number): number {
    return this.#holds.get(hold)?.held ?? 0;
  }

  /** Lets the withheld answers go and forgets the hold. Again: does nothing. */
  release(hold: number): void {
    this.#holds.get(hold)?.release();
    this.#holds.delete(hold);
  }

  /** Decides about the answer of a call that just came in, and uses up the loss that matches it. */
  decide(call: FilteredCall): AnswerFate {
    const loss = this.#losses.findIndex((matches) => matches(call));
    if (loss >= 0) this.#losses.splice(loss, 1);
    const holds = [...this.#holds.values()].filter((hold) => hold.matches(call));
    return { lost: loss >= 0, untilReleased: () => untilReleased(holds) };
  }
}

async function untilReleased(holds: Hold[]): Promise<void> {
  for (const hold of holds) hold.held++;
  await Promise.all(holds.map((hold) => hold.released));
}

function matcher({ method, match }: CallFilterMessage): (call: FilteredCall) => boolean {
  const expression = typeof match === 'object' ? new RegExp(match.source, match.flags) : undefined;
  return (call) => {
    if (method !== undefined && call.method !== method) return false;
    if (match === undefined) return true;
    if (call.sql === undefined) return false;
    return typeof match === 'string' ? call.sql.includes(match) : (expression?.test(call.sql) ?? false);
  };
}

// Promise.withResolvers() is not in Node 20.
function withResolvers(): { promise: Promise<void>; resolve: () => void } {
  let resolve = (): void => undefined;
  const promise = new Promise<void>((settle) => (resolve = settle));
  return { promise, resolve };
}
