/** How often what was noted goes to the parent. */
const FLUSH_MILLIS = 250;

/**
 * What an application did and saw: facts only, the checkers judge. Entries are
 * - `call`: one call of the library, its time and how it ended;
 * - `write`: rows that are to stand or fall together, and how the call that decides about them ended;
 * - `sighting`: what a reader was shown.
 */
export class Journal {
  #application;
  #send;
  #entries = [];
  #open = new Set();
  #known = new WeakSet();
  #flushing;

  /** @param send takes a list of entries */
  constructor(application, send) {
    this.#application = application;
    this.#send = send;
    this.#flushing = setInterval(() => this.flush(), FLUSH_MILLIS);
  }

  /** Calls that have not ended. */
  get pending() {
    return [...this.#open];
  }

  note(entry) {
    this.#entries.push({ application: this.#application, ...entry });
  }

  /** For an error that came by no call: nothing is to be lost on the way. */
  noteUnknown(error, who) {
    if (this.#known.has(error)) return;
    this.#known.add(error);
    this.note({ type: 'call', unitStart: Date.now(), ...who, step: 'operation', ...instant(), ...failureOf(error) });
  }

  flush() {
    if (this.#entries.length > 0) this.#send(this.#entries.splice(0));
  }

  close() {
    clearInterval(this.#flushing);
    this.flush();
  }

  /** Takes note of a call from its begin to its end, and passes on what came of it. */
  async call(step, who, work) {
    const call = { type: 'call', application: this.#application, ...who, step, start: Date.now() };
    this.#open.add(call);
    try {
      return await work();
    } catch (error) {
      Object.assign(call, failureOf(error));
      this.#known.add(error);
      throw error;
    } finally {
      this.#open.delete(call);
      this.note({ ...call, end: Date.now() });
    }
  }
}

/** One unit of work, and what it is known by in the journal. */
export class Unit {
  #journal;
  #tenant;
  #generation;
  #start = Date.now();

  constructor(journal, tenant) {
    this.#journal = journal;
    this.#tenant = tenant;
  }

  get #who() {
    return { tenant: this.#tenant, generation: this.#generation, unitStart: this.#start };
  }

  /** The record that the application's store gave for this unit. */
  enter(tenant) {
    this.#generation = tenant.metadata.generation;
  }

  async call(step, work) {
    return await this.#journal.call(step, this.#who, work);
  }

  /**
   * Takes note of rows that are to be there, or not, as the call says that decides about them.
   * @param deciding undefined when there is none: the rows were cancelled, or never committed
   */
  async write(keys, deciding) {
    if (deciding === undefined) return this.#wrote({ keys, isCancelled: true });
    try {
      const result = await deciding();
      this.#wrote({ keys });
      return result;
    } catch (error) {
      this.#wrote({ keys, ...failureOf(error) });
      throw error;
    }
  }

  /** The unit ended with an error; most have come by one of its calls. */
  failed(error) {
    this.#journal.noteUnknown(error, this.#who);
  }

  saw(sighting) {
    this.#journal.note({ type: 'sighting', ...this.#who, ...sighting });
  }

  #wrote(write) {
    this.#journal.note({ type: 'write', ...this.#who, ...write });
  }
}

function instant() {
  return { start: Date.now(), end: Date.now() };
}

// Errors of the library have a code that is a word; the SDK's live queries wrap them. Others go by their name.
function failureOf(error) {
  const { code, outcome } = typeof error.cause?.code === 'string' && error.code === undefined ? error.cause : error;
  const failure = { code: typeof code === 'string' ? code : error.name, message: error.message };
  return outcome === undefined ? failure : { ...failure, outcome };
}
