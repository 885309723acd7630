import type { TracedQuery } from '../session/query-tracer.js';

/** What the beginning of a query says of it, in the words of OpenTelemetry's conventions for databases. */
export interface QuerySummary {
  /** `db.operation.name`, as it is written; `BATCH`, or `BATCH SELECT`, for several statements. */
  operation?: string;
  /** `db.query.summary`, such as `SELECT note`; not for several statements, of which there may be any number. */
  summary?: string;
  /** `db.collection.name`, where it was given apart from the text. */
  collection?: string;
  /** `db.stored_procedure.name` */
  procedure?: string;
  /** `db.operation.batch.size` */
  statements?: number;
}

const OPERATION =
  /^(LIVE\s+SELECT|SELECT|CREATE|UPDATE|UPSERT|DELETE|INSERT|RELATE|RETURN|LET|BEGIN|COMMIT|CANCEL|DEFINE|REMOVE|ALTER|INFO|USE|KILL|SHOW|REBUILD|THROW|SLEEP|IF|FOR|ACCESS|OPTION)\b/i;
const PROCEDURE = /^([a-z_]\w*(?:::\w+)+)\s*\(/i;
const NAME = String.raw`(?!ONLY\b)(\$\w+|[a-z_]\w*|\`[^\`]+\`)`;
/** Not a part of something longer: a function, a field, a prefixed text, one of several. */
const END = String.raw`(?!\w|\s*(?:::|[.,('"]))`;
const DIRECT = new RegExp(String.raw`^\w+\s+(?:FROM\s+)?(?:ONLY\s+)?${NAME}${END}`, 'i');
const FROM = new RegExp(String.raw`\bFROM\s+(?:ONLY\s+)?${NAME}${END}`, 'i');
/** Where each operation that has a target names it. */
const TARGETS: Readonly<Record<string, RegExp>> = {
  SELECT: FROM,
  'LIVE SELECT': FROM,
  CREATE: DIRECT,
  UPDATE: DIRECT,
  UPSERT: DIRECT,
  DELETE: DIRECT,
  INSERT: new RegExp(String.raw`^INSERT\s+(?:RELATION\s+)?(?:IGNORE\s+)?INTO\s+${NAME}(?!\w|::|\.)`, 'i'),
  RELATE: new RegExp(String.raw`^RELATE\s+(?:ONLY\s+)?[^>]*?->\s*${NAME}${END}`, 'i'),
};

/** Of a longer text only this much is looked at, so that a query of megabytes takes no longer. */
const MAX_LENGTH = 10_000;

/**
 * Reads off a query what it does and to which table. It looks at the words of the language only, and rather says too
 * little than something that is a value.
 */
export function summarize({ sql, tableOf }: Pick<TracedQuery, 'sql' | 'tableOf'>): QuerySummary {
  const statements = outline(sql.slice(0, MAX_LENGTH));
  if (statements.length > 1) return summarizeBatch(statements, sql.length <= MAX_LENGTH);
  const [text = ''] = statements;
  const procedure = PROCEDURE.exec(text)?.[1];
  if (procedure !== undefined) return { procedure, summary: procedure };
  const operation = operationOf(text);
  if (operation === undefined) return {};
  const target = TARGETS[operation.toUpperCase()]?.exec(text)?.[1];
  if (target === undefined) return { operation, summary: operation };
  if (!target.startsWith('$')) return { operation, summary: `${operation} ${target}` };
  const collection = tableOf(target.slice(1));
  return collection === undefined
    ? { operation, summary: operation }
    : { operation, summary: `${operation} ${collection}`, collection };
}

function summarizeBatch(statements: readonly string[], isWhole: boolean): QuerySummary {
  const [first, ...others] = new Set(statements.map(operationOf));
  const isOne = first !== undefined && others.length === 0;
  return isWhole
    ? { operation: isOne ? `BATCH ${first}` : 'BATCH', statements: statements.length }
    : { operation: 'BATCH' };
}

function operationOf(text: string): string | undefined {
  return OPERATION.exec(text)?.[1]?.replaceAll(/\s+/g, ' ');
}

/** Text in quotes, a comment, the key of a record id, an escaped name; or what opens, closes, or ends a statement. */
const TOKEN =
  /'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|⟨[^⟩]*⟩|--[^\n]*|\/\/[^\n]*|#[^\n]*|\/\*.*?\*\/|`(?:[^`\\]|\\.)*`|[()[\]{};]/gs;

/**
 * The statements of a query without what is inside brackets and quotes: subqueries, values, comments.
 * Each bracket or quote leaves its opening sign, so that nothing moves into the place of a name.
 */
function outline(sql: string): string[] {
  const statements: string[] = [];
  let depth = 0;
  let text = '';
  let end = 0;
  for (const { 0: token, index } of sql.matchAll(TOKEN)) {
    if (depth === 0) text += sql.slice(end, index) + shown(token);
    end = index + token.length;
    if ('([{'.includes(token)) depth++;
    else if (')]}'.includes(token)) depth = Math.max(0, depth - 1);
    else if (token === ';' && depth === 0) {
      statements.push(text);
      text = '';
    }
  }
  if (depth === 0) text += sql.slice(end);
  statements.push(text);
  return statements.map((statement) => statement.trim()).filter((statement) => statement !== '');
}

function shown(token: string): string {
  if (token.startsWith('`') || '([{'.includes(token)) return token;
  if ('\'"⟨'.includes(token[0] as string)) return token[0] as string;
  return ' ';
}
