import { appendFileSync, closeSync, mkdtempSync, openSync, readSync, rmSync, truncateSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** One RPC request that a test server took. Never has parameters: those carry passwords and tokens. */
export interface RecordedRequest {
  method: string;
  /** Id of the session the request named; absent for the socket's own default session. */
  session?: string;
  /** The SurrealQL text of a `query`, without its bindings. */
  sql?: string;
}

/**
 * Appends one request to the log at `path`, synchronously. Written before the request is executed, so that whoever has
 * an answer finds its request in the log.
 */
export function openRequestLog(path: string): (request: RecordedRequest) => void {
  const file = openSync(path, 'a');
  return (request) => appendFileSync(file, `${JSON.stringify(request)}\n`);
}

/**
 * Reads what the server's process has logged, synchronously. A file and not a message between the processes, since a
 * message may arrive after the answer whose request it reports.
 *
 * Owns a temporary directory from `open()` to `close()`; both can be called again and again.
 */
export class RequestLogReader {
  #directory: string | undefined;
  #file: number | undefined;
  #offset = 0;
  #unfinished = Buffer.alloc(0);
  #requests: RecordedRequest[] = [];

  /** Makes the log's directory if there is none. @returns the path the server's process is to append to. */
  open(): string {
    this.#directory ??= mkdtempSync(join(tmpdir(), 'surreal-test-server-'));
    const path = join(this.#directory, 'requests.jsonl');
    this.#file ??= openSync(path, 'a+');
    return path;
  }

  /** Every request since the last `clear()`, in the order the server took them. */
  read(): readonly RecordedRequest[] {
    const chunk = Buffer.alloc(65_536);
    while (this.#file !== undefined) {
      const length = readSync(this.#file, chunk, 0, chunk.length, this.#offset);
      if (length === 0) break;
      this.#offset += length;
      this.#parse(chunk.subarray(0, length));
    }
    return this.#requests;
  }

  /** Forgets what was logged so far, and gives its space back. */
  clear(): void {
    if (this.#directory !== undefined) truncateSync(this.open(), 0);
    this.#offset = 0;
    this.#unfinished = Buffer.alloc(0);
    this.#requests = [];
  }

  /** Reads the rest and removes the directory; what was read stays readable. */
  close(): void {
    this.read();
    if (this.#file !== undefined) closeSync(this.#file);
    if (this.#directory !== undefined) rmSync(this.#directory, { recursive: true, force: true });
    this.#file = undefined;
    this.#directory = undefined;
    this.#offset = 0;
  }

  #parse(chunk: Buffer): void {
    // Bytes, not text: a chunk may end within a character.
    const bytes = Buffer.concat([this.#unfinished, chunk]);
    const end = bytes.lastIndexOf(0x0a) + 1;
    this.#unfinished = bytes.subarray(end);
    for (const line of bytes.subarray(0, end).toString('utf8').split('\n')) {
      if (line !== '') this.#requests.push(JSON.parse(line) as RecordedRequest);
    }
  }
}
