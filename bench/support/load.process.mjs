// The load generator: keep-alive connections that always have one request under way each. Raw sockets, since an HTTP client
// would cost more than the application that is measured.
import { once } from 'node:events';
import { connect } from 'node:net';
import { answer } from './remote.mjs';

class Connection {
  #socket;
  #text = '';
  #settle;

  constructor(port) {
    this.#socket = connect({ port, host: '127.0.0.1', noDelay: true });
    this.#socket.setEncoding('latin1');
    this.#socket.on('data', (text) => this.#receive(text));
    this.#socket.on('error', (error) => this.#end(error));
    this.#socket.on('close', () => this.#end(new Error('The application closed the connection.')));
  }

  async opened() {
    await once(this.#socket, 'connect');
    return this;
  }

  get isOpen() {
    return this.#socket.writable;
  }

  /** Sends a request and resolves when all of its answer is there. */
  request(text) {
    return new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
      this.#socket.write(text);
    });
  }

  #receive(text) {
    this.#text = this.#text === '' ? text : this.#text + text;
    const head = this.#text.indexOf('\r\n\r\n');
    if (head === -1) return;
    const length = /\r\ncontent-length: (\d+)/i.exec(this.#text)?.[1];
    if (length === undefined) return this.#end(new Error(`An answer without a length: ${this.#text}`));
    if (this.#text.length < head + 4 + Number(length)) return;
    const whole = this.#text;
    this.#text = '';
    if (whole.startsWith('HTTP/1.1 200 ')) this.#settle.resolve();
    else this.#end(new Error(whole));
  }

  #end(error) {
    this.#socket.destroy();
    this.#settle?.reject(error);
  }
}

/** By port: opening a connection is no part of what is measured. */
const pools = new Map();

async function pool(port, count) {
  const open = (pools.get(port) ?? []).filter(({ isOpen }) => isOpen);
  const missing = Array.from({ length: count - open.length }, () => new Connection(port).opened());
  pools.set(port, [...open, ...(await Promise.all(missing))]);
  return pools.get(port);
}

/** Keeps `connections` requests under way for some time. Resolves when the last one is answered. */
async function load({ port, connections, millis, headers = {} }) {
  const lines = Object.entries({ host: 'localhost', 'x-tenant-id': 'acme', ...headers }).map((header) =>
    header.join(': '),
  );
  const text = `GET / HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`;
  const open = await pool(port, connections);
  const begin = performance.now();
  let requests = 0;
  const drive = async (connection) => {
    for (; performance.now() - begin < millis; requests++) await connection.request(text);
  };
  await Promise.all(open.map(drive));
  return { requests, millis: performance.now() - begin };
}

answer({ load });
