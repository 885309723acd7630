// What it costs to know a request's tenant, without a database: more than a bare handler of Nest, in CPU time per request.
import { alternate, CONNECTIONS } from './support/alternate.mjs';
import { below, section } from './support/section.mjs';
import { median, round } from './support/statistics.mjs';
import { tenant } from './support/tenants.mjs';

const WAYS = {
  bare: 'bare Nest, no tenant',
  injected: 'nestjs-surreal: guard, context, injected session',
  parameter: 'nestjs-surreal: guard, context, session as parameter',
  cls: 'nestjs-cls 6.3.1, a write and a read of its store',
  durable: 'durable provider of the tenant',
  requestScope: 'Scope.REQUEST provider of the tenant',
};

await section(async ({ url, root }, isQuick) => {
  const acme = { ...tenant(0), id: 'acme' };
  const slices = await alternate(
    Object.keys(WAYS),
    'plumbing.app.mjs',
    (way) => ({ way, server: { url, root }, tenant: acme }),
    isQuick
      ? { rounds: 7, sliceMillis: 400, warmUpMillis: 1_500 }
      : { rounds: 15, sliceMillis: 1_500, warmUpMillis: 4_000 },
  );
  const rate = (way) => median(slices[way].map(({ requestsPerSecond }) => requestsPerSecond));
  // In pairs, round by round: what slows the machine for some seconds slows both.
  const plumbing = (way) => median(slices[way].map(({ cpuMicros }, index) => cpuMicros - slices.bare[index].cpuMicros));
  const table = Object.entries(WAYS).map(([way, name]) => ({
    [`no database, ${CONNECTIONS} connections`]: name,
    'requests/s': round(rate(way)),
    'against bare': round(rate(way) / rate('bare')),
    'CPU µs/request': round(median(slices[way].map(({ cpuMicros }) => cpuMicros))),
    'more than bare, µs': round(plumbing(way)),
  }));
  const own = Math.max(plumbing('injected'), plumbing('parameter'));
  return {
    tables: [table],
    figures: [
      below("plumbing per request, less than nestjs-cls's", plumbing('cls'), own, ' µs'),
      below("plumbing per request, less than a third of Scope.REQUEST's", plumbing('requestScope') / 3, own, ' µs'),
    ],
    raw: { slices },
  };
});
