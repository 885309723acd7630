import { CborCodec, parseRpcError, ServerError, Uuid } from 'surrealdb';
import type { RawData } from 'ws';

/** A request as it came over a socket. */
export interface WireRequest {
  id: unknown;
  method: string;
  params: unknown[] | undefined;
  session: Uuid | undefined;
  txn: Uuid | undefined;
}

/** An error as it goes over a socket. */
export interface WireError {
  code?: number;
  message: string;
  kind: string;
  details?: unknown;
  cause?: WireError;
}

const codec = new CborCodec({});

/** Bytes of a message to a client. */
export function encodeMessage(message: object): Uint8Array {
  return codec.encode(message);
}

/**
 * Frames that answer no call, from the odd to the unreadable: CBOR that is no answer, an answer to nobody, text, and bytes
 * that are no CBOR.
 */
export function garbageFrames(): (Uint8Array | string)[] {
  const parseError = { code: -32700, kind: 'Validation', message: 'Parse error' };
  const odd = [
    {},
    { id: null, error: parseError },
    { id: 'nobody', result: [] },
    { result: { id: 'none', action: 'CREATE' } },
  ];
  return [...[...odd, [1, 2], null].map((value) => codec.encode(value)), 'no CBOR', '', Buffer.from([0xff, 0x00])];
}

/**
 * Reads a message from a client. @returns the request, or what is wrong with it where the client can be told.
 * @throws Error when it cannot be decoded at all.
 */
export function decodeRequest(data: RawData): WireRequest | { id: unknown; error: ServerError } {
  const frame = codec.decode<unknown>(bytesOf(data));
  if (typeof frame !== 'object' || frame === null || Object.getPrototypeOf(frame) !== Object.prototype) {
    throw new TypeError('a request is an object');
  }
  const { id = null, method, params, session, txn } = frame as Record<string, unknown>;
  const isValid =
    typeof method === 'string' &&
    (params === undefined || params === null || Array.isArray(params)) &&
    [session, txn].every((value) => value === undefined || value === null || isUuid(value));
  if (!isValid) return { id, error: serverError('Validation', -32600, 'Invalid request', { kind: 'InvalidRequest' }) };
  return { id, method, params: (params as unknown[] | null) ?? undefined, session: uuidOf(session), txn: uuidOf(txn) };
}

/** An error of the server's own that reaches clients like one of the engine's. */
export function serverError(
  kind: string,
  code: number,
  message: string,
  details?: Record<string, unknown>,
): ServerError {
  return parseRpcError({ kind, code, message, ...(details === undefined ? {} : { details }) });
}

/** What clients are told about a failure: the engine's error unchanged, anything else as an internal one. */
export function toWireError(error: unknown): WireError {
  if (error instanceof ServerError) return { code: error.code, ...withoutCode(error) };
  return { code: -32000, kind: 'Internal', message: error instanceof Error ? error.message : String(error) };
}

function withoutCode({ kind, message, details, cause }: ServerError): WireError {
  return {
    kind,
    message,
    ...(details === undefined ? {} : { details }),
    ...(cause === undefined ? {} : { cause: withoutCode(cause) }),
  };
}

// A copy: the codec reads the buffer from its start, and ws hands out windows into a larger one.
function bytesOf(data: RawData): Uint8Array {
  return new Uint8Array(Array.isArray(data) ? Buffer.concat(data) : data);
}

function isUuid(value: unknown): boolean {
  return (
    value instanceof Uuid || (typeof value === 'string' && /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(value))
  );
}

function uuidOf(value: unknown): Uuid | undefined {
  if (value instanceof Uuid) return value;
  return typeof value === 'string' ? new Uuid(value) : undefined;
}
