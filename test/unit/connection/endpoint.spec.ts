import { describe, expect, it } from '@jest/globals';
import { backoffDelay } from '../../../lib/connection/backoff.js';
import { parseEndpoint, redactUrl } from '../../../lib/connection/endpoint.js';

describe('parseEndpoint', () => {
  it.each([
    ['ws://localhost:8000', ['ws://localhost:8000/rpc']],
    ['wss://db.example.com/surreal/rpc', ['wss://db.example.com/surreal/rpc']],
    [
      ['ws://a:1', 'ws://b:2/rpc'],
      ['ws://a:1/rpc', 'ws://b:2/rpc'],
    ],
  ])('%j is sockets to %j', (url, expected) => {
    expect(parseEndpoint(url)).toMatchObject({ type: 'socket', urls: expected.map((one) => new URL(one)) });
  });

  it.each(['mem://', 'surrealkv://data/notes', 'rocksdb:///var/lib/notes'])('%s is the embedded engine', (url) => {
    expect(parseEndpoint(url)).toMatchObject({ type: 'embedded', url });
  });

  it.each([
    ['http://localhost:8000', 'SESSIONS_UNSUPPORTED'],
    ['https://db.example.com', 'SESSIONS_UNSUPPORTED'],
    ['localhost:8000', 'INVALID_OPTIONS'],
    ['ws://', 'INVALID_OPTIONS'],
    ['postgres://a', 'INVALID_OPTIONS'],
    ['ws://root:pa55@localhost', 'INVALID_OPTIONS'],
    [[], 'INVALID_OPTIONS'],
    [['mem://', 'ws://a'], 'INVALID_OPTIONS'],
  ])('refuses %j with %s', (url, code) => {
    expect(() => parseEndpoint(url)).toThrow(expect.objectContaining({ code }));
  });

  it('R7: shows no user, password or query of a url', () => {
    expect(redactUrl('ws://root:pa55@host:1/rpc?token=t#h')).toBe('ws://host:1/rpc');
    expect(redactUrl('http://root:pa/ss@host')).toBe('http://host');
    expect(redactUrl('http://root:p@ss@host/rpc')).toBe('http://host/rpc');
    expect(() => parseEndpoint('ftp://root:pa55@host')).toThrow(
      expect.objectContaining({ message: expect.not.stringContaining('pa55') }),
    );
  });
});

describe('backoffDelay', () => {
  const backoff = { firstMillis: 100, maxMillis: 1_000 };

  it('doubles up to its bound, and spreads over the upper half', () => {
    expect([1, 2, 3, 4, 5, 50].map((attempt) => backoffDelay(backoff, attempt, () => 1))).toEqual([
      100, 200, 400, 800, 1_000, 1_000,
    ]);
    expect(backoffDelay(backoff, 3, () => 0)).toBe(200);
  });
});
