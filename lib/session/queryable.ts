import { type BoundQuery, SurrealQueryable } from 'surrealdb';
import type { CallOptions } from './call.js';
import { QueryConnection, type QueryRoad } from './query-connection.js';

/** The SDK does not export the class of its queries. */
type Query<R extends unknown[]> = ReturnType<typeof SurrealQueryable.prototype.query<R>>;

/** The SDK's queries, by one road. */
export class RoadQueryable extends SurrealQueryable {
  readonly #connection: QueryConnection;

  /** @param options of the queries made by this object; without them those of the unit of work hold */
  constructor(road: QueryRoad, options?: CallOptions) {
    const connection = new QueryConnection(road, options);
    // The SDK's own type for its connection is not exported; QueryConnection has what the builders call.
    super(connection as never, undefined);
    this.#connection = connection;
  }

  override query<R extends unknown[] = unknown[]>(query: string, bindings?: Record<string, unknown>): Query<R>;
  override query<R extends unknown[] = unknown[]>(query: BoundQuery<R>): Query<R>;
  override query<R extends unknown[]>(query: string | BoundQuery<R>, bindings?: Record<string, unknown>): Query<R> {
    const built = super.query<R>(query as string, bindings);
    this.#connection.takeAsText(built.inner);
    return built;
  }
}
