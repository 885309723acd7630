// For tests, which are TypeScript; the module itself runs before anything that compiles is installed.

/**
 * The path of a Chromium or Chrome; undefined when there is none.
 * @throws Error when CHROMIUM names a file that cannot be run
 */
export function findChromium(env?: { CHROMIUM?: string | undefined; PATH?: string | undefined }): string | undefined;
