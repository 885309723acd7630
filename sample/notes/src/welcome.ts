import type { SetUpTenants } from './tenants/tenant-setup.js';

/** What is printed once the application listens: where to look, and what to try. */
export function welcome({ port, added, updated }: SetUpTenants & { port: number }): string {
  const at = (host: string) => `http://${host}:${port}`;
  const body = (values: object) => `-H "content-type: application/json" -d '${JSON.stringify(values)}'`;
  const ada = body({ name: 'Ada', email: 'ada@example.com', password: 'correct horse battery' });
  const access = `sed 's/.*"access":"\\([^"]*\\)".*/\\1/'`;
  const news = [
    ...(added.length > 0 ? [`First start: set up the tenants ${added.join(', ')}.`] : []),
    ...(updated.length > 0 ? [`Another schema: updated the tenants ${updated.join(', ')}.`] : []),
  ];
  return `${news.map((line) => `\n${line}`).join('')}
Notes is running. Open ${at('localhost')}
Or one tenant's own address: ${at('acme.localhost')} or ${at('globex.localhost')}
What it understands: ${at('localhost')}/docs

Or try it here. Somebody signs up at acme, and with the same email at globex: two people, who know nothing of each other.
The second time, it is /signin instead of /signup.

  ACME=$(curl -s ${at('localhost')}/signup -H "x-tenant-id: acme" ${ada} | ${access})
  GLOBEX=$(curl -s ${at('localhost')}/signup -H "x-tenant-id: globex" ${ada} | ${access})

A note of acme, the notes at acme, those at globex (none), and acme's token at globex (refused):

  curl ${at('localhost')}/notes -H "x-tenant-id: acme" -H "authorization: Bearer $ACME" ${body({ title: 'Hello from acme' })}
  curl ${at('localhost')}/notes -H "x-tenant-id: acme" -H "authorization: Bearer $ACME"
  curl ${at('localhost')}/notes -H "x-tenant-id: globex" -H "authorization: Bearer $GLOBEX"
  curl ${at('localhost')}/notes -H "x-tenant-id: globex" -H "authorization: Bearer $ACME"

Ctrl-C stops it.`;
}
