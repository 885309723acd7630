// Holds README.md and docs/*.md to what they say:
//  - every `ts` block compiles, strictly, against the built library. Blocks with a title="src/some.ts" are files of one
//    project per document; those without stand alone beside them; `ts fragment` blocks are left out, and counted.
//  - the application of the README's section "Quick start" runs, and the curl commands in its `sh title="try it"` blocks get
//    the answers shown in its `title="answer"` blocks, one each, in order. `…` in an answer stands for any text.
//  - links to files and headings lead somewhere.
//
//   node scripts/check-readme.mjs [DIRECTORY with README.md, default: the repository]
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { isDeepStrictEqual } from 'node:util';
import { readCurls } from './curl.mjs';
import { readAnchors, readBlocks, readLinks } from './markdown.mjs';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const START_MILLIS = 30_000;
const STOP_MILLIS = 5_000;
const COMPILER_OPTIONS = {
  target: 'es2023',
  lib: ['es2023', 'esnext.disposable'],
  module: 'nodenext',
  moduleDetection: 'force',
  types: ['node'],
  rootDir: '.',
  outDir: 'out',
  strict: true,
  noEmitOnError: true,
  // With the blocks at their lines, a stack trace shows where in the document it went wrong.
  inlineSourceMap: true,
  skipLibCheck: true,
  experimentalDecorators: true,
  emitDecoratorMetadata: true,
};

/** Something that a document says and that is not so. */
class Complaint extends Error {}

const source = resolve(process.argv[2] ?? ROOT);
const project = mkdtempSync(join(tmpdir(), 'nestjs-surreal-readme-'));
try {
  const prepared = spawnSync(process.execPath, [join(ROOT, 'scripts/prepare.mjs')], { stdio: 'inherit' });
  if (prepared.status !== 0) throw new Complaint('the library could not be built.');
  const documents = readDocuments();
  checkLinks(documents);
  const count = writeProject(documents);
  compile();
  console.log(`check-readme: ${count.compiled} ts blocks compile, ${count.fragments} fragments were left out`);
  const requests = await runQuickStart(documents[0]);
  console.log(`check-readme: the quick start runs and answers ${requests} requests as shown`);
} catch (error) {
  if (!(error instanceof Complaint)) throw error;
  console.error(`check-readme: ${error.message}`);
  process.exitCode = 1;
} finally {
  rmSync(project, { recursive: true, force: true });
}

/** README.md first. */
function readDocuments() {
  const docs = join(source, 'docs');
  const guides = existsSync(docs) ? readdirSync(docs, { recursive: true }).filter((name) => name.endsWith('.md')) : [];
  return ['README.md', ...guides.sort().map((name) => join('docs', name))].map((name) => {
    if (!existsSync(join(source, name))) throw new Complaint(`there is no ${name} in ${source}.`);
    const text = readFileSync(join(source, name), 'utf8');
    try {
      return { name, text, blocks: readBlocks(text) };
    } catch (error) {
      throw new Complaint(`${name}, ${error.message}`, { cause: error });
    }
  });
}

function checkLinks(documents) {
  const broken = documents.flatMap(({ name, text }) =>
    readLinks(text)
      .filter(({ target }) => !/^[a-z][a-z+.-]*:/i.test(target) && !leadsSomewhere(name, target))
      .map(({ target, line }) => `${name}:${line} links to ${target}, which does not exist.`),
  );
  if (broken.length > 0) throw new Complaint(broken.join('\n'));
}

function leadsSomewhere(document, target) {
  const [path, anchor] = decodeURIComponent(target).split('#');
  const file = path === '' ? join(source, document) : resolve(source, dirname(document), path);
  if (!existsSync(file)) return false;
  return !anchor || !file.endsWith('.md') || readAnchors(readFileSync(file, 'utf8')).has(anchor);
}

/** A directory for each document, with its blocks at the lines where the document has them. */
function writeProject(documents) {
  const count = { compiled: 0, fragments: 0 };
  for (const { name, blocks } of documents) {
    const written = new Set();
    for (const { language, title, flags, line, text } of blocks) {
      const isTypeScript = ['ts', 'typescript'].includes(language);
      if (isTypeScript && flags.includes('fragment')) {
        count.fragments++;
        continue;
      }
      const isFile = title !== undefined && /^[^\s]+\.\w+$/.test(title);
      if (!isTypeScript && !isFile) continue;
      // Beside the titled files, so that a block may import them.
      const file = isFile ? title : `src/block-at-line-${line}.ts`;
      if (written.has(file))
        throw new Complaint(`${name}:${line} has a second file ${file}. Make it a \`ts fragment\`.`);
      written.add(file);
      write(join(name, file), isTypeScript ? '\n'.repeat(line) + text : text);
      if (isTypeScript) count.compiled++;
    }
  }
  return count;
}

function compile() {
  write('package.json', JSON.stringify({ type: 'module' }));
  write('tsconfig.json', JSON.stringify({ compilerOptions: COMPILER_OPTIONS, exclude: ['out', 'node_modules'] }));
  write('out/package.json', JSON.stringify({ type: 'module' }));
  linkPackages();
  const tsc = join(ROOT, 'node_modules/typescript/bin/tsc');
  const { status, stdout } = spawnSync(process.execPath, [tsc, '-p', project, '--pretty', 'false'], {
    cwd: project,
    encoding: 'utf8',
  });
  if (status === 0) return;
  // README.md/src/main.ts(12,3) is README.md:12:3, where the reader finds it.
  const errors = stdout.trim().replaceAll(/^(.*?\.md)[\\/](\S+?)\((\d+),(\d+)\): /gm, '$1:$3:$4 ($2) ');
  throw new Complaint(`the code does not compile:\n${errors}`);
}

/** The packages of the repository, and the library itself under its name. */
function linkPackages() {
  const packages = readdirSync(join(ROOT, 'node_modules')).filter((name) => !name.startsWith('.'));
  mkdirSync(join(project, 'node_modules'));
  for (const name of packages.filter((name) => name !== 'nestjs-surreal')) {
    symlinkSync(join(ROOT, 'node_modules', name), join(project, 'node_modules', name));
  }
  symlinkSync(ROOT, join(project, 'node_modules/nestjs-surreal'));
}

async function runQuickStart({ name, blocks }) {
  const shown = blocks.filter(({ sections }) => sections.some((section) => /^quick start$/i.test(section)));
  const main = shown.find(({ language, title }) => language === 'ts' && title?.endsWith('main.ts'));
  const tries = shown.filter(({ title }) => title === 'try it');
  const answers = shown.filter(({ title }) => title === 'answer').flatMap((block) => readAnswers(name, block));
  if (shown.length === 0) throw new Complaint(`${name} has no section "Quick start" with code.`);
  if (main === undefined) throw new Complaint(`${name}: the quick start has no \`ts title="src/main.ts"\` block.`);
  if (tries.length === 0) throw new Complaint(`${name}: the quick start has no \`sh title="try it"\` block.`);
  const requests = tries.flatMap((block) => readRequests(name, block));
  if (requests.length !== answers.length) {
    throw new Complaint(
      `${name}: the quick start has ${requests.length} curl commands, but ${answers.length} answers in \`title="answer"\` blocks.`,
    );
  }
  const program = join('out', name, main.title.replace(/\.ts$/, '.js'));
  await runApplication(program, Number(requests[0].url.port || 80), async (port) => {
    for (const [index, request] of requests.entries()) await compare(name, request, answers[index], port);
  });
  return requests.length;
}

/** Several answers may follow each other in a block: JSON values, or lines where it is not JSON. */
function readAnswers(document, { language, line, text }) {
  if (language !== 'json') return text.trimEnd().split('\n').map((answer) => ({ line, answer })); // prettier-ignore
  const answers = [];
  let begun = '';
  for (const part of text.split('\n')) {
    begun += part;
    try {
      answers.push({ line, answer: JSON.parse(begun) });
      begun = '';
    } catch {
      // Not the whole value yet.
    }
  }
  if (begun.trim() !== '') throw new Complaint(`${document}:${line} the answer is not JSON: ${begun.trim()}`);
  return answers;
}

function readRequests(document, { line, text }) {
  try {
    return readCurls(text).map((request) => ({ ...request, line }));
  } catch (error) {
    throw new Complaint(`${document}:${line} ${error.message}`, { cause: error });
  }
}

async function compare(document, { command, url, init, line }, expected, port) {
  const address = new URL(url);
  address.hostname = '127.0.0.1';
  address.port = String(port);
  const response = await fetch(address, init);
  const body = await response.text();
  const isText = typeof expected.answer === 'string';
  const answer = isText ? body : parseOr(body);
  if (matches(answer, expected.answer)) return;
  throw new Complaint(
    `the answer is not the one shown.\n  ${document}:${line} ${command}\n  ${document}:${expected.line} shows ` +
      `${isText ? expected.answer : JSON.stringify(expected.answer)}\n  but it was (${response.status}) ${body}`,
  );
}

function parseOr(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** Deep equality, except that `…` in an expected text stands for any text. */
function matches(actual, expected) {
  if (typeof expected === 'string' && expected.includes('…')) {
    const parts = expected.split('…').map((part) => part.replaceAll(/[\\^$.*+?()[\]{}|]/g, '\\$&'));
    return typeof actual === 'string' && new RegExp(`^${parts.join('.+')}$`, 's').test(actual);
  }
  if (typeof expected !== 'object' || expected === null) return isDeepStrictEqual(actual, expected);
  if (typeof actual !== 'object' || actual === null || Array.isArray(actual) !== Array.isArray(expected)) return false;
  const keys = Object.keys(expected);
  return keys.length === Object.keys(actual).length && keys.every((key) => matches(actual[key], expected[key]));
}

/** Starts a program, waits until it listens on the port that it shows or on that of PORT, and stops it in the end. */
async function runApplication(program, shownPort, work) {
  const freePort = await findFreePort();
  const isTaken = await answersOn(shownPort);
  const child = spawn(process.execPath, ['--enable-source-maps', program], {
    cwd: project,
    env: { ...process.env, PORT: String(freePort) },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text) => (output += text));
  const closed = once(child, 'close');
  try {
    const ports = isTaken ? [freePort] : [freePort, shownPort];
    const port = await waitForPort(ports, () => child.exitCode !== null || child.signalCode !== null);
    if (port === undefined) {
      const hint = isTaken ? ` Port ${shownPort} is in use by another program.` : '';
      throw new Complaint(`the quick start does not listen on port ${shownPort}.${hint} It wrote:\n${output}`);
    }
    await work(port);
  } catch (error) {
    if (error instanceof Complaint) throw error;
    throw new Complaint(`the quick start failed: ${error.message}. It wrote:\n${output}`, { cause: error });
  } finally {
    child.kill('SIGTERM');
    await Promise.race([closed, delay(STOP_MILLIS, undefined, { ref: false })]);
    child.kill('SIGKILL');
    await closed;
  }
}

async function waitForPort(ports, hasEnded) {
  const end = performance.now() + START_MILLIS;
  while (performance.now() < end && !hasEnded()) {
    for (const port of ports) if (await answersOn(port)) return port;
    await delay(100);
  }
  return undefined;
}

async function answersOn(port) {
  const socket = connect({ port, host: '127.0.0.1' });
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

async function findFreePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

function write(name, text) {
  const file = join(project, name);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
}
