import { fileURLToPath } from 'node:url';
import js from '@eslint/js';
import { defineConfig, globalIgnores } from 'eslint/config';
import jest from 'eslint-plugin-jest';
import tseslint from 'typescript-eslint';

/**
 * The layering of lib: each folder, and which others it may import from, in the order of a request's way. All may
 * import the top files surreal.errors.ts and surreal.options.ts. test/unit/layering.spec.ts holds these rules to it.
 */
const LAYERS = {
  connection: [],
  tenant: [],
  session: ['connection', 'tenant'],
  context: ['connection', 'tenant', 'session'],
  telemetry: ['connection', 'tenant', 'session', 'context'],
  auth: ['connection', 'tenant', 'session', 'context'],
  transaction: ['connection', 'tenant', 'session', 'context', 'auth'],
  live: ['connection', 'tenant', 'session', 'context', 'auth', 'transaction'],
};

/** What Node has without an import and the plain JavaScript of this repository uses. */
const NODE_GLOBALS = Object.fromEntries(
  [
    'AbortController', 'AbortSignal', 'Buffer', 'clearInterval', 'clearTimeout', 'console', 'fetch', 'globalThis',
    'performance', 'process', 'setImmediate', 'setInterval', 'setTimeout', 'structuredClone', 'TextDecoder', 'TextEncoder',
    'URL', 'URLSearchParams',
  ].map((name) => [name, 'readonly']),
); // prettier-ignore

/** The same for the pages of a sample. */
const BROWSER_GLOBALS = Object.fromEntries(
  [
    'AbortController', 'clearInterval', 'clearTimeout', 'console', 'CustomEvent', 'document', 'EventSource', 'fetch',
    'FormData', 'history', 'HTMLElement', 'localStorage', 'location', 'navigator', 'sessionStorage', 'setInterval',
    'setTimeout', 'URL', 'URLSearchParams', 'WebSocket', 'window',
  ].map((name) => [name, 'readonly']),
); // prettier-ignore

export default defineConfig(
  globalIgnores([
    '**/dist/',
    'coverage/',
    'bench/results/',
    'sample/*/data/',
    // Applications of their own, whose dependencies are installed elsewhere: check:packed compiles them.
    'test/packed/',
  ]),
  { linterOptions: { reportUnusedDisableDirectives: 'error', reportUnusedInlineConfigs: 'error' } },
  js.configs.recommended,
  {
    rules: {
      eqeqeq: 'error',
      'no-var': 'error',
      'object-shorthand': 'error',
      'prefer-const': 'error',
      'prefer-template': 'error',
    },
  },
  {
    name: 'typescript',
    files: ['**/*.ts'],
    extends: [tseslint.configs.recommendedTypeChecked, tseslint.configs.stylisticTypeChecked],
    languageOptions: {
      parserOptions: { projectService: true, tsconfigRootDir: fileURLToPath(new URL('.', import.meta.url)) },
    },
    rules: {
      // A type that is imported as a value would be loaded at run time. The rule leaves what Nest's decorators need alone.
      '@typescript-eslint/consistent-type-imports': ['error', { fixStyle: 'inline-type-imports' }],
      '@typescript-eslint/no-import-type-side-effects': 'error',
      // Left out on purpose (`{ password: _, ...rest }`, a parameter before the one that is used), or, in Nest's
      // ConfigurableModuleBuilder, values that exist for `typeof` alone (`OPTIONS_TYPE`).
      '@typescript-eslint/no-unused-vars': [
        'error',
        {
          argsIgnorePattern: '^_',
          caughtErrorsIgnorePattern: '^_',
          ignoreRestSiblings: true,
          varsIgnorePattern: '_TYPE$',
        },
      ],
      // `as Tenant` says what is claimed, `!` only that something is; so the one is asked for and the other refused.
      '@typescript-eslint/no-non-null-assertion': 'error',
      '@typescript-eslint/non-nullable-type-assertion-style': 'off',
      // `async` without `await` turns a throw into a rejection, which is what callers of a method with a promise expect.
      '@typescript-eslint/require-await': 'off',
      // The SDK's values are written as they are in SurrealQL, with what needs escaping escaped.
      '@typescript-eslint/restrict-template-expressions': [
        'error',
        {
          allowNumber: true,
          allow: [{ from: 'package', package: 'surrealdb', name: ['_RecordId', 'RecordId', 'Table', 'Uuid'] }],
        },
      ],
      // Wrong in typescript-eslint 8.73: in `given?.url ?? (fallback as string)` it takes the assertion for needless, and its
      // fix no longer compiles.
      '@typescript-eslint/no-unnecessary-type-assertion': 'off',
      // An interface may ask for a method that has nothing to do here.
      '@typescript-eslint/no-empty-function': ['error', { allow: ['methods', 'asyncMethods', 'overrideMethods'] }],
      '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
    },
  },
  {
    name: 'javascript',
    files: ['**/*.{js,mjs}'],
    ignores: ['sample/*/public/**'],
    languageOptions: { globals: NODE_GLOBALS },
  },
  { name: 'pages', files: ['sample/*/public/**/*.js'], languageOptions: { globals: BROWSER_GLOBALS } },
  {
    name: 'tests',
    files: ['test/**/*.ts'],
    extends: [jest.configs['flat/recommended'], jest.configs['flat/style']],
    rules: {
      'jest/expect-expect': [
        'error',
        { assertFunctionNames: ['expect', 'expect*', 'fc.assert', 'until', 'rejection', '**.expect'] },
      ],
      // It wants `await` on the spot, but a rejection is often expected first and provoked then. What it is for is held by
      // no-floating-promises and by the selector below.
      'jest/valid-expect': 'off',
      'no-restricted-syntax': [
        'error',
        {
          selector: 'ExpressionStatement > CallExpression[callee.name="expect"]',
          message: 'expect() without a matcher.',
        },
        {
          selector: 'CatchClause CallExpression[callee.name="expect"]',
          message: 'Use expect(…).rejects or .toThrow().',
        },
      ],
      // Tests over a table or a loop expect different things of different rows. What the rule is against, an expectation in
      // a catch that may never run, is in the selectors too.
      'jest/no-conditional-expect': 'off',
      'jest/no-standalone-expect': ['error', { additionalTestBlockFunctions: ['itWithFaults', 'itWithFaults.each'] }],
      // What is missing makes the test fail here as well as in an expectation.
      '@typescript-eslint/no-non-null-assertion': 'off',
      // Bodies of answers are `any`; a wrong property shows in the expectation that follows.
      '@typescript-eslint/no-unsafe-argument': 'off',
      '@typescript-eslint/no-unsafe-assignment': 'off',
      '@typescript-eslint/no-unsafe-call': 'off',
      '@typescript-eslint/no-unsafe-member-access': 'off',
      '@typescript-eslint/no-unsafe-return': 'off',
    },
  },
  {
    name: 'lib',
    files: ['lib/**/*.ts'],
    rules: {
      '@typescript-eslint/explicit-module-boundary-types': 'error',
      'max-lines': ['error', { max: 300, skipBlankLines: true, skipComments: true }],
      'no-console': 'error',
    },
  },
  layeringRules(),
);

/** Rules for each folder of lib, and for each of its top files that may do more or less than the others. */
function layeringRules() {
  const topFiles = ['../surreal.errors.js', '../surreal.options.js'];
  const folders = Object.entries(LAYERS).map(([folder, below]) => {
    const allowed = ['./*', ...topFiles, ...below.map((name) => `../${name}/*`)];
    return layer(folder, `lib/${folder}/**/*.ts`, only(allowed));
  });
  return [
    ...folders,
    layer('terminus', 'lib/terminus/**/*.ts', only(['./*', ...topFiles, '../context/*', '../connection/*']), {
      regex: '^\\.\\./connection/',
      allowTypeImports: true,
      message: 'terminus/ may import types from connection/, but no values.',
    }),
    layer('testing', 'lib/testing/**/*.ts', only(['./*', '../surreal.errors.js'])),
    layer('top files', 'lib/*.ts', only(['./surreal.errors.js', './surreal.options.js'])),
    layer(
      'options',
      'lib/surreal.options.ts',
      only(['./surreal.errors.js', './option-checks.js', './connection/*', './tenant/*']),
      {
        regex: '^\\./(?:connection|tenant)/',
        allowTypeImports: true,
        message: 'surreal.options.ts may import types from connection/ and tenant/, but no values.',
      },
    ),
    layer('module', 'lib/surreal.module.ts', only(['./surreal.*', ...everyFolder()])),
    layer('index', 'lib/index.ts', only(['./surreal.*', ...everyFolder()])),
  ];
}

function everyFolder() {
  return Object.keys(LAYERS).map((folder) => `./${folder}/*`);
}

/** Refuses every import from lib but these, and the package's own name. `*` stands for one file. */
function only(allowed) {
  const patterns = allowed.map((path) => path.replaceAll('.', '\\.').replace('*', '[^/]+'));
  return {
    regex: `^(?!(?:${patterns.join('|')})$)(?:\\.|nestjs-surreal(?:/|$))`,
    message: `The layering of lib (eslint.config.js) lets this file import only ${allowed.join(', ')}.`,
  };
}

function layer(name, files, ...patterns) {
  return {
    name: `layering/${name}`,
    files: [files],
    rules: {
      'no-restricted-imports': ['error', { patterns }],
      // The rule above does not see these two forms, which would go round it.
      'no-restricted-syntax': [
        'error',
        ...['ImportExpression[source.value=/^\\./]', 'TSImportType[source.value=/^\\./]'].map((selector) => ({
          selector,
          message: 'Import files of lib by an import statement, which the layering rule sees.',
        })),
      ],
    },
  };
}
