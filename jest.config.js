/** @type {import('jest').Config} */
export default {
  testEnvironment: '<rootDir>/dist/testing/jest-environment.js',
  roots: ['<rootDir>/test'],
  testMatch: ['**/*.spec.ts'],
  extensionsToTreatAsEsm: ['.ts'],
  moduleNameMapper: {
    // The test server starts a process of its own, which needs compiled code: tests take it as users do, built.
    '^nestjs-surreal/testing$': '<rootDir>/dist/testing/index.js',
    '^nestjs-surreal/terminus$': '<rootDir>/lib/terminus/index.ts',
    '^nestjs-surreal$': '<rootDir>/lib/index.ts',
    '^(\\.{1,2}/.*)\\.js$': '$1',
  },
  transform: {
    '^.+\\.ts$': [
      '@swc/jest',
      {
        jsc: {
          target: 'es2022',
          parser: { syntax: 'typescript', decorators: true },
          transform: {
            legacyDecorator: true,
            decoratorMetadata: true,
            useDefineForClassFields: true,
            verbatimModuleSyntax: true,
          },
          keepClassNames: true,
        },
        module: { type: 'es6' },
        sourceMaps: 'inline',
      },
    ],
  },
  coverageProvider: 'v8',
  collectCoverageFrom: ['lib/**/*.ts'],
  testTimeout: 30_000,
};
