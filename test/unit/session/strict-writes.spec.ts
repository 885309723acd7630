import { describe, expect, it } from '@jest/globals';
import { assertWritten } from '../../../lib/session/strict-writes.js';

const ok = (result: unknown) => [{ status: 'OK' as const, time: '1ms', result }];

/** The texts as the SDK's builders make them: `authentication.spec.ts` runs the builders themselves. */
describe('assertWritten', () => {
  it.each<[string, Record<string, unknown>, unknown]>([
    ['CREATE $a', {}, []],
    ['CREATE ONLY $a CONTENT $b', {}, undefined],
    ['CREATE ONLY $a RETURN AFTER', {}, null],
    ['UPDATE ONLY $a MERGE $b', {}, undefined],
    ['DELETE ONLY $a RETURN BEFORE', {}, undefined],
    ['UPSERT $a', {}, []],
    ['INSERT INTO $t $a', { a: [{}, {}] }, [{}]],
    ['INSERT $a', { a: {} }, []],
    ['INSERT RELATION INTO $t $a', { a: [{}] }, []],
    ['RELATE  ONLY $a->$b->$c', { a: 1, c: 1 }, undefined],
    ['RELATE  $a->$b->$c CONTENT $d', { a: [1, 2], c: [1, 2, 3] }, [1, 2, 3, 4, 5]],
  ])('refuses %s that returned too little', (query, bindings, result) => {
    expect(() => assertWritten({ query, bindings }, ok(result))).toThrow(
      expect.objectContaining({ code: 'NOT_ALLOWED' }),
    );
  });

  it.each<[string, Record<string, unknown>, unknown]>([
    ['CREATE $a', {}, [{}]],
    ['CREATE ONLY $a', {}, {}],
    ['INSERT INTO $t $a', { a: [{}, {}] }, [{}, {}]],
    ['INSERT IGNORE INTO $t $a', { a: [{}, {}] }, []],
    ['INSERT RELATION IGNORE $a', { a: {} }, []],
    ['UPDATE $a MERGE $b', {}, []],
    ['DELETE $a', {}, []],
    ['UPDATE ONLY $a MERGE $b WHERE c', {}, undefined],
    ['CREATE ONLY $a RETURN NONE', {}, undefined],
    ['CREATE ONLY $a RETURN NONE TIMEOUT 1s', {}, undefined],
    ['UPDATE ONLY $a RETURN DIFF', {}, []],
    // Before it was written there was none, after it was deleted there is none.
    ['CREATE ONLY $a CONTENT $b RETURN BEFORE', {}, undefined],
    ['UPSERT ONLY $a MERGE $b RETURN BEFORE', {}, undefined],
    ['INSERT INTO $t $a RETURN BEFORE', { a: [{}] }, []],
    ['RELATE  ONLY $a->$b->$c RETURN BEFORE TIMEOUT 1s', { a: 1, c: 1 }, undefined],
    ['DELETE ONLY $a RETURN AFTER', {}, undefined],
    ['SELECT * FROM $a', {}, []],
    ['RELATE  $a->$b->$c', { a: [1], c: [1, 2] }, [1, 2]],
  ])('lets %s pass', (query, bindings, result) => {
    expect(() => assertWritten({ query, bindings }, ok(result))).not.toThrow();
  });

  it('leaves a statement that failed to say so itself', () => {
    const failed = [{ status: 'ERR' as const, time: '1ms', result: 'why' }];
    expect(() => assertWritten({ query: 'CREATE $a', bindings: {} }, failed)).not.toThrow();
  });
});
