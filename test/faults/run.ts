// `npm run faults`: the table of the faults that were seen in the reference implementation, each with what happens here.
import { resolve } from 'node:path';
import { startVitest, type TestCase } from 'vitest/node';

const row = (...cells: (string | number)[]) =>
  console.log(`| ${cells.map((cell) => String(cell).replaceAll('|', '\\|').replace(/\s+/g, ' ')).join(' | ')} |`);

let failed = 0;
let passed = 0;

function tell(test: TestCase): void {
  const { fault } = test.meta();
  const { state, errors = [] } = test.result();
  if (state === 'passed') passed += 1;
  else failed += 1;
  const [number = '', there = test.name] = fault ? [fault.number, fault.there] : [];
  row(number, there, fault?.observed ?? errors[0]?.message ?? state, state === 'passed' ? 'pass' : 'FAIL');
}

const began = Date.now();
row('#', 'what went wrong there', 'what happened here', '');
row('---:', '---', '---', '---');
const root = resolve(import.meta.dirname, '../..');
const vitest = await startVitest('test', ['test/faults/faults.test.ts'], {
  ...{ root, watch: false, run: true },
  reporters: [{ onTestCaseResult: tell }],
});
const broken = [
  ...vitest.state.getUnhandledErrors(),
  ...vitest.state
    .getTestModules()
    .flatMap((module) => [...module.errors(), ...[...module.children.allSuites()].flatMap((suite) => suite.errors())]),
];
await vitest.close();
for (const error of broken) console.error(error);
console.log(`\n${passed} of ${passed + failed} do not occur here; ${Math.round((Date.now() - began) / 1000)} s.`);
process.exitCode = failed + broken.length > 0 || passed === 0 ? 1 : 0;
