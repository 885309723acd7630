import { SurrealTestServer } from '../../dist/testing/index.js';
import { round } from './statistics.mjs';

/**
 * Runs a section in its own process, with a test server: started by run.mjs it answers there, started by hand it prints.
 * @param measure takes the server and whether it is to be quick; gives `{ tables, figures, raw }`
 */
export async function section(measure) {
  // Whoever started it is gone, so nobody would end it.
  process.once('disconnect', () => process.exit(1));
  const server = await SurrealTestServer.start();
  const result = await measure(server, process.argv.includes('--quick'));
  await server.stop();
  if (process.send === undefined) console.log(JSON.stringify(result, null, 2));
  else await new Promise((resolve) => process.send(result, resolve));
  // The SDK leaves timers behind, for an hour each.
  process.exit();
}

/** A figure that is to be `target` or more. */
export const atLeast = (name, target, measured, unit = '') => ({
  figure: name,
  target: `≥ ${target}${unit}`,
  measured: `${round(measured)}${unit}`,
  reached: measured >= target,
});

/** A figure that is to be `target` or less. */
export const atMost = (name, target, measured, unit = '') => ({
  figure: name,
  target: `≤ ${round(target)}${unit}`,
  measured: `${round(measured)}${unit}`,
  reached: measured <= target,
});

/** A figure that is to be less than `limit`. */
export const below = (name, limit, measured, unit = '') => ({
  figure: name,
  target: `< ${round(limit)}${unit}`,
  measured: `${round(measured)}${unit}`,
  reached: measured < limit,
});
