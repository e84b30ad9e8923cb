// `npm test`: checks, then every test. Arguments pick test files: `npm test -- credits`. `npm run soak`: the long forms of those
// that have one, for an hour and more. `npm run test:scale`: with every test's database spread over a cluster of three nodes.
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { startVitest } from 'vitest/node';
import { checks, runChecks } from './check.ts';
import { has } from './harness/tools.ts';

type Counts = { passed: number; failed: number; skipped: string[] };

const wanted = process.argv.slice(2);
if (wanted.includes('--soak')) process.env.SOAK = '1';
if (wanted.includes('--scale')) process.env.PRPM_SCALE = '1';
const files = wanted.filter((argument) => !argument.startsWith('--'));
const isComplete = files.length === 0;
const isCi = process.env.CI === 'true';

const absent = Object.entries(has).flatMap(([tool, isThere]) => (isThere ? [] : [tool]));
console.log(absent.length > 0 ? `Absent on this machine: ${absent.join(', ')}.` : 'Nothing is absent on this machine.');

const total: Counts = { passed: 0, failed: 0, skipped: [] };
if (isComplete) {
  const schema = { name: 'schema', command: ['sandbox/postgres/dump-schema.ts', '--check'] };
  if (!has.pg_dump) total.skipped.push('check: schema (pg_dump)');
  const list = has.pg_dump ? [...checks, schema] : checks;
  total.failed = await runChecks(list);
  total.passed = list.length - total.failed;
}
add(await runTests(files));

if (total.skipped.length > 0) {
  console.log(`\nSKIPPED${isCi ? ', which CI counts as a failure' : ''}:`);
  for (const name of total.skipped) console.log(`  ${name}`);
}
// Citus is no package of Debian's: where CI has none, it says so, and that is no failure.
const excused =
  process.env.PRPM_WITHOUT_CITUS === '1' ? total.skipped.filter((name) => name.startsWith('test/scale/')) : [];
if (total.failed > 0 || (isCi && total.skipped.length > excused.length)) process.exitCode = 1;
console.log(`${total.passed} passed, ${total.failed} failed, ${total.skipped.length} skipped`);

function add({ passed, failed, skipped }: Counts): void {
  total.passed += passed;
  total.failed += failed;
  total.skipped.push(...skipped);
}

/** A file that does not even load, and an error outside of any test, count as one failure each. */
async function runTests(filters: string[]): Promise<Counts> {
  const scratch = mkdtempSync(join(tmpdir(), 'prpm-run-'));
  process.once('exit', () => rmSync(scratch, { recursive: true, force: true }));
  const absentTools = join(scratch, 'absent');
  process.env.PRPM_ABSENT_TOOLS_FILE = absentTools;

  const root = resolve(import.meta.dirname, '..');
  const vitest = await startVitest('test', filters, { root, watch: false, run: true, passWithNoTests: isComplete });
  const modules = vitest.state.getTestModules();
  const tests = modules.flatMap((module) => [...module.children.allTests()]);
  const broken = modules.filter((module) => module.errors().length > 0).length;
  const counts = {
    passed: tests.filter((test) => test.result().state === 'passed').length,
    failed:
      tests.filter((test) => test.result().state === 'failed').length +
      broken +
      vitest.state.getUnhandledErrors().length,
    skipped: tests
      .filter((test) => test.result().state === 'skipped')
      .map((test) => `${test.module.relativeModuleId}: ${test.fullName}`),
  };
  await vitest.close();
  if (process.exitCode && counts.failed === 0) counts.failed = 1; // it found fault with something that is no test
  if (existsSync(absentTools)) {
    const tools = new Set(readFileSync(absentTools, 'utf8').trim().split('\n'));
    console.log(`\nSome tests need what is absent here: ${[...tools].join(', ')}.`);
  }
  return counts;
}
