// What a request costs whose handler reads one record: by hand, and with this library.
import { alternate, CONNECTIONS } from './support/alternate.mjs';
import { atLeast, section } from './support/section.mjs';
import { median, round } from './support/statistics.mjs';
import { defineRecordUser, defineTenants, tenant } from './support/tenants.mjs';

const WAYS = {
  shared: '(a) by hand, one shared session (the floor)',
  signin: '(b) by hand, newSession + signin + closeSession',
  token: '(c) by hand, newSession + authenticate + closeSession',
  library: '(d) nestjs-surreal, singleton injection',
  requestScoped: '(e) nestjs-surreal, @InjectRequestSession()',
  recordUser: '(f) nestjs-surreal, as a record user',
};
const COUNTED = 20;

await section(async (server, isQuick) => {
  const acme = { ...tenant(0, 'user'), id: 'acme' };
  await defineTenants(server, [acme]);
  // All get the same request; the token means something to (f) alone.
  const headers = { authorization: `Bearer ${await defineRecordUser(server, acme)}` };
  const { url, root } = server;
  const messages = {};
  const slices = await alternate(
    Object.keys(WAYS),
    'requests.app.mjs',
    (way) => ({ way, server: { url, root }, tenant: acme }),
    {
      ...(isQuick
        ? { rounds: 7, sliceMillis: 500, warmUpMillis: 1_500 }
        : { rounds: 11, sliceMillis: 2_500, warmUpMillis: 4_000 }),
      headers,
      visit: async (way, port) => (messages[way] = await countMessages(server, port, headers)),
    },
  );
  const rates = (way) => slices[way].map(({ requestsPerSecond }) => requestsPerSecond);
  const cpu = (way) => median(slices[way].map(({ cpuMicros }) => cpuMicros));
  const ratio = (way, other) => median(rates(way)) / median(rates(other));
  const table = Object.entries(WAYS).map(([way, name]) => ({
    [`one query per request, ${CONNECTIONS} connections`]: name,
    'requests/s': round(median(rates(way))),
    'against (a)': round(ratio(way, 'shared')),
    'CPU µs/request': round(cpu(way)),
    'messages/request': messages[way],
  }));
  return {
    tables: [table],
    figures: [
      atLeast('throughput, this library against one shared session: (d)/(a)', 0.95, ratio('library', 'shared')),
      atLeast('throughput, against a sign-in per request: (d)/(b)', 30, ratio('library', 'signin')),
      atLeast('throughput, against a cached token per request: (d)/(c)', 2, ratio('library', 'token')),
      atLeast('throughput of a record user against the tenant itself: (f)/(d)', 0.85, ratio('recordUser', 'library')),
    ],
    raw: { slices, messages },
  };
});

/** RPC messages for one request, when nothing else is under way. */
async function countMessages(server, port, headers) {
  server.clearRequests();
  for (let request = 0; request < COUNTED; request++) {
    const response = await fetch(`http://127.0.0.1:${port}/`, { headers: { 'x-tenant-id': 'acme', ...headers } });
    await response.arrayBuffer();
  }
  return server.count() / COUNTED;
}
