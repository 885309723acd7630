// What must hold of a run, whatever happened in it. Pure functions of the evidence: what the applications noted, what the
// operator did, and what root finds in the end. See checkers.d.mts for the form.

/** Codes by which a call says that nothing of it has happened. */
const REFUSALS = new Set([
  ...[
    'TENANT_NOT_FOUND',
    'TENANT_SIGNIN_FAILED',
    'TENANT_MISMATCH',
    'UNAUTHENTICATED',
    'NOT_ALLOWED',
    'SESSION_EXPIRED',
  ],
  ...['SESSION_CLOSED', 'TRANSACTION_CLOSED', 'TRANSACTION_CONFLICT', 'POOL_EXHAUSTED', 'CONTEXT_MISSING'],
]);
/** What every tenant must put up with while sockets are cut and answers withheld. */
const WEATHER = new Set(['CONNECTION_LOST', 'REQUEST_TIMEOUT', 'TRANSACTION_CLOSED', 'HANDLER_ERROR']);
/** Steps that end well without the database. */
const OFFLINE_STEPS = new Set(['end', 'detach', 'cancel', 'kill', 'fail']);
/** How many more timers or sockets than before keep an idle application alive. */
const SLACK = 2;

export const CHECKERS = {
  'foreign rows': foreignRows,
  'lost writes': lostWrites,
  duplicates,
  outcomes,
  transactions,
  timeouts,
  leaks,
  neighbours,
  'removed tenants': removedTenants,
  liveness,
};

/** Runs all checkers. @returns by name, what each objects to */
export function check(evidence) {
  return Object.fromEntries(Object.entries(CHECKERS).map(([name, checker]) => [name, checker(evidence)]));
}

/** Nobody is shown, or has in its database, what another tenant wrote or set. */
function foreignRows({ rows, sightings, generations }) {
  const namespaceOf = new Map(generations.map((of) => [generationKey(of), of.namespace]));
  const strayed = rows.filter(({ tenant, tag }) => tag !== tenant);
  const seen = sightings.flatMap((sighting) => {
    const { tenant, by, tags, marker, expectedMarker, namespace } = sighting;
    const wrong = tags.filter((tag) => tag !== tenant).map((tag) => `rows of ${tag}`);
    if (marker !== expectedMarker) wrong.push(`the variable ${marker} instead of ${expectedMarker}`);
    if (namespace !== undefined && namespace !== namespaceOf.get(generationKey(sighting))) wrong.push(namespace);
    return wrong.map((what) => `a ${by} of ${tenant} saw ${what}`);
  });
  return [...strayed.map(({ key, tag, tenant }) => `row ${key} of ${tag} is in the database of ${tenant}`), ...seen];
}

/** What was acknowledged is there, unless the run itself has removed the database. */
function lostWrites({ writes, rows, generations }) {
  const counts = countKeys(rows);
  const removed = new Set(generations.filter((of) => of.removed === 'namespace').map(generationKey));
  return writes
    .filter((write) => fateOf(write) === 'acknowledged' && !removed.has(generationKey(write)))
    .flatMap(({ tenant, keys }) => keys.filter((key) => !counts.has(key)).map((key) => `row ${key} of ${tenant}`));
}

/** Nothing is there twice. */
function duplicates({ rows }) {
  return [...countKeys(rows)]
    .filter(([, count]) => count > 1)
    .map(([key, count]) => `row ${key} is there ${count} times`);
}

/** What failed for certain is not there. */
function outcomes({ writes, rows }) {
  const counts = countKeys(rows);
  return writes
    .filter((write) => fateOf(write) === 'refused')
    .flatMap(({ keys, code, outcome = 'refused' }) =>
      keys.filter((key) => counts.has(key)).map((key) => `row ${key} is there: ${code} said ${outcome}`),
    );
}

/** All of a transaction is there or nothing, and nothing of one that was not committed. */
function transactions({ writes, rows }) {
  const counts = countKeys(rows);
  return writes.flatMap((write) => {
    const present = write.keys.filter((key) => counts.has(key));
    if (fateOf(write) === 'cancelled') return present.map((key) => `row ${key} is there although it was cancelled`);
    const isTorn = present.length > 0 && present.length < write.keys.length;
    return isTorn ? [`only ${present.join()} is there of ${write.keys.join()}`] : [];
  });
}

/** Every call ends, and in time. */
function timeouts({ calls, pending, limitMillis }) {
  const late = calls.filter(({ start, end }) => end - start > limitMillis);
  return [
    ...pending.map(({ step, tenant }) => `"${step}" of ${tenant} never ended`),
    ...late.map(({ step, tenant, start, end }) => `"${step}" of ${tenant} took ${end - start} ms`),
  ];
}

/** Nothing is left on the server, nothing keeps an idle application busy, and each ends by itself. */
function leaks({ leftovers, applications }) {
  const { sessions, allowedSessions, transactions, liveQueries, sessionsAfterClose } = leftovers;
  const found = [];
  if (sessions > allowedSessions)
    found.push(`${sessions} sessions after the load, at most ${allowedSessions} are in order`);
  if (transactions > 0) found.push(`${transactions} open transactions after the load`);
  if (liveQueries > 0) found.push(`${liveQueries} live queries after the load`);
  if (sessionsAfterClose > 0) found.push(`${sessionsAfterClose} sessions after the applications were closed`);
  for (const { number, before, after, exit } of applications) {
    for (const [kind, count] of Object.entries(after)) {
      const had = before[kind] ?? 0;
      if (count > had + SLACK) found.push(`application ${number} has ${count} ${kind}, ${had} before the load`);
    }
    if (exit !== 0) found.push(`application ${number} did not end by itself: ${exit}`);
  }
  return found;
}

/** A tenant at whose credentials or sessions nobody was fails for the connection's reasons alone. */
function neighbours({ calls, touches, generations }) {
  const brief = new Set(generations.filter((of) => of.hasBriefSessions).map(({ tenant }) => tenant));
  return (
    calls
      .filter(({ code }) => code !== undefined && !WEATHER.has(code))
      .filter(({ code, tenant }) => !(code === 'SESSION_EXPIRED' && brief.has(tenant)))
      // Answers that are withheld fill a tenant's own share of the socket; those of others must not.
      .filter(({ code, message }) => !(code === 'POOL_EXHAUSTED' && /\bof this tenant\b/.test(message)))
      .filter((call) => !touches.some((touch) => concerns(touch, call)))
      .map(({ tenant, step, code, message }) => `"${step}" of ${tenant}: ${code}: ${message}`)
  );
}

/** Nobody is served any more as a tenant that was removed. */
function removedTenants({ calls, generations }) {
  const gone = new Map(
    generations.filter(({ goneAt }) => goneAt !== undefined).map((of) => [generationKey(of), of.goneAt]),
  );
  return calls
    .filter((call) => call.code === undefined && !OFFLINE_STEPS.has(call.step))
    .filter((call) => call.unitStart > (gone.get(generationKey(call)) ?? Infinity))
    .map(({ tenant, step }) => `"${step}" of ${tenant} was served after the removal`);
}

/** When the faults are over, every tenant can work again; and something was done at all. */
function liveness({ reached, writes, sightings }) {
  const found = reached
    .filter(({ error }) => error !== undefined)
    .map(({ application, tenant, error }) => `${tenant} cannot query in application ${application}: ${error}`);
  if (!writes.some((write) => fateOf(write) === 'acknowledged')) found.push('nothing was written');
  if (!sightings.some(({ tags }) => tags.length > 0)) found.push('nothing was read');
  return found;
}

/** What is to be found of a write: all of it, nothing, or either. */
function fateOf({ isCancelled, code, outcome }) {
  if (isCancelled) return 'cancelled';
  if (code === undefined) return 'acknowledged';
  return outcome === 'not-sent' || REFUSALS.has(code) ? 'refused' : 'open';
}

function concerns(touch, { tenant, unitStart, end }) {
  return touch.tenant === tenant && unitStart <= touch.end && end >= touch.begin;
}

function generationKey({ tenant, generation }) {
  return `${tenant}/${generation}`;
}

function countKeys(rows) {
  const counts = new Map();
  for (const { key } of rows) counts.set(key, (counts.get(key) ?? 0) + 1);
  return counts;
}
