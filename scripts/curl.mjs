// Reads the curl commands that a document shows, as requests for fetch: nothing of a document is given to a shell.

/**
 * @param {string} script one curl command after the other; comments, prompts and continued lines are understood
 * @returns {{ command: string, url: URL, init: { method: string, headers: Record<string, string>, body?: string } }[]}
 * @throws Error for anything that is not curl, or an option that is not known here
 */
export function readCurls(script) {
  return script
    .replaceAll(/\\\n\s*/g, '')
    .split('\n')
    .map((line) => line.replace(/^\s*\$\s+/, '').trim())
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((command) => ({ command, ...readCurl(command) }));
}

function readCurl(command) {
  const [name, ...words] = readWords(command);
  if (name !== 'curl') throw new Error(`only curl can be run, not: ${command}`);
  const headers = {};
  let method;
  let url;
  let body;
  while (words.length > 0) {
    const word = words.shift();
    if (word === '-X' || word === '--request') method = words.shift();
    else if (word === '-H' || word === '--header') {
      const line = words.shift() ?? '';
      const colon = line.indexOf(':');
      if (colon < 1) throw new Error(`a header needs a name and a colon: ${command}`);
      headers[line.slice(0, colon).toLowerCase()] = line.slice(colon + 1).trim();
    } else if (word === '-d' || word === '--data' || word === '--json') {
      body = words.shift();
      const type = word === '--json' ? 'application/json' : 'application/x-www-form-urlencoded';
      headers['content-type'] ??= type;
    } else if (word.startsWith('-')) {
      // How curl reports makes no difference here.
      if (!/^(-[sSfi]+|--silent|--show-error|--include)$/.test(word))
        throw new Error(`${word} is not known: ${command}`);
    } else url = new URL(/^https?:/.test(word) ? word : `http://${word}`);
  }
  if (url === undefined) throw new Error(`there is no address: ${command}`);
  method ??= body === undefined ? 'GET' : 'POST';
  return { url, init: { method, headers, ...(body === undefined ? {} : { body }) } };
}

/** Splits as a shell does, without variables and the like; what follows a pipe or a comment is left out. */
function readWords(command) {
  const words = [];
  for (const [word] of command.matchAll(/(?:'[^']*'|"(?:\\.|[^"\\])*"|\\.|[^\s'"\\])+/g)) {
    if (word === '|' || word.startsWith('#')) break;
    words.push(
      word.replaceAll(/'([^']*)'|"((?:\\.|[^"\\])*)"|\\(.)/g, (_, single, double, escaped) => {
        return single ?? double?.replaceAll(/\\(["\\$`])/g, '$1') ?? escaped;
      }),
    );
  }
  return words;
}
