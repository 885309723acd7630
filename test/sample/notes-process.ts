import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const MAIN = fileURLToPath(new URL('../../sample/notes/dist/main.js', import.meta.url));

/** The built sample in a process of its own. */
export interface NotesProcess {
  /** All that it printed. */
  readonly output: string;
  readonly port: number;
  readonly url: string;
  /** Ends it as Ctrl-C or an orchestrator does. @returns its exit code, or the signal that ended it */
  stop(signal?: 'SIGTERM' | 'SIGINT' | 'SIGKILL'): Promise<number | string | null>;
}

/** Starts the sample and waits until it listens. Whoever calls stops it. */
export async function startNotes(data: string, env: NodeJS.ProcessEnv = {}): Promise<NotesProcess> {
  const { child, printed } = runNotes(data, env);
  const port = await new Promise<number>((resolve, reject) => {
    const look = () => {
      const found = /Open http:\/\/localhost:(\d+)[\s\S]*stops it/.exec(printed());
      if (found) resolve(Number(found[1]));
    };
    child.stdout?.on('data', look);
    child.once('exit', (code) => reject(new Error(`The sample ended with ${code} before it listened:\n${printed()}`)));
  });
  return {
    get output() {
      return printed();
    },
    port,
    url: `http://127.0.0.1:${port}`,
    stop: async (signal = 'SIGTERM') => {
      if (child.exitCode === null && child.signalCode === null) {
        child.kill(signal);
        await once(child, 'exit');
      }
      return child.signalCode ?? child.exitCode;
    },
  };
}

/** Runs the sample where it is expected to end by itself. */
export async function failNotes(data: string, env: NodeJS.ProcessEnv): Promise<{ code: number; output: string }> {
  const { child, printed } = runNotes(data, env);
  const [code] = (await once(child, 'close')) as [number];
  return { code, output: printed() };
}

function runNotes(data: string, env: NodeJS.ProcessEnv): { child: ChildProcess; printed: () => string } {
  if (!existsSync(MAIN)) throw new Error('The sample is not built. Run: npm run build && npm run build -w notes');
  const child = spawn(process.execPath, [MAIN], {
    // Without what the person who runs the tests has set: these tests are about the embedded engine.
    env: {
      PATH: process.env.PATH,
      NO_COLOR: '1',
      PORT: '0',
      NOTES_DATA: data,
      // Tests sign in more often than people do.
      NOTES_ATTEMPTS_PER_MINUTE: '100000',
      ...env,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text) => (output += text));
  return { child, printed: () => output };
}

/** A folder for one test file, and how to remove it. */
export async function temporaryFolder(): Promise<{ path: string; remove: () => Promise<void> }> {
  const path = await mkdtemp(join(tmpdir(), 'notes-'));
  return { path, remove: () => rm(path, { recursive: true, force: true }) };
}
