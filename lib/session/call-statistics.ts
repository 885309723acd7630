import { type SurrealErrorCode, SurrealModuleError } from '../surreal.errors.js';

/** What became of the calls of all units of work, since the start. */
export class CallStatistics {
  /** Queries and other calls that units of work have made. */
  calls = 0;
  /** How many of them failed, by code. Errors of the query's own making (a parse error, THROW) have none. */
  readonly failures: Partial<Record<SurrealErrorCode, number>> = {};

  /** Counts a failure, and hands it back. */
  failed(error: unknown): unknown {
    if (error instanceof SurrealModuleError) this.failures[error.code] = (this.failures[error.code] ?? 0) + 1;
    return error;
  }
}
