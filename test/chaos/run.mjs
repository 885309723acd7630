// Applications of the library under load, while everything around them fails; then checkers say whether all that the library
// promises has held. The seed decides what is done and what fails, and in which order.
//
//   npm run chaos [-- --seconds 60 | --minutes 10] [--seed 1] [--applications 2] [--naive NAME]
import { randomInt } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { SurrealTestServer } from '../../dist/testing/index.js';
import { Applications } from './applications.mjs';
import { check } from './checkers.mjs';
import { Faults } from './faults.mjs';
import { NAIVE_NAMES } from './naive.mjs';
import { report } from './report.mjs';
import { faultSequence } from './schedule.mjs';
import { TENANT_IDS, Tenants } from './tenants.mjs';

const REQUEST_TIMEOUT_MILLIS = 3_000;
/** All that a call waits for together has one limit; the rest is for a machine that is busy with other things. */
const LIMIT_MILLIS = REQUEST_TIMEOUT_MILLIS + 2_000;
/** For what is under way when the load ends. */
const STOP_MILLIS = 2 * LIMIT_MILLIS;
const REACH_MILLIS = 10_000;
/** How long the load goes on after the last fault. What leaks then is not swept away by the next cut. */
const CALM_MILLIS = 1_500;
const SETTLE_MILLIS = 6_000;
const PROGRESS_MILLIS = 10_000;
const WORKERS = 16;

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '60' },
    minutes: { type: 'string' },
    seed: { type: 'string' },
    applications: { type: 'string', default: '2' },
    naive: { type: 'string' },
  },
});
const { naive } = values;
const seed = Number(values.seed ?? randomInt(1_000_000));
const seconds = values.minutes === undefined ? Number(values.seconds) : Number(values.minutes) * 60;
const applicationCount = Number(values.applications);
for (const [name, number] of Object.entries({ seed, seconds, applicationCount })) {
  if (!(number >= 0)) throw new TypeError(`${name} is no number`);
}
if (naive !== undefined && !NAIVE_NAMES.includes(naive))
  throw new TypeError(`--naive is one of ${NAIVE_NAMES.join(', ')}`);
const options = [`--seconds ${seconds} --seed ${seed} --applications ${applicationCount}`, naive && `--naive ${naive}`];
const repeat = `npm run chaos -- ${options.filter(Boolean).join(' ')}`;
console.log(`chaos: ${repeat}`);

const directory = mkdtempSync(join(tmpdir(), 'surreal-chaos-'));
process.once('exit', () => rmSync(directory, { recursive: true, force: true }));
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(130));

const server = await SurrealTestServer.start({ storage: `surrealkv://${directory}/db` });
const tenants = new Tenants(server);
const applications = new Applications(applicationCount);
const faults = new Faults(server, tenants, applications);
let failed = true;
try {
  const before = await prepare();
  await makeTrouble();
  const evidence = await gatherEvidence(before);
  const findings = check(evidence);
  failed = Object.values(findings).some((violations) => violations.length > 0);
  console.log(`\n${report(evidence, faults, findings)}\n`);
} catch (error) {
  console.error(error);
} finally {
  applications.kill();
  await server.stop();
}
console.log(`chaos: ${failed ? 'FAILED' : 'passed'}. The same again: ${repeat}`);
process.exitCode = failed ? 1 : 0;

/** Tenants defined, applications started and warm. @returns what keeps each application alive without a load */
async function prepare() {
  for (const id of TENANT_IDS) await tenants.define(id);
  const { url, root } = server;
  const shared = {
    url,
    root,
    tenants: [...tenants.records.values()],
    requestTimeoutMillis: REQUEST_TIMEOUT_MILLIS,
    naive,
  };
  await applications.ask('start', (application) => ({ ...shared, application }));
  await applications.ask('reach', () => ({ limitMillis: REACH_MILLIS }));
  return await applications.ask('resources');
}

/** The load, and faults for as long as was asked for. */
async function makeTrouble() {
  await applications.ask('load', (application) => ({ seed, application, tenants: TENANT_IDS, workers: WORKERS }));
  const begin = Date.now();
  const end = begin + seconds * 1_000;
  let nextProgress = begin + PROGRESS_MILLIS;
  for (const { pauseMillis, ...fault } of faultSequence(seed, TENANT_IDS)) {
    await sleep(Math.min(pauseMillis, Math.max(0, end - Date.now())));
    if (Date.now() >= end) return;
    await faults.inflict(fault);
    if (Date.now() < nextProgress) continue;
    nextProgress += PROGRESS_MILLIS;
    const after = Math.round((Date.now() - begin) / 1_000);
    console.log(
      `${after} s: ${applications.calls.length} calls, ${faults.cuts} cuts, ${faults.counts.kill ?? 0} kills`,
    );
  }
}

async function gatherEvidence(before) {
  await faults.end();
  await sleep(CALM_MILLIS);
  const reached = (await applications.ask('reach', () => ({ limitMillis: REACH_MILLIS }))).flatMap(
    (results, application) => results.map((result) => ({ application, ...result })),
  );
  const pending = (await applications.ask('stop', () => ({ limitMillis: STOP_MILLIS }))).flat();
  const leftovers = await settle();
  const after = await applications.ask('resources');
  const rows = await tenants.rows();
  const exits = await applications.close();
  const { generations, touches } = tenants;
  const { calls, writes, sightings } = applications;
  return {
    ...{ calls, writes, sightings, pending, rows, generations, touches, reached, limitMillis: LIMIT_MILLIS },
    leftovers: { ...leftovers, sessionsAfterClose: await server.sessions() },
    applications: exits.map((exit, number) => ({ number, before: before[number], after: after[number], exit })),
  };
}

/** What is left on the server when it has had its time to go. */
async function settle() {
  const allowedSessions = applications.count * TENANT_IDS.length;
  for (const deadline = Date.now() + SETTLE_MILLIS; ; await sleep(100)) {
    const [sessions, transactions, liveQueries] = await Promise.all([
      server.sessions(),
      server.openTransactions(),
      server.liveQueries(),
    ]);
    const isSettled = sessions <= allowedSessions && transactions === 0 && liveQueries === 0;
    if (isSettled || Date.now() > deadline) return { sessions, allowedSessions, transactions, liveQueries };
  }
}
