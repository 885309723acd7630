// An application whose one handler answers the id of the request's tenant, without a database; each way finds it differently.
import { Inject, Injectable, Scope, UseGuards } from '@nestjs/common';
import { ContextIdFactory, REQUEST } from '@nestjs/core';
import { ClsModule, ClsService } from 'nestjs-cls';
import { InMemoryTenantStore, TenantGuard, TenantSession } from '../dist/index.js';
import { controller, serve } from './support/application.mjs';
import { argument } from './support/remote.mjs';
import { surrealModule } from './support/tenants.mjs';

const { way, server, tenant } = argument();
const HEADER = 'x-tenant-id';

/** No tenant at all: what the others are compared with. */
function bare() {
  class Hello {
    handle() {
      return { tenant: tenant.id };
    }
  }
  return { controllers: [controller(Hello)] };
}

function injected() {
  class Hello {
    constructor(db) {
      this.db = db;
    }

    handle() {
      return { tenant: this.db.tenant.id };
    }
  }
  return guarded(controller(Hello, { inject: [TenantSession], decorators: [UseGuards(TenantGuard)] }));
}

function parameter() {
  class Hello {
    handle(db) {
      return { tenant: db.tenant.id };
    }
  }
  TenantSession()(Hello.prototype, 'handle', 0);
  return guarded(controller(Hello, { decorators: [UseGuards(TenantGuard)] }));
}

function guarded(type) {
  return { imports: [surrealModule(server, new InMemoryTenantStore([tenant]))], controllers: [type] };
}

function cls() {
  class Hello {
    constructor(store) {
      this.store = store;
    }

    handle() {
      return { tenant: this.store.get('tenant') };
    }
  }
  const setup = (store, request) => store.set('tenant', request.headers[HEADER]);
  return {
    imports: [ClsModule.forRoot({ global: true, middleware: { mount: true, setup } })],
    controllers: [controller(Hello, { inject: [ClsService] })],
  };
}

function requestScope() {
  class CurrentTenant {
    constructor(request) {
      this.id = request.headers[HEADER];
    }
  }
  Injectable({ scope: Scope.REQUEST })(CurrentTenant);
  Inject(REQUEST)(CurrentTenant, undefined, 0);
  return provided(CurrentTenant);
}

/** A subtree of providers for each tenant, which lives on: its request is `{ tenant }`. */
function durable() {
  class CurrentTenant {
    constructor(payload) {
      this.id = payload.tenant;
    }
  }
  Injectable({ scope: Scope.REQUEST, durable: true })(CurrentTenant);
  Inject(REQUEST)(CurrentTenant, undefined, 0);
  const trees = new Map();
  ContextIdFactory.apply({
    attach(contextId, request) {
      const id = request.headers[HEADER];
      if (!trees.has(id)) trees.set(id, ContextIdFactory.create());
      const tree = trees.get(id);
      return { resolve: (host) => (host.isTreeDurable ? tree : contextId), payload: { tenant: id } };
    },
  });
  return provided(CurrentTenant);
}

function provided(CurrentTenant) {
  class Hello {
    constructor(current) {
      this.current = current;
    }

    handle() {
      return { tenant: this.current.id };
    }
  }
  return { controllers: [controller(Hello, { inject: [CurrentTenant] })], providers: [CurrentTenant] };
}

const WAYS = { bare, injected, parameter, cls, requestScope, durable };

await serve(WAYS[way]());
