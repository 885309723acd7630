// Installs the library as users get it, from a packed tarball, into copies of the two applications in test/packed (an ES
// module on Nest 12, CommonJS on Nest 11), and compiles, starts, asks and stops them.
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const APPLICATIONS = ['esm-nest12', 'cjs-nest11'];
const START_MILLIS = 30_000;
const STOP_MILLIS = 10_000;

const directory = await mkdtemp(join(tmpdir(), 'nestjs-surreal-packed-'));
try {
  await run(process.execPath, ['scripts/prepare.mjs'], ROOT);
  const { stdout } = await run('npm', ['pack', '--silent', '--pack-destination', directory], ROOT);
  const tarball = join(directory, stdout.trim().split('\n').at(-1));
  const failures = [];
  for (const name of APPLICATIONS) {
    const begin = performance.now();
    try {
      await check(name, tarball);
      console.log(`check-packed: ${name} passed in ${seconds(begin)} s`);
    } catch (error) {
      failures.push(name);
      console.error(`check-packed: ${name} failed\n${error.stdout ?? ''}${error.stderr ?? ''}${error.stack}`);
    }
  }
  if (failures.length > 0) process.exitCode = 1;
} finally {
  await rm(directory, { recursive: true, force: true });
}

async function check(name, tarball) {
  // Outside of the repository, so that nothing is resolved from its node_modules.
  const application = join(directory, name);
  await cp(join(ROOT, 'test/packed', name), application, { recursive: true });
  const manifestFile = join(application, 'package.json');
  const manifest = JSON.parse(await readFile(manifestFile, 'utf8'));
  manifest.dependencies['nestjs-surreal'] = `file:${tarball}`;
  await writeFile(manifestFile, JSON.stringify(manifest));

  const install = ['install', '--no-audit', '--no-fund', '--prefer-offline', '--no-package-lock', '--loglevel=error'];
  await run('npm', install, application);
  await run('npm', ['run', '--silent', 'build'], application);
  const main = await readFile(join(application, 'dist/app.module.js'), 'utf8');
  const load = manifest.type === 'module' ? /from ["']nestjs-surreal["']/ : /require\(["']nestjs-surreal["']\)/;
  assert.match(main, load, 'The compiled application loads the library in the other module system.');
  await answers(application);
}

/** Starts the application, asks it as clients would, stops it by SIGTERM, and sees it end by itself. */
async function answers(application) {
  const child = spawn(process.execPath, ['dist/main.js'], { cwd: application, stdio: ['ignore', 'pipe', 'pipe'] });
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text) => (stderr += text));
  const closed = once(child, 'close');
  try {
    const [url] = await withLimit(
      START_MILLIS,
      'It did not start',
      Promise.race([once(createInterface(child.stdout), 'line'), closed.then(() => ['(ended)'])]),
    );
    assert.match(url, /^http:/, `It ended instead of listening:\n${stderr}`);

    const ask = async (method, tenant, body) => {
      const response = await fetch(`${url}/notes`, {
        method,
        headers: { 'content-type': 'application/json', ...(tenant ? { 'x-tenant-id': tenant } : {}) },
        body: body && JSON.stringify(body),
      });
      return { status: response.status, body: await response.json() };
    };
    assert.deepEqual(await ask('POST', 'acme', { text: 'hello' }), { status: 201, body: { text: 'hello' } });
    assert.deepEqual(await ask('GET', 'acme'), { status: 200, body: { tenant: 'acme', texts: ['hello'] } });
    assert.equal((await ask('GET', undefined)).status, 400, 'A request without a tenant is refused with 400.');
    assert.equal((await ask('GET', 'nobody')).status, 404, 'An unknown tenant is refused with 404.');

    child.kill('SIGTERM');
    const [code, signal] = await withLimit(STOP_MILLIS, 'It did not end by itself after SIGTERM', closed);
    assert.deepEqual({ code, signal }, { code: 0, signal: null }, `It did not end well:\n${stderr}`);
  } catch (error) {
    error.message += stderr === '' ? '' : `\nIt wrote to stderr:\n${stderr}`;
    throw error;
  } finally {
    child.kill('SIGKILL');
    await closed;
  }
}

async function run(command, args, cwd) {
  return await promisify(execFile)(command, args, { cwd, maxBuffer: 64 * 1024 * 1024 });
}

async function withLimit(millis, message, promise) {
  let timer;
  const limit = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${message} within ${millis / 1000} s.`)), millis);
  });
  try {
    return await Promise.race([promise, limit]);
  } finally {
    clearTimeout(timer);
  }
}

function seconds(begin) {
  return ((performance.now() - begin) / 1000).toFixed(1);
}
