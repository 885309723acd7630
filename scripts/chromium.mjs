// Where the browser for tests is. Only Node's own modules: it is needed before dependencies are installed.
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

const NAMES = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'];
const PLACES = [
  ...NAMES.map((name) => join('/usr/bin', name)),
  '/Applications/Chromium.app/Contents/MacOS/Chromium',
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
];

/**
 * The path of a Chromium or Chrome; undefined when there is none.
 * @throws Error when CHROMIUM names a file that cannot be run
 */
export function findChromium({ CHROMIUM, PATH = '' } = process.env) {
  if (CHROMIUM) {
    if (!isExecutable(CHROMIUM)) throw new Error(`CHROMIUM=${CHROMIUM} is not a file that can be run.`);
    return CHROMIUM;
  }
  const onPath = PATH.split(delimiter).flatMap((directory) => NAMES.map((name) => join(directory, name)));
  return [...PLACES, ...onPath].find(isExecutable);
}

function isExecutable(file) {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
