import { describe, expect, it } from '@jest/globals';
import { summarize } from '../../../lib/telemetry/query-summary.js';

const tables: Record<string, string> = { bind__1: 'note', bind__2: 'knows', from: 'note' };
const summaryOf = (sql: string) => summarize({ sql, tableOf: (parameter) => tables[parameter] });

describe('summarize', () => {
  it.each([
    ['SELECT * FROM note WHERE a = 1', 'SELECT', 'SELECT note'],
    ['select *, count() from only note', 'select', 'select note'],
    ['  -- all of them\n SELECT (SELECT * FROM person) AS p, 1 FROM note', 'SELECT', 'SELECT note'],
    ["SELECT 'x FROM secret' AS a FROM note", 'SELECT', 'SELECT note'],
    ['SELECT * FROM note:⟨ann@example.com⟩', 'SELECT', 'SELECT note'],
    ['SELECT * FROM note:ann', 'SELECT', 'SELECT note'],
    ['SELECT * FROM `my table`', 'SELECT', 'SELECT `my table`'],
    ['CREATE note CONTENT { text: "a; b" };', 'CREATE', 'CREATE note'],
    ['CREATE ONLY note:one', 'CREATE', 'CREATE note'],
    ['UPDATE note SET text = "FROM secret"', 'UPDATE', 'UPDATE note'],
    ['UPSERT note:1 SET a += 1', 'UPSERT', 'UPSERT note'],
    ['DELETE FROM note', 'DELETE', 'DELETE note'],
    ['INSERT INTO note (a, b) VALUES (1, 2)', 'INSERT', 'INSERT note'],
    ['INSERT RELATION INTO knows { in: a:1, out: a:2 }', 'INSERT', 'INSERT knows'],
    ['RELATE person:ann->knows->person:bob', 'RELATE', 'RELATE knows'],
    ['LIVE  SELECT * FROM note', 'LIVE SELECT', 'LIVE SELECT note'],
    ['RETURN count(SELECT * FROM note)', 'RETURN', 'RETURN'],
    ['DEFINE TABLE note', 'DEFINE', 'DEFINE'],
    ['BEGIN', 'BEGIN', 'BEGIN'],
    // What cannot be told is left out.
    ['SELECT * FROM note, person', 'SELECT', 'SELECT'],
    ['SELECT * FROM type::table("secret")', 'SELECT', 'SELECT'],
    ['SELECT * FROM ONLY $auth', 'SELECT', 'SELECT'],
    ['SELECT * FROM ONLY "secret:1"', 'SELECT', 'SELECT'],
    ['SELECT * FROM (SELECT * FROM note)', 'SELECT', 'SELECT'],
    ["CREATE r'secret:1'", 'CREATE', 'CREATE'],
    ['UPDATE $person.friends', 'UPDATE', 'UPDATE'],
    ['INSERT $bind__9', 'INSERT', 'INSERT'],
  ])('%s', (sql, operation, summary) => {
    expect(summaryOf(sql)).toEqual({ operation, summary });
  });

  it.each([
    ['SELECT * FROM ONLY $bind__1', 'SELECT', 'note'],
    ['CREATE $bind__1 CONTENT $bind__7', 'CREATE', 'note'],
    ['INSERT INTO $bind__1 $bind__12', 'INSERT', 'note'],
    ['DELETE ONLY $bind__1 RETURN BEFORE', 'DELETE', 'note'],
    ['RELATE  ONLY $from->$bind__2->$to', 'RELATE', 'knows'],
    ['LIVE SELECT * FROM $bind__1', 'LIVE SELECT', 'note'],
  ])('takes the table of %s from its parameter', (sql, operation, collection) => {
    expect(summaryOf(sql)).toEqual({ operation, summary: `${operation} ${collection}`, collection });
  });

  it.each([
    ['BEGIN; CREATE note; COMMIT;', 'BATCH', 3],
    ['CREATE note; CREATE person', 'BATCH CREATE', 2],
    ['LET $a = { b: "c;d" }; RETURN $a', 'BATCH', 2],
    ['1; 2', 'BATCH', 2],
  ])('counts the statements of %s', (sql, operation, statements) => {
    expect(summaryOf(sql)).toEqual({ operation, statements });
  });

  it('looks at the beginning only of a long text', () => {
    const list = 'CREATE note; '.repeat(2_000);
    expect(summaryOf(list)).toEqual({ operation: 'BATCH' });
    expect(summaryOf(`INSERT INTO note [${'{ a: 1 }, '.repeat(2_000)}]`)).toEqual({
      operation: 'INSERT',
      summary: 'INSERT note',
    });
  });

  it('names a function that is called', () => {
    expect(summaryOf('fn::mine::add(1)')).toEqual({ procedure: 'fn::mine::add', summary: 'fn::mine::add' });
  });

  it.each(['', ';', 'SELEC 1', '"secret"', '$bind__1', 'CREATED', '/* nothing */', "it's"])(
    'says nothing of %j',
    (sql) => {
      expect(summaryOf(sql)).toEqual({});
    },
  );
});
