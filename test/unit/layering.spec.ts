import { beforeAll, describe, expect, it } from '@jest/globals';
import { Linter } from 'eslint';
import tseslint from 'typescript-eslint';

const FOLDERS = ['connection', 'tenant', 'session', 'context', 'telemetry', 'auth', 'transaction', 'live'];

describe('the layering of lib', () => {
  const linter = new Linter();
  let rules: Linter.Config[];

  beforeAll(async () => {
    const { default: config } = (await import(new URL('../../eslint.config.js', import.meta.url).href)) as {
      default: Linter.Config[];
    };
    // The rules of the layering alone, without type information: with all the others this would take minutes.
    const layering = config.filter(({ name }) => name?.startsWith('layering/'));
    rules = [{ files: ['**/*.ts'], languageOptions: { parser: tseslint.parser } }, ...layering];
  });

  /** Whether the rules let a file at `path` contain this code. */
  const allows = (path: string, code: string) => linter.verify(code, rules, { filename: path }).length === 0;

  it.each(FOLDERS)('lets %s import its own files, the top files and packages', (folder) => {
    const from = ['./other.js', '../surreal.errors.js', '../surreal.options.js', 'surrealdb', '@nestjs/common'];
    expect(from.filter((file) => !allows(`lib/${folder}/some.ts`, `import { a } from '${file}';`))).toEqual([]);
  });

  it.each([
    ['connection', []],
    ['tenant', []],
    ['session', ['connection', 'tenant']],
    ['context', ['connection', 'tenant', 'session']],
    ['telemetry', ['connection', 'tenant', 'session', 'context']],
    ['auth', ['connection', 'tenant', 'session', 'context']],
    ['transaction', ['connection', 'tenant', 'session', 'context', 'auth']],
    ['live', ['connection', 'tenant', 'session', 'context', 'auth', 'transaction']],
    ['testing', []],
  ])('lets %s import, of the other folders, %j', (folder, below) => {
    const others = [...FOLDERS, 'terminus', 'testing'].filter((name) => name !== folder);
    for (const statement of ['import { a } from', 'import type { A } from', 'export { a } from', 'export * from']) {
      const allowed = others.filter((name) => allows(`lib/${folder}/some.ts`, `${statement} '../${name}/a.js';`));
      expect(allowed).toEqual(below);
    }
  });

  it.each([
    "import { a } from '../surreal.module.js'",
    "import { a } from '../index.js'",
    "import { a } from '..'",
    "import { a } from 'nestjs-surreal'",
    "import { a } from 'nestjs-surreal/terminus'",
    "import { a } from 'nestjs-surreal/testing'",
    "import { a } from './../live/a.js'",
    "const a = await import('../live/a.js')",
    "type A = import('../live/a.js').A",
  ])('refuses %s in every folder', (code) => {
    expect([...FOLDERS, 'terminus', 'testing'].filter((folder) => allows(`lib/${folder}/some.ts`, code))).toEqual([]);
  });

  it.each([
    [false, 'testing/some.ts', "import { a } from '../surreal.options.js'"],
    [true, 'testing/some.ts', "import { a } from '../surreal.errors.js'"],
    [true, 'terminus/some.ts', "import { a } from '../context/tenancy.js'"],
    [true, 'terminus/some.ts', "import { a } from '../surreal.errors.js'"],
    [true, 'terminus/some.ts', "import type { A } from '../connection/a.js'"],
    [false, 'terminus/some.ts', "import { a } from '../connection/a.js'"],
    [false, 'terminus/some.ts', "import { a } from '../session/a.js'"],
    [false, 'surreal.errors.ts', "import type { Tenant } from './tenant/tenant.js'"],
    [true, 'surreal.options.ts', "import type { Tenant } from './tenant/tenant.js'"],
    [false, 'surreal.options.ts', "import { sealTenant } from './tenant/tenant.js'"],
    [false, 'surreal.options.ts', "import type { A } from './session/a.js'"],
    [true, 'surreal.module.ts', "import { a } from './live/a.js'"],
    [false, 'surreal.module.ts', "import { a } from './testing/index.js'"],
    [false, 'surreal.module.ts', "import { a } from './terminus/index.js'"],
    [false, 'surreal.module.ts', "import { a } from './index.js'"],
    [true, 'index.ts', "export * from './surreal.module.js'"],
    [true, 'index.ts', "export * from './tenant/tenant.js'"],
    [false, 'index.ts', "export * from './testing/index.js'"],
    [false, 'index.ts', "export * from './terminus/index.js'"],
  ])('says %s to lib/%s: %s', (expected, file, code) => {
    expect(allows(`lib/${file}`, code)).toBe(expected);
  });
});
