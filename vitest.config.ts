import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    // What can only be told in the long form, as by root, stands in files of its own.
    include: ['test/**/*.test.ts', ...(process.env.SOAK === '1' ? ['test/**/*.soak.ts'] : [])],
    globalSetup: ['test/harness/global-setup.ts'],
    pool: 'forks',
    maxWorkers: 3,
    testTimeout: 20_000,
    hookTimeout: 30_000,
  },
});
