// Processes that do something when they are asked to, over IPC: applications and the load generator.
import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** The asking side: one process, which ends with the one that started it. */
export class Remote {
  #process;
  #calls = new Map();
  #lastCall = 0;

  /**
   * @param file relative to bench/
   * @param argument for the process, as JSON
   */
  constructor(file, argument = {}) {
    this.#process = fork(fileURLToPath(new URL(`../${file}`, import.meta.url)), [JSON.stringify(argument)]);
    this.#process.on('message', ({ id, result, error }) => {
      const { resolve, reject } = this.#calls.get(id);
      this.#calls.delete(id);
      if (error === undefined) resolve(result);
      else reject(new Error(`${file}: ${error}`));
    });
    this.#process.once('exit', (code) => {
      for (const { reject } of this.#calls.values()) reject(new Error(`${file} ended with code ${code}`));
    });
  }

  call(name, argument) {
    return new Promise((resolve, reject) => {
      const id = ++this.#lastCall;
      this.#calls.set(id, { resolve, reject });
      this.#process.send({ id, name, argument });
    });
  }

  stop() {
    this.#process.disconnect();
  }
}

/** The answering side. */
export function answer(handlers) {
  process.on('message', async ({ id, name, argument }) => {
    try {
      process.send({ id, result: await handlers[name](argument) });
    } catch (error) {
      process.send({ id, error: String(error?.stack ?? error) });
    }
  });
  process.once('disconnect', () => process.exit());
}

/** What the process was started with. */
export const argument = () => JSON.parse(process.argv[2]);
