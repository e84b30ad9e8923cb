#!/usr/bin/env node
import { runCli } from './program.ts';

// Whoever read the answer may have gone: head, a pager. That is no error.
process.stdout.on('error', (error) => {
  if (!('code' in error) || error.code !== 'EPIPE') throw error;
});
const { stdin, stdout, stderr, env: environment } = process;
process.exitCode = await runCli(process.argv.slice(2), { stdin, stdout, stderr, environment });
