import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

const ASK_MILLIS = 60_000;
const EXIT_MILLIS = 10_000;

/** The application processes, and what they have noted so far. Whoever starts them ends them with `close()` or `kill()`. */
export class Applications {
  calls = [];
  writes = [];
  sightings = [];
  #children;

  constructor(count) {
    this.#children = Array.from(
      { length: count },
      (_, number) => new Application(number, (entry) => this.#take(entry)),
    );
  }

  get count() {
    return this.#children.length;
  }

  /** Asks all of them at once. @returns the answers in their order */
  async ask(command, argumentOf = () => undefined) {
    return await Promise.all(this.#children.map((child) => child.ask(command, argumentOf(child.number))));
  }

  /** Closes all. @returns for each 0 when it ended by itself in time, else what happened */
  async close() {
    return await Promise.all(this.#children.map((child) => child.close()));
  }

  kill() {
    this.#children.forEach((child) => child.kill());
  }

  #take(entry) {
    const lists = { call: this.calls, write: this.writes, sighting: this.sightings };
    lists[entry.type].push(entry);
  }
}

class Application {
  number;
  #process = fork(fileURLToPath(new URL('./application.mjs', import.meta.url)), { execArgv: [] });
  #asked = new Map();
  #lastId = 0;
  #exit = once(this.#process, 'exit').then(([code, signal]) => signal ?? code);

  constructor(number, take) {
    this.number = number;
    this.#process.on('message', ({ entries, id, result, error }) => {
      entries?.forEach(take);
      const asked = this.#asked.get(id);
      if (error === undefined) asked?.resolve(result);
      else asked?.reject(new Error(`application ${number}: ${error}`));
    });
    void this.#exit.then((how) => {
      for (const { reject } of this.#asked.values()) reject(new Error(`application ${number} ended: ${how}`));
    });
  }

  ask(command, argument) {
    const id = ++this.#lastId;
    let timer;
    return new Promise((resolve, reject) => {
      const late = () => reject(new Error(`application ${this.number} did not answer "${command}"`));
      timer = setTimeout(late, ASK_MILLIS);
      this.#asked.set(id, { resolve, reject });
      this.#process.send({ id, command, argument }, (error) => error && reject(error));
    }).finally(() => {
      clearTimeout(timer);
      this.#asked.delete(id);
    });
  }

  async close() {
    await this.ask('close');
    const timer = setTimeout(() => this.kill(), EXIT_MILLIS);
    const exit = await this.#exit;
    clearTimeout(timer);
    return exit;
  }

  kill() {
    this.#process.kill('SIGKILL');
  }
}
