// Runs jest. With arguments it hands them on; without any it runs every test: two files at a time, since most tests wait for
// another process, and then, one after the other, those that a busy machine would disturb: they make trouble and look at times.
//
//   node scripts/test.mjs [arguments of jest]
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const ALONE = 'test/(chaos|isolation)/|test/integration/(faults|leaks|limits|reconnect|shutdown)\\.';

const given = process.argv.slice(2);
const runs =
  given.length > 0
    ? [given]
    : [
        ['--maxWorkers=2', '--testPathIgnorePatterns', ALONE],
        ['--runInBand', ALONE],
      ];
const failed = runs.map(jest).some((status) => status !== 0);
process.exitCode = failed ? 1 : 0;

function jest(args) {
  const flags = ['--experimental-vm-modules', '--disable-warning=ExperimentalWarning'];
  const { status } = spawnSync(process.execPath, [...flags, 'node_modules/jest/bin/jest.js', ...args], {
    cwd: ROOT,
    stdio: 'inherit',
  });
  return status ?? 1;
}
