import type { EmbeddedTransport } from './embedded-transport.js';

type InfoForRoot = [{ status: 'OK'; result: { users: Record<string, string> } } | { status: 'ERR'; result: string }];

/**
 * Defines the service's own user in an embedded datastore that has no root user yet, as `surreal start --user --pass`
 * does with a new one; so an application can move between an embedded engine and a server with the same options.
 */
export async function ensureRootUser(
  transport: EmbeddedTransport,
  { username, password }: { username: string; password: string },
): Promise<void> {
  const [info] = await transport.send<InfoForRoot>({ method: 'query', params: ['INFO FOR ROOT', {}] });
  if (info.status !== 'OK') throw new Error(`INFO FOR ROOT failed: ${info.result}`);
  if (Object.keys(info.result.users).length > 0) return;
  // DEFINE takes a parameter for the name, but a literal for the password.
  const define = `DEFINE USER $name ON ROOT PASSWORD ${JSON.stringify(password)} ROLES OWNER`;
  const [defined] = await transport.send<[{ status: string }]>({
    method: 'query',
    params: [define, { name: username }],
  });
  if (defined.status !== 'OK') throw new Error(`The root user ${JSON.stringify(username)} could not be defined`);
}
