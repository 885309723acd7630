// The whole benchmark, or sections of it. Each section runs in a process of its own, against a test server of its own.
//
//   npm run bench [-- --quick] [-- --only requests,plumbing,scale,soak,fairness]
import { fork } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const SECTIONS = ['requests', 'plumbing', 'scale', 'soak', 'fairness'];
const RESULTS = new URL('results/', import.meta.url);

const { values } = parseArgs({ options: { only: { type: 'string' }, quick: { type: 'boolean', default: false } } });
const wanted = values.only?.split(',') ?? SECTIONS;
const unknown = wanted.find((name) => !SECTIONS.includes(name));
if (unknown !== undefined) throw new Error(`There is no section "${unknown}". There are: ${SECTIONS.join(', ')}.`);

const results = {};
for (const name of wanted) {
  try {
    results[name] = await run(name);
    for (const table of results[name].tables) print(table);
  } catch (error) {
    console.error(error.message);
    process.exitCode = 1;
  }
}
print(Object.values(results).flatMap(({ figures }) => figures));
save();

/** @returns what the section measured */
async function run(name) {
  const begin = performance.now();
  const file = fileURLToPath(new URL(`${name}.mjs`, import.meta.url));
  const child = fork(file, values.quick ? ['--quick'] : [], { execArgv: ['--expose-gc'] });
  let result;
  child.once('message', (message) => (result = message));
  const code = await new Promise((resolve) => child.once('close', resolve));
  if (code !== 0 || result === undefined) throw new Error(`Section "${name}" ended with code ${code}.`);
  console.log(`\n${name}: ${Math.round((performance.now() - begin) / 1_000)} s`);
  return result;
}

/** A table whose numbers are aligned to the right. Its columns are the keys of its first row. */
function print(rows) {
  if (rows.length === 0) return;
  const columns = Object.keys(rows[0]);
  const cell = (value) => (value === true ? 'yes' : value === false ? 'NO' : String(value ?? ''));
  const width = (column) => Math.max(column.length, ...rows.map((row) => cell(row[column]).length));
  const line = (cellOf) => columns.map((column) => pad(cellOf(column), width(column), rows[0][column])).join('  ');
  console.log(`\n${line((column) => column)}\n${columns.map((column) => '─'.repeat(width(column))).join('  ')}`);
  for (const row of rows) console.log(line((column) => cell(row[column])));
}

function pad(text, width, like) {
  return typeof like === 'number' ? text.padStart(width) : text.padEnd(width);
}

function save() {
  const date = new Date().toISOString();
  const machine = { node: process.version, cpus: cpus().length, model: cpus()[0]?.model };
  const text = JSON.stringify({ date, quick: values.quick, machine, results }, undefined, 2);
  mkdirSync(RESULTS, { recursive: true });
  for (const name of [date.replaceAll(':', '-'), 'latest']) writeFileSync(new URL(`${name}.json`, RESULTS), text);
  console.log(`\nAll that was measured: bench/results/latest.json`);
}
