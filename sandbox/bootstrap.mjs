// Every npm script starts here: `node sandbox/bootstrap.mjs [NODE_FLAG...] SCRIPT [ARGUMENT...]`.
// Installs what package-lock.json names, once, then runs SCRIPT with the Node.js that the project brings along.
// Plain JavaScript for Node.js 20 and newer, builtins only: nothing else is there yet when it first runs.
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { accessSync, existsSync, constants as fileModes, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { basename, delimiter, dirname, join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { tryLock } from './process-lock.mjs';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const modules = join(root, 'node_modules');
const stamp = join(modules, '.bootstrap');
const ownNode = join(modules, '.bin', 'node');
const oldestNode = 24;

const words = process.argv.slice(2);
const scriptAt = words.findIndex((word) => !word.startsWith('--'));
const script = words[scriptAt];
if (script === undefined) stopWith('usage: node sandbox/bootstrap.mjs [NODE_FLAG...] SCRIPT [ARGUMENT...]');
if (!isInstalled()) await install();
process.exitCode = await run(chooseNode(), [
  ...words.slice(0, scriptAt),
  resolve(root, script),
  ...words.slice(scriptAt + 1),
]);

/** The lock file names the project's own Node.js too, so its hash covers both. */
function fingerprint() {
  const lock = readFileSync(join(root, 'package-lock.json'));
  return `${createHash('sha256').update(lock).digest('hex')} ${process.platform} ${process.arch}`;
}

function isInstalled() {
  return existsSync(stamp) && readFileSync(stamp, 'utf8') === fingerprint();
}

async function install() {
  const lock = await waitForLock(join(root, '.bootstrap.lock')); // not in node_modules, which `npm ci` empties
  try {
    if (isInstalled()) return;
    rmSync(stamp, { force: true });
    console.error('Installing dependencies. This happens once, and again when package-lock.json changes.');
    const flags = ['--ignore-scripts', '--include=dev', '--include=optional'];
    const quiet = ['--no-audit', '--no-fund', '--no-update-notifier', '--loglevel=error'];
    const npm = process.env.npm_execpath ?? '';
    const [program, ...before] =
      basename(npm) === 'npm-cli.js' ? [process.env.npm_node_execpath ?? process.execPath, npm] : ['npm'];
    // `npm ci` must not run on the Node.js that it is about to replace.
    const env = { ...process.env, PATH: withoutOwnBinaries(process.env.PATH) };
    const code = await run(program, [...before, 'ci', ...flags, ...quiet], { cwd: root, env });
    if (code !== 0) stopWith(`npm ci failed (exit code ${code}); see its message above.`, code);
    writeFileSync(stamp, fingerprint());
  } finally {
    lock.release();
  }
}

/** @param {string} path */
async function waitForLock(path) {
  for (let told = false; ; told = true) {
    const { release, holder } = attemptLock(path);
    if (release !== undefined) {
      process.once('exit', release);
      return { release };
    }
    if (!told) console.error(`Process ${holder} is installing dependencies here; waiting for it.`);
    await sleep(200);
  }
}

/** @param {string} path */
function attemptLock(path) {
  try {
    return tryLock(path);
  } catch (error) {
    return stopWith(`Dependencies are not installed, and cannot be: ${error instanceof Error ? error.message : error}`);
  }
}

function chooseNode() {
  try {
    accessSync(ownNode, fileModes.X_OK);
    return ownNode;
  } catch {
    if (Number.parseInt(process.versions.node, 10) >= oldestNode) return process.execPath;
    return stopWith(
      `This needs Node.js ${oldestNode} or newer (this is ${process.version}); the project brings its own only on Linux.`,
    );
  }
}

/**
 * Runs a program in the foreground and hands it the signals that arrive meanwhile. From a terminal it gets Ctrl-C twice,
 * once from the terminal itself: programs here take a second one as the same request.
 * @param {string} program
 * @param {string[]} programArgs
 * @param {import('node:child_process').SpawnOptions} [options]
 * @returns {Promise<number>} its exit code, or 128 and the signal's number when a signal ended it
 */
async function run(program, programArgs, options = {}) {
  const child = spawn(program, programArgs, { stdio: 'inherit', ...options });
  /** @type {NodeJS.Signals[]} */
  const forwarded = ['SIGINT', 'SIGTERM', 'SIGHUP'];
  const forward = (/** @type {NodeJS.Signals} */ signal) => void child.kill(signal);
  for (const signal of forwarded) process.on(signal, forward);
  // npm starts us through a shell, which dies of a signal without handing it on.
  const shell = process.ppid;
  const orphaned = () => process.ppid !== shell && child.kill('SIGTERM');
  const watch = process.env.npm_lifecycle_event ? setInterval(orphaned, 500) : undefined;
  const code = await new Promise((settle) => {
    child.once('error', (error) => stopWith(`${program} does not start: ${error.message}`));
    child.once('exit', (exitCode, signal) =>
      settle(exitCode ?? 128 + (signal === null ? 0 : constants.signals[signal])),
    );
  });
  clearInterval(watch);
  for (const signal of forwarded) process.off(signal, forward);
  return code;
}

/** @param {string | undefined} path */
function withoutOwnBinaries(path) {
  return (path ?? '')
    .split(delimiter)
    .filter((directory) => resolve(directory) !== dirname(ownNode))
    .join(delimiter);
}

/**
 * @param {string} message
 * @param {number} [code]
 * @returns {never}
 */
function stopWith(message, code = 1) {
  console.error(message);
  process.exit(code);
}
