/** One timer for any number of deadlines: one for each call would be the dearest thing about it. Keeps no process alive. */
export class DeadlineTimer {
  readonly #onDue: (now: number) => void;
  #timer: NodeJS.Timeout | undefined;
  #at = Infinity;

  /** @param onDue called when the first deadline has come; it sees to what is due, and names the next by `by()` */
  constructor(onDue: (now: number) => void) {
    this.#onDue = onDue;
  }

  /** Sees to it that it is called by then, in milliseconds since 1970. */
  by(deadline: number): void {
    if (deadline >= this.#at) return;
    clearTimeout(this.#timer);
    this.#at = deadline;
    this.#timer = setTimeout(() => this.#due(), Math.max(1, deadline - Date.now())).unref();
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#at = Infinity;
  }

  #due(): void {
    this.#at = Infinity;
    this.#onDue(Date.now());
  }
}
