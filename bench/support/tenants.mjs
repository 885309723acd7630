import { SignJWT } from 'jose';
import { createRemoteEngines, Surreal } from 'surrealdb';
import { WebSocket } from 'ws';
import { fromHeader, SurrealModule } from '../../dist/index.js';

/** How many tenants are defined by one query. */
const BATCH = 100;

/** The tenant of one number, whose `note:one` every section reads. */
export function tenant(number, type = 'jwt') {
  const id = `${type}${number}`;
  return { id, namespace: id, database: 'main', credentials: CREDENTIALS[type](id) };
}

const CREDENTIALS = {
  jwt: (id) => ({ type: 'jwt', access: 'app', key: `the key of ${id}, and of no other tenant`, roles: ['Editor'] }),
  user: (id) => ({ type: 'user', username: 'app', password: `the password of ${id}` }),
};

export const tenants = (count, type) => Array.from({ length: count }, (_, number) => tenant(number, type));

/** The SDK's own connection, as the SDK's documentation makes it. */
export async function connectSdk({ url, root }) {
  const sdk = new Surreal({ engines: createRemoteEngines(), websocketImpl: WebSocket });
  await sdk.connect(url, { authentication: () => root });
  return sdk;
}

/** Defines tenants on the server, with a namespace each. */
export async function defineTenants(server, list) {
  const sdk = await connectSdk(server);
  for (let first = 0; first < list.length; first += BATCH) {
    await sdk.query(
      list
        .slice(first, first + BATCH)
        .map(definition)
        .join('\n'),
    );
  }
  await sdk.close();
}

function definition({ namespace, database, credentials }) {
  const entrance =
    credentials.type === 'jwt'
      ? `DEFINE ACCESS ${credentials.access} ON DATABASE TYPE JWT ALGORITHM HS512 KEY '${credentials.key}'`
      : `DEFINE USER ${credentials.username} ON DATABASE PASSWORD '${credentials.password}' ROLES EDITOR`;
  return `DEFINE NAMESPACE ${namespace}; USE NS ${namespace}; DEFINE DATABASE ${database}; USE DB ${database};
    DEFINE TABLE note PERMISSIONS FULL; CREATE note:one SET text = 'hello'; ${entrance};`;
}

const PEOPLE_KEY = 'the key of the access method of people';

/** Lets a record user into a tenant, and gives that user's token. */
export async function defineRecordUser(server, { namespace, database }) {
  const sdk = await connectSdk(server);
  await sdk.query(`USE NS ${namespace} DB ${database};
    DEFINE TABLE user PERMISSIONS FOR select WHERE id = $auth; CREATE user:one;
    DEFINE ACCESS people ON DATABASE TYPE RECORD WITH JWT ALGORITHM HS512 KEY '${PEOPLE_KEY}'`);
  await sdk.close();
  return await new SignJWT({ ns: namespace, db: database, ac: 'people', id: 'user:one' })
    .setProtectedHeader({ alg: 'HS512', typ: 'JWT' })
    .setExpirationTime('2h')
    .sign(new TextEncoder().encode(PEOPLE_KEY));
}

/** The library's module for these tenants, named by a header. */
export function surrealModule({ url, root }, store, options = {}) {
  return SurrealModule.forRoot({
    url,
    authentication: root,
    ...options,
    tenants: { strategies: [fromHeader('x-tenant-id')], store, ...options.tenants },
  });
}
