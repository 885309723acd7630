import { createHash } from 'node:crypto';
import { queryAsRoot } from './raw-client.mjs';

/** Tenants of every kind whose sessions or tokens behave differently. */
const KINDS = {
  hourly: { type: 'user', duration: 'FOR TOKEN 1h, FOR SESSION NONE' },
  token: { type: 'user', duration: 'FOR TOKEN 3s, FOR SESSION NONE' },
  brief: { type: 'user', duration: 'FOR TOKEN 3s, FOR SESSION 3s' },
  minted: { type: 'jwt', duration: 'FOR SESSION NONE' },
  passing: { type: 'jwt', duration: 'FOR SESSION 3s' },
};
const TENANTS = {
  t0: KINDS.hourly,
  t1: KINDS.token,
  t2: KINDS.token,
  t3: KINDS.brief,
  t4: KINDS.minted,
  t5: KINDS.minted,
  t6: KINDS.passing,
  t7: KINDS.passing,
};

export const TENANT_IDS = Object.keys(TENANTS);

/**
 * The tenants as the operator sees them: defined, given new credentials, removed, and defined again as another
 * generation, in a namespace of its own. Keeps what the checkers must know of that.
 */
export class Tenants {
  /** What the applications' stores should have, by id. */
  records = new Map();
  /** Every generation there ever was. */
  generations = [];
  /** When somebody was at a tenant's credentials or sessions, so that its own calls may fail. */
  touches = [];
  #server;

  constructor(server) {
    this.#server = server;
  }

  /** Defines the tenant's next generation. */
  async define(id) {
    const generation = this.generations.filter(({ tenant }) => tenant === id).length + 1;
    const namespace = `${id}_g${generation}`;
    await queryAsRoot(
      this.#server,
      `DEFINE NAMESPACE IF NOT EXISTS ${namespace}; USE NS ${namespace}; DEFINE DATABASE IF NOT EXISTS main; USE DB main;
       DEFINE TABLE IF NOT EXISTS row SCHEMALESS`,
    );
    this.generations.push({ tenant: id, generation, namespace, hasBriefSessions: TENANTS[id].duration.endsWith('3s') });
    return await this.#giveCredentials(id, namespace, generation, 1);
  }

  /** Gives the tenant another password or key. @returns its new record */
  async rotate(id) {
    const { namespace, metadata } = this.records.get(id);
    return await this.#giveCredentials(id, namespace, metadata.generation, metadata.rotation + 1);
  }

  /** Removes the tenant's way in, or all of it. Its record stays as it is: the stores do not know. */
  async remove(id, what) {
    const { namespace } = this.records.get(id);
    const way = TENANTS[id].type === 'user' ? 'USER' : 'ACCESS';
    const sql = {
      namespace: `REMOVE NAMESPACE IF EXISTS ${namespace}`,
      access: `USE NS ${namespace} DB main; REMOVE ${way} IF EXISTS app ON DATABASE`,
    };
    await queryAsRoot(this.#server, sql[what]);
    this.#current(id).removed = what;
  }

  /** Takes note that from now on nobody may be served as this generation. */
  isGone(id) {
    this.#current(id).goneAt = Date.now();
  }

  /** Says that the tenant's calls may fail until the returned function is called. */
  touch(id) {
    const touch = { tenant: id, begin: Date.now(), end: Infinity };
    this.touches.push(touch);
    return () => (touch.end = Date.now());
  }

  /** All rows that are there, of every generation that still has a database. */
  async rows() {
    const rows = [];
    for (const { tenant, generation, namespace, removed } of this.generations) {
      if (removed === 'namespace') continue;
      const results = await queryAsRoot(this.#server, `USE NS ${namespace} DB main; SELECT key, tag FROM row`);
      rows.push(...results[1].map(({ key, tag }) => ({ tenant, generation, key, tag })));
    }
    return rows;
  }

  async #giveCredentials(id, namespace, generation, rotation) {
    const { type, duration } = TENANTS[id];
    const secret = createHash('sha512').update(`${namespace}/${rotation}`).digest('hex');
    const statement = {
      user: `DEFINE USER OVERWRITE app ON DATABASE PASSWORD '${secret}' ROLES EDITOR DURATION ${duration}`,
      jwt: `DEFINE ACCESS OVERWRITE app ON DATABASE TYPE JWT ALGORITHM HS512 KEY '${secret}' DURATION ${duration}`,
    };
    await queryAsRoot(this.#server, `USE NS ${namespace} DB main; ${statement[type]}`);
    const credentials = {
      user: { type, username: 'app', password: secret },
      jwt: { type, access: 'app', key: secret, algorithm: 'HS512', roles: ['Editor'] },
    };
    const metadata = { generation, rotation };
    const record = { id, namespace, database: 'main', credentials: credentials[type], metadata };
    this.records.set(id, record);
    return record;
  }

  /** The present generation of each tenant. */
  latest() {
    return TENANT_IDS.map((id) => this.#current(id));
  }

  #current(id) {
    return this.generations.findLast(({ tenant }) => tenant === id);
  }
}
