import { Remote } from './remote.mjs';

export const CONNECTIONS = 64;

/**
 * Loads several applications in slices that take turns, so that the machine's noise hits them alike. Each is a process of its
 * own: one that has ever run code in an AsyncLocalStorage pays for it at every promise, whoever made it.
 * @param file of the application's process, which answers `port` and `cpu`
 * @param argumentOf the argument for one way's process
 * @param options `headers` of every request, besides the tenant's
 * @returns by way: in each round, requests per second and CPU time of the application per request in µs
 */
export async function alternate(ways, file, argumentOf, { rounds, sliceMillis, warmUpMillis, visit, headers }) {
  const generator = new Remote('support/load.process.mjs');
  const applications = new Map(ways.map((way) => [way, new Remote(file, argumentOf(way))]));
  const ports = new Map();
  for (const [way, application] of applications) ports.set(way, await application.call('port'));
  const slice = async (way, millis) => {
    const application = applications.get(way);
    const before = await application.call('cpu');
    const done = await generator.call('load', { port: ports.get(way), connections: CONNECTIONS, millis, headers });
    const cpu = (await application.call('cpu')) - before;
    return { requestsPerSecond: (done.requests * 1_000) / done.millis, cpuMicros: cpu / done.requests };
  };
  for (const way of ways) await slice(way, warmUpMillis);
  const slices = Object.fromEntries(ways.map((way) => [way, []]));
  for (let round = 0; round < rounds; round++) {
    for (const way of inTurn(ways, round)) slices[way].push(await slice(way, sliceMillis));
  }
  for (const way of ways) await visit?.(way, ports.get(way));
  for (const remote of [generator, ...applications.values()]) remote.stop();
  return slices;
}

/** Another order in each round, so that none always comes after the same one. */
function inTurn(ways, round) {
  const start = round % ways.length;
  const turned = [...ways.slice(start), ...ways.slice(0, start)];
  return round % 2 === 0 ? turned : turned.reverse();
}
