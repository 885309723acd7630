import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/**
 * Runs lines as a person would who pastes them into a shell.
 * @param folder to write to, where there is no curl
 * @param before lines that print nothing
 * @param requests lines that are a call of curl each
 * @returns what each request was answered
 */
export async function runInShell(folder: string, before: string[], requests: string[]) {
  // Where there is no curl, this is one: what comes later in PATH is only looked at then.
  await writeFile(join(folder, 'curl'), `#!${process.execPath}\n${CURL}`);
  await chmod(join(folder, 'curl'), 0o700);
  const withStatus = `curl() { command curl -w '\\n%{http_code}\\n' "$@"; }`;
  const shell = spawn('sh', ['-c', [...before, withStatus, ...requests].join('\n')], {
    env: { PATH: `${process.env.PATH}:${folder}` },
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  let output = '';
  shell.stdout.setEncoding('utf8').on('data', (text: string) => (output += text));
  await once(shell, 'close');
  return [...output.matchAll(/(.*)\n(\d{3})\n/g)].map(([, body, status]) => ({
    status: Number(status),
    body: JSON.parse(body!) as unknown,
  }));
}

const CURL = `
let url, headers = {}, body, end = '';
for (let index = 2; index < process.argv.length; index++) {
  const word = process.argv[index];
  const value = () => process.argv[++index];
  if (word === '-H') { const [name, ...rest] = value().split(': '); headers[name] = rest.join(': '); }
  else if (word === '-d') body = value();
  else if (word === '-w') end = value().replaceAll('\\\\n', '\\n');
  else if (word !== '-s') url = word.replace('localhost', '127.0.0.1');
}
fetch(url, { method: body === undefined ? 'GET' : 'POST', headers, body }).then(async (response) => {
  process.stdout.write((await response.text()) + end.replace('%{http_code}', response.status));
});
`;
