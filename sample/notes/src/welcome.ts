/** What is printed once the application listens: where to look, and what to try. */
export function welcome({ port, added }: { port: number; added: string[] }): string {
  const at = (host: string) => `http://${host}:${port}`;
  return `${added.length > 0 ? `\nFirst start: set up the tenants ${added.join(', ')}.` : ''}
Notes is running. Open ${at('localhost')}
Or one tenant's own address: ${at('acme.localhost')} or ${at('globex.localhost')}

Or try it here. A note of acme, the notes of acme, and the notes of globex (none of acme's):

  curl -X POST ${at('localhost')}/notes -H "x-tenant-id: acme" -H "content-type: application/json" -d "{\\"title\\":\\"Hello from acme\\"}"
  curl ${at('localhost')}/notes -H "x-tenant-id: acme"
  curl ${at('localhost')}/notes -H "x-tenant-id: globex"

Ctrl-C stops it.`;
}
