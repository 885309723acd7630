// An application whose one handler reads one record, in one of six ways.
import { UseGuards } from '@nestjs/common';
import { RecordId } from 'surrealdb';
import {
  InjectRequestSession,
  InMemoryTenantStore,
  RecordUserGuard,
  TenantGuard,
  TenantSession,
} from '../dist/index.js';
import { controller, serve } from './support/application.mjs';
import { argument } from './support/remote.mjs';
import { connectSdk, surrealModule } from './support/tenants.mjs';

const { way, server, tenant } = argument();
const RECORD = new RecordId('note', 'one');
const { namespace, database, credentials } = tenant;
const user = { namespace, database, username: credentials.username, password: credentials.password };

/** By hand: one session that all requests share. */
async function shared() {
  const session = await (await connectSdk(server)).newSession();
  await session.signin(user);
  class Notes {
    handle() {
      return session.select(RECORD);
    }
  }
  return { controllers: [controller(Notes)] };
}

/** By hand: a session of its own for each request, as the SDK's documentation shows. */
async function perRequest(enter) {
  const sdk = await connectSdk(server);
  class Notes {
    async handle() {
      const session = await sdk.newSession();
      try {
        await enter(session);
        return await session.select(RECORD);
      } finally {
        await session.closeSession();
      }
    }
  }
  return { controllers: [controller(Notes)] };
}

async function cachedToken() {
  const sdk = await connectSdk(server);
  const session = await sdk.newSession();
  const { access } = await session.signin(user);
  await sdk.close();
  return access;
}

function library({ decorate, guards = [TenantGuard] } = {}) {
  class Notes {
    constructor(db) {
      this.db = db;
    }

    handle() {
      return this.db.select(RECORD);
    }
  }
  const type = controller(Notes, { inject: [TenantSession], decorators: [UseGuards(...guards)] });
  decorate?.(type);
  return { imports: [surrealModule(server, new InMemoryTenantStore([tenant]))], controllers: [type] };
}

const WAYS = {
  shared,
  signin: () => perRequest((session) => session.signin(user)),
  token: async () => {
    const token = await cachedToken();
    return perRequest((session) => session.authenticate(token));
  },
  library: () => library(),
  requestScoped: () => library({ decorate: (type) => InjectRequestSession()(type, undefined, 0) }),
  recordUser: () => library({ guards: [TenantGuard, RecordUserGuard] }),
};

await serve(await WAYS[way]());
