import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** Those that take minutes, the longest first: what begins last must not be what the others wait for. */
const LONGEST = ['web/accessible', 'billing/order-', 'proof/', 'faults/', 'web/', 'scale/', 'top/', 'guide'];

/** `npm run test:scale`: three nodes share the machine. */
const isSpread = process.env.PRPM_SCALE === '1';

class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    const place = ({ moduleId }: TestSpecification) => {
      const found = LONGEST.findIndex((part) => moduleId.includes(`/test/${part}`));
      return found < 0 ? LONGEST.length : found;
    };
    return sorted.toSorted((a, b) => place(a) - place(b));
  }
}

export default defineConfig({
  test: {
    // What can only be told in the long form, as by root, stands in files of its own.
    include: ['test/**/*.test.ts', ...(process.env.SOAK === '1' ? ['test/**/*.soak.ts'] : [])],
    // The page asks the server alone, so a cluster makes no difference to it that test/http does not see; test/scale has its own.
    exclude: isSpread ? ['test/web/**', 'test/scale/**'] : [],
    globalSetup: ['test/harness/global-setup.ts'],
    sequence: { sequencer: LongestFirst },
    pool: 'forks',
    maxWorkers: 3,
    // A machine that is busy with other things changes nothing: what is waited for comes, or the test has failed anyway.
    testTimeout: isSpread ? 240_000 : 60_000,
    hookTimeout: isSpread ? 480_000 : 120_000,
    expect: { poll: { timeout: 15_000 } },
  },
});
