// What happens in a run. All of it follows from the seed: which faults in which order, and what each worker of each
// application does. Only how far a run gets in the time it has is not in here.
import { deckOf, randomSource } from './random.mjs';

/** A round of faults, about half a minute of them. */
const FAULTS = deckOf({
  cut: 18,
  loseCall: 9,
  loseAnswer: 9,
  hold: 5,
  holdTooLong: 1,
  garbage: 3,
  rotate: 2,
  evict: 2,
  remove: 1,
  kill: 1,
});

/** What comes first, in quick succession, so that a short run has seen all kinds. What is lost there are writes. */
const FIRST_FAULTS = [...new Set(FAULTS), ...deckOf({ cut: 2, loseCall: 2, loseAnswer: 2 })];

const OPERATIONS = deckOf({
  create: 30,
  read: 25,
  transaction: 14,
  cancelled: 6,
  ownSession: 10,
  attached: 6,
  nested: 6,
  live: 3,
});

/** Which calls get lost or are held. Writes come first: of those it must be known how often they ran. */
const CREATE = { method: 'query', match: 'CREATE' };
const FILTERS = [
  ...[CREATE, CREATE, CREATE, CREATE, { method: 'query', match: 'SELECT' }],
  ...['commit', 'commit', 'begin', 'cancel', 'let', 'attach', 'authenticate', 'signin', 'detach'].map((method) => ({
    method,
  })),
  { method: 'query', match: 'LIVE' },
  { method: 'query', match: 'KILL' },
];

/**
 * The faults of a run, without end: first a few of each kind, then round after round. A tenant that was
 * removed is defined again some steps later.
 * @param {string[]} tenants their ids
 */
export function* faultSequence(seed, tenants) {
  const random = randomSource(seed, 'faults');
  const removed = new Map();
  const present = () => tenants.filter((id) => !removed.has(id));
  const parametersOf = {
    cut: () => ({}),
    garbage: () => ({}),
    loseCall: (filters) => ({ filter: random.pick(filters) }),
    loseAnswer: (filters) => ({ filter: random.pick(filters) }),
    hold: () => ({ filter: random.pick(FILTERS), millis: random.between(100, 1_500) }),
    holdTooLong: () => ({ filter: random.pick(FILTERS), millis: random.between(3_500, 4_500) }),
    rotate: () => ({ tenant: random.pick(present()) }),
    evict: () => ({ tenant: random.pick(present()) }),
    kill: () => ({ millis: random.between(0, 800) }),
    remove: () => {
      const tenant = random.pick(present());
      removed.set(tenant, random.between(3, 8));
      return { tenant, what: random.pick(['namespace', 'access']) };
    },
  };
  for (let round = 0; ; round++) {
    for (const kind of random.shuffled(round === 0 ? FIRST_FAULTS : FAULTS)) {
      for (const tenant of due(removed)) yield { kind: 'define', tenant, pauseMillis: 0 };
      // Cuts come in bursts too: a socket that is hardly up again is cut once more.
      const isQuick = round === 0 || random.between(1, 10) <= 3;
      const pauseMillis = isQuick ? random.between(40, 250) : random.between(250, 800);
      yield { kind, pauseMillis, ...parametersOf[kind](round === 0 ? [CREATE] : FILTERS) };
    }
  }
}

/** Counts one step down for each removed tenant, and takes out those whose time has come. */
function due(removed) {
  const back = [];
  for (const [tenant, steps] of removed) {
    if (steps > 0) removed.set(tenant, steps - 1);
    else back.push(tenant);
  }
  back.forEach((tenant) => removed.delete(tenant));
  return back;
}

/** What one worker of one application does, without end. */
export function* operationSequence(seed, application, worker, tenants) {
  const random = randomSource(seed, 'operations', application, worker);
  for (let number = 0; ; number++) {
    const [tenant, other] = random.shuffled(tenants);
    yield {
      kind: random.pick(OPERATIONS),
      key: `${application}-${worker}-${number}`,
      tenant,
      other,
      /** How an operation that can end in several ways ends. */
      ending: random.between(0, 2),
      /** Where in the table a reader begins. */
      from: random.pick([...'0123456789abcdefghijklmnopqrst']),
      thinkMillis: random.between(5, 60),
    };
  }
}
