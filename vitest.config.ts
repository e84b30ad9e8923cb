import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    // What can only be told in the long form, as by root, stands in files of its own.
    include: ['test/**/*.test.ts', ...(process.env.SOAK === '1' ? ['test/**/*.soak.ts'] : [])],
    globalSetup: ['test/harness/global-setup.ts'],
    pool: 'forks',
    maxWorkers: 3,
    // A machine that is busy with other things changes nothing: what is waited for comes, or the test has failed anyway.
    testTimeout: 60_000,
    hookTimeout: 120_000,
    expect: { poll: { timeout: 15_000 } },
  },
});
