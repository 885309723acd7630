import { Injectable } from '@nestjs/common';
import {
  InjectSurreal,
  type JwtCredentials,
  RecordId,
  type Surreal,
  type Tenant,
  type TenantStore,
  type UserCredentials,
} from 'nestjs-surreal';
import type { Durations } from '../settings.js';

/** A tenant as the central database keeps it. */
export interface TenantRecord {
  id: RecordId<'tenant', string>;
  namespace: string;
  database: string;
  credentials: UserCredentials | JwtCredentials;
  metadata: { name: string };
  /** False until its database is set up; until then nobody finds the tenant. */
  is_ready: boolean;
  /** What its people's tokens are signed with. */
  account_key: string;
  /** What its database was set up with; undefined before the first set-up, and for data of the sample's first version. */
  schema?: { version: number; durations: Durations };
}

/** The tenants, from table `tenant` of the central database, which no tenant's session can reach. */
@Injectable()
export class TenantRegistry implements TenantStore {
  constructor(@InjectSurreal() private readonly central: Surreal) {}

  /** What the library asks for each request whose tenant it does not remember. */
  async findByIdentifier(identifier: string): Promise<Tenant | undefined> {
    const tenant = await this.central.select<TenantRecord>(new RecordId('tenant', identifier));
    if (!tenant?.is_ready) return undefined;
    const { namespace, database, credentials, metadata } = tenant;
    return { id: identifier, namespace, database, credentials, metadata };
  }

  /** All tenants by what anybody may know of them. */
  async list(): Promise<{ id: string; name: string }[]> {
    const [tenants] = await this.central.query<[{ id: string; name: string }[]]>(
      'SELECT record::id(id) AS id, metadata.name AS name FROM tenant WHERE is_ready ORDER BY id',
    );
    return tenants;
  }
}
