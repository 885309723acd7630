// Makes a fresh clone ready, so that `npm run demo` and `npm test` each are the one command to type. It runs before
// anything is installed: only Node's own modules here. Silent when there is nothing to do.
//
//   node scripts/prepare.mjs [--sample] [--browser]
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, rmSync, statSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { findChromium } from './chromium.mjs';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
/** What npm and the builds make: newer than any source, and no source itself. */
const MADE = new Set(['dist', 'node_modules', 'data']);

try {
  const { values } = parseArgs({ options: { sample: { type: 'boolean' }, browser: { type: 'boolean' } } });
  checkNode();
  installPackages();
  buildLibrary();
  if (values.sample) buildSamples();
  if (values.browser) installChromium();
} catch (error) {
  console.error(`prepare: ${error.message}`);
  process.exitCode = 1;
}

function checkNode() {
  const { engines } = readJson('package.json');
  const [major, minor] = process.versions.node.split('.').map(Number);
  const isSupported = engines.node.split('||').some((range) => {
    const [, operator, wantedMajor, wantedMinor] = /^\s*(\^|>=)(\d+)\.(\d+)/.exec(range);
    if (major === Number(wantedMajor)) return minor >= Number(wantedMinor);
    return operator === '>=' && major > Number(wantedMajor);
  });
  if (!isSupported)
    throw new Error(`Node ${engines.node} is needed; this is ${process.version} (${process.execPath}).`);
}

function installPackages() {
  if (isInstalled()) return;
  // `dev` in so many words: with NODE_ENV=production npm would leave out the compiler.
  run('installing packages (npm ci)', 'npm', ['ci', '--include=dev', '--no-audit', '--no-fund', '--loglevel=error']);
}

/** By content: the times of the two files say nothing after a checkout. */
function isInstalled() {
  if (!existsSync(join(ROOT, 'node_modules/.package-lock.json'))) return false;
  const wanted = readJson('package-lock.json').packages;
  const installed = readJson('node_modules/.package-lock.json').packages;
  return Object.entries(wanted).every(([path, { version, integrity, optional }]) => {
    // Binaries for other platforms are optional and not there.
    if (!path.includes('node_modules/') || (optional && !(path in installed))) return true;
    return installed[path]?.version === version && installed[path]?.integrity === integrity;
  });
}

function buildLibrary() {
  const sources = ['lib', 'nest-cli.json', 'tsconfig.json', 'tsconfig.build.json'].map((name) => join(ROOT, name));
  build('the library', join(ROOT, 'dist/index.js'), sources, 'node_modules/@nestjs/cli/bin/nest.js', ['build']);
}

function buildSamples() {
  const samples = readdirSync(join(ROOT, 'sample')).map((name) => `sample/${name}`);
  for (const sample of samples.filter((directory) => existsSync(join(ROOT, directory, 'tsconfig.json')))) {
    build(sample, join(ROOT, sample, 'dist/main.js'), [join(ROOT, sample)], 'node_modules/typescript/bin/tsc', [
      '-p',
      `${sample}/tsconfig.json`,
    ]);
  }
}

/** Builds unless `output` is there and newer than every source. */
function build(name, output, sources, command, args) {
  if (existsSync(output) && statSync(output).mtimeMs >= newest(sources)) return;
  const begin = new Date();
  try {
    run(`building ${name}`, process.execPath, [join(ROOT, command), ...args]);
  } catch (error) {
    // The compilers write files in spite of type errors; next time they would pass for a good build.
    rmSync(output, { force: true });
    throw error;
  }
  // A source that was saved while the compiler ran is newer than what it read.
  utimesSync(output, begin, begin);
}

/** The latest change among files and, so that removed files count too, the directories they are in. */
function newest(paths) {
  return Math.max(
    ...paths.map((path) => {
      const stat = statSync(path);
      if (!stat.isDirectory()) return stat.mtimeMs;
      const children = readdirSync(path).filter((name) => !MADE.has(name));
      return Math.max(hasMade(path) ? 0 : stat.mtimeMs, newest(children.map((name) => join(path, name))));
    }),
  );
}

/** Whether a build changes the directory itself, by making its output in it. */
function hasMade(path) {
  return readdirSync(path).some((name) => MADE.has(name));
}

function installChromium() {
  if (findChromium() !== undefined) return;
  const remedy = 'Install Chromium or Chrome, or set CHROMIUM to the path of one.';
  const canInstall = process.getuid?.() === 0 && existsSync('/usr/bin/apt-get');
  if (!canInstall) throw new Error(`No Chromium found for the tests in the browser. ${remedy}`);
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  try {
    run('installing Chromium (apt-get): list of packages', 'apt-get', ['-qq', 'update'], { env });
    run('installing Chromium (apt-get)', 'apt-get', ['-qq', 'install', '-y', '--no-install-recommends', 'chromium'], {
      env,
    });
  } catch (error) {
    throw new Error(`${error.message} ${remedy}`, { cause: error });
  }
  if (findChromium() === undefined) throw new Error(`apt-get installed no Chromium that can be found. ${remedy}`);
}

/** Runs a command, whose output shows only if it fails. */
function run(what, command, args, options = {}) {
  console.error(`prepare: ${what} …`);
  const { status, error, stdout, stderr } = spawnSync(command, args, {
    cwd: ROOT,
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
    stdio: ['ignore', 'pipe', 'pipe'],
    ...options,
  });
  if (status === 0) return;
  process.stderr.write(`${stdout ?? ''}${stderr ?? ''}`);
  throw new Error(error ? `${command}: ${error.message}.` : `${what} failed.`);
}

function readJson(file) {
  return JSON.parse(readFileSync(join(ROOT, file), 'utf8'));
}
