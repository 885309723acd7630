import { fork, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { ControlAnswer, ControlCalls, ControlRequest } from './control.js';

const START_TIMEOUT_MILLIS = 30_000;
const CALL_TIMEOUT_MILLIS = 10_000;
const STDERR_TAIL_LENGTH = 4_096;

interface PendingCall {
  resolve: (result: unknown) => void;
  reject: (error: Error) => void;
}

/**
 * The server's process as the test's process sees it. Whoever started it must end it with `stop()` or `kill()`; until
 * then it keeps the test's process alive. It ends by itself when the test's process dies.
 */
export class ServerChild {
  /** Settles when the process is gone and everything it wrote has been read. */
  readonly gone: Promise<void>;
  readonly #process: ChildProcess;
  readonly #calls = new Map<number, PendingCall>();
  #lastCall = 0;
  #stderr = '';
  #end: string | undefined;

  private constructor(process: ChildProcess) {
    this.#process = process;
    process.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-STDERR_TAIL_LENGTH);
    });
    process.on('message', (answer: ControlAnswer) => this.#settle(answer));
    this.gone = new Promise((resolve) => {
      process.once('error', (error) => resolve(this.#ended(`could not be run: ${error.message}`)));
      process.once('close', (code, signal) => resolve(this.#ended(`ended with ${signal ?? `code ${String(code)}`}`)));
    });
  }

  /**
   * Starts a server. @returns the process and the port it listens on.
   * @throws Error with the reason, and what the process wrote to stderr if it died; nothing is left running then.
   */
  static async start(argument: ControlCalls['start']['argument']): Promise<{ child: ServerChild; port: number }> {
    // A debugger or loader flag of the test runner would stop or break the server.
    const { NODE_OPTIONS: _, ...env } = process.env;
    const child = new ServerChild(
      fork(fileURLToPath(new URL('./server.process.js', import.meta.url)), [], {
        execArgv: [],
        env,
        stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      }),
    );
    try {
      const { port } = await child.call('start', argument, START_TIMEOUT_MILLIS);
      return { child, port };
    } catch (error) {
      await child.kill();
      throw error;
    }
  }

  /** Whether the process still runs. */
  get isRunning(): boolean {
    return this.#end === undefined;
  }

  /**
   * Asks the server's process for something and waits for its acknowledgement.
   * @throws Error with the server's reason, when the process is gone, or when it did not answer in time.
   */
  call<Name extends keyof ControlCalls>(
    name: Name,
    argument: ControlCalls[Name]['argument'],
    timeoutMillis = CALL_TIMEOUT_MILLIS,
  ): Promise<ControlCalls[Name]['result']> {
    if (this.#end !== undefined) return Promise.reject(new Error(this.#end));
    const id = ++this.#lastCall;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#settle({ id, error: `the test server did not answer "${name}" within ${timeoutMillis} ms` });
      }, timeoutMillis);
      this.#calls.set(id, {
        // The server's process answers each name with what ControlCalls promises.
        resolve: (result) => (clearTimeout(timer), resolve(result as ControlCalls[Name]['result'])),
        reject: (error) => (clearTimeout(timer), reject(error)),
      });
      // A failed send means that the process is going; its end settles the call.
      this.#process.send({ id, name, argument } satisfies ControlRequest, () => undefined);
    });
  }

  /** Ends the process at once, as a power cut would. Does nothing if it is gone already. */
  async kill(): Promise<void> {
    this.#process.kill('SIGKILL');
    await this.gone;
  }

  /** Closes sockets and storage and ends the process; kills it if that takes more than 10 s. */
  async stop(): Promise<void> {
    if (!this.isRunning) return;
    // Whatever keeps it from stopping, the process must not outlive this call.
    await this.call('stop', undefined).catch(() => this.kill());
    const timer = setTimeout(() => this.#process.kill('SIGKILL'), CALL_TIMEOUT_MILLIS);
    await this.gone;
    clearTimeout(timer);
  }

  #settle({ id, result, error }: ControlAnswer): void {
    const call = this.#calls.get(id);
    this.#calls.delete(id);
    if (error === undefined) call?.resolve(result);
    else call?.reject(new Error(error));
  }

  #ended(how: string): void {
    const stderr = this.#stderr.trim();
    this.#end = `the test server's process ${how}${stderr === '' ? '' : `. Its last words:\n${stderr}`}`;
    for (const id of [...this.#calls.keys()]) this.#settle({ id, error: this.#end });
    this.#process.removeAllListeners();
  }
}
