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

/** What is to happen to one call and its answer, decided when the call came in. */
export interface CallFate {
  /** Cut the socket instead of running the call. */
  callLost: boolean;
  /** Cut the socket instead of answering. */
  answerLost: boolean;
  /** Settles when the answer may go out. To be called when the call has run, and not before. */
  untilReleased(): Promise<void>;
}

type Matcher = (call: FilteredCall) => boolean;

interface Hold {
  matches: Matcher;
  held: number;
  released: Promise<void>;
  release: () => void;
}

/** The faults that are armed in a server. They end with its process. */
export class Faults {
  readonly #lostCalls: Matcher[] = [];
  readonly #lostAnswers: Matcher[] = [];
  readonly #holds = new Map<number, Hold>();
  #lastHold = 0;

  /** Arms the loss of one call, before it runs: the next that matches. */
  loseCall(filter: CallFilterMessage): void {
    this.#lostCalls.push(matcher(filter));
  }

  /** Arms the loss of one answer: that of the next call that matches. */
  loseAnswer(filter: CallFilterMessage): void {
    this.#lostAnswers.push(matcher(filter));
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

  /** Decides about a call that just came in, and uses up the loss that matches it. A call that is lost has no answer. */
  decide(call: FilteredCall): CallFate {
    const callLost = useUp(this.#lostCalls, call);
    const answerLost = !callLost && useUp(this.#lostAnswers, call);
    const holds = callLost ? [] : [...this.#holds.values()].filter((hold) => hold.matches(call));
    return { callLost, answerLost, untilReleased: () => untilReleased(holds) };
  }
}

/** Whether a loss is armed for the call; the first that is, is disarmed. */
function useUp(losses: Matcher[], call: FilteredCall): boolean {
  const index = losses.findIndex((matches) => matches(call));
  if (index >= 0) losses.splice(index, 1);
  return index >= 0;
}

async function untilReleased(holds: Hold[]): Promise<void> {
  for (const hold of holds) hold.held++;
  await Promise.all(holds.map((hold) => hold.released));
}

function matcher({ method, match }: CallFilterMessage): Matcher {
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
