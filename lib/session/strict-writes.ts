import type { BoundQuery } from 'surrealdb';
import { NotAllowedError } from '../surreal.errors.js';
import type { RpcQueryResult } from './query-connection.js';

/** What the SDK's builders make of a write; values are parameters in all of it. */
const WRITE = /^(CREATE|INSERT|UPDATE|UPSERT|RELATE|DELETE) /;
/** With these the database returns no record whatever happens, or may have good reasons to. */
const MAY_BE_EMPTY = /^INSERT(?: RELATION)? IGNORE | WHERE | RETURN (?:NONE|DIFF)(?: |$)/;
/** Before a record was made there is none to return, nor after it was deleted. */
const RETURNS_NOTHING = /^(?:CREATE|INSERT|UPSERT|RELATE) .* RETURN BEFORE(?: |$)|^DELETE .* RETURN AFTER(?: |$)/s;
/** Of these a record is asked for by its id; without it they may just have found nothing. */
const NEEDS_ONLY = /^(?:UPDATE|DELETE) (?!ONLY )/;
const INSERTED = /^INSERT(?: RELATION)?(?: INTO \$\w+)? \$(\w+)/;
const RELATED = /^RELATE .*?\$(\w+)->\$\w+->\$(\w+)/;

/**
 * Holds a write of the typed builders to have returned what it was to write: PERMISSIONS and roles that forbid a write make
 * the database answer with nothing rather than an error.
 * @throws NotAllowedError when a record is missing in the answer
 */
export function assertWritten(
  { query, bindings }: Pick<BoundQuery, 'query' | 'bindings'>,
  results: RpcQueryResult[],
): void {
  const [, verb] = WRITE.exec(query) ?? [];
  if (verb === undefined || [MAY_BE_EMPTY, RETURNS_NOTHING, NEEDS_ONLY].some((form) => form.test(query))) return;
  const [answer] = results;
  if (answer?.status !== 'OK') return;
  const written = countOf(answer.result);
  // All others name one record, or none, of which they make one.
  const [, ...parameters] = INSERTED.exec(query) ?? RELATED.exec(query) ?? [];
  const asked = parameters.reduce((count, name) => count * countOf(bindings[name]), 1);
  if (written >= asked) return;
  throw new NotAllowedError(
    `${verb} returned ${written} of ${asked} records (strictWrites): PERMISSIONS or the session's role do not allow to write it, ` +
      `or to see what was written${verb === 'UPDATE' || verb === 'DELETE' ? ', or there is no such record' : ''}.`,
  );
}

function countOf(value: unknown): number {
  if (Array.isArray(value)) return value.length;
  return value === undefined || value === null ? 0 : 1;
}
