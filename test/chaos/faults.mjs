import { setTimeout as sleep } from 'node:timers/promises';

/** Does to the server and its tenants what the schedule says, and counts it. */
export class Faults {
  /** By kind, how often. */
  counts = {};
  #server;
  #tenants;
  #applications;
  #holds = new Set();
  /** By tenant, what ends the time in which its calls may fail. */
  #removed = new Map();

  constructor(server, tenants, applications) {
    this.#server = server;
    this.#tenants = tenants;
    this.#applications = applications;
  }

  /** How many times sockets were cut: all at once, or the one of a call. */
  get cuts() {
    const { cut = 0, loseCall = 0, loseAnswer = 0 } = this.counts;
    return cut + loseCall + loseAnswer;
  }

  async inflict({ kind, ...parameters }) {
    this.counts[kind] = (this.counts[kind] ?? 0) + 1;
    await this.#kinds[kind](parameters);
  }

  /** Ends all that goes on, so that nothing stands in the way of a recovery. */
  async end() {
    await Promise.all([...this.#holds].map((release) => release()));
    for (const { tenant, goneAt } of this.#tenants.latest()) {
      if (goneAt !== undefined) await this.inflict({ kind: 'define', tenant });
    }
  }

  #kinds = {
    cut: () => this.#server.dropConnections(),
    loseCall: ({ filter }) => this.#server.loseCall(filter),
    loseAnswer: ({ filter }) => this.#server.loseAnswer(filter),
    hold: (parameters) => this.#hold(parameters),
    holdTooLong: (parameters) => this.#hold(parameters),
    garbage: () => this.#server.sendGarbage(),
    kill: async ({ millis }) => {
      await this.#server.kill();
      await sleep(millis);
      await this.#server.restart();
      // Nobody reads them, and they fill a disk in time.
      this.#server.clearRequests();
    },
    rotate: async ({ tenant }) => {
      const isOver = this.#tenants.touch(tenant);
      await this.#put(await this.#tenants.rotate(tenant));
      isOver();
    },
    evict: async ({ tenant }) => {
      const isOver = this.#tenants.touch(tenant);
      await this.#applications.ask('evict', () => ({ tenant }));
      isOver();
    },
    // Over when it is defined again, see below.
    remove: async ({ tenant, what }) => {
      this.#removed.set(tenant, this.#tenants.touch(tenant));
      await this.#tenants.remove(tenant, what);
      await this.#applications.ask('evict', () => ({ tenant }));
      this.#tenants.isGone(tenant);
    },
    define: async ({ tenant }) => {
      await this.#put(await this.#tenants.define(tenant));
      this.#removed.get(tenant)?.();
    },
  };

  async #put(record) {
    await this.#applications.ask('put', () => record);
  }

  // The sequence goes on meanwhile.
  async #hold({ filter, millis }) {
    const held = await this.#server.holdAnswers(filter);
    const release = async () => {
      clearTimeout(timer);
      this.#holds.delete(release);
      await held.release().catch(() => undefined);
    };
    const timer = setTimeout(release, millis);
    this.#holds.add(release);
  }
}
