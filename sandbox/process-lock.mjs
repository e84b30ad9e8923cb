// A lock that a process holds by a file, and that a process which died without letting go holds no longer.
// Plain JavaScript with builtins only: the bootstrap uses it before anything is installed.
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';

/**
 * Tries to take the lock at `path`, once, without waiting.
 * @param {string} path a file in a directory that exists and is writable
 * @returns {{ release: () => void, holder?: undefined } | { release?: undefined, holder: number }} `release` when it was
 *   taken; else the process id of its living holder
 */
export function tryLock(path) {
  const me = `${process.pid} ${startOf(process.pid)}`;
  const draft = `${path}.${process.pid}.${randomBytes(4).toString('hex')}`;
  writeFileSync(draft, me);
  try {
    for (;;) {
      try {
        linkSync(draft, path); // atomic, and complete from its first moment, which an exclusive create is not
        return { release: () => void (read(path) === me && rmSync(path, { force: true })) };
      } catch (error) {
        if (!hasCode(error, 'EEXIST')) throw error;
      }
      const holder = read(path);
      if (holder === undefined) continue;
      if (lives(holder)) return { holder: Number.parseInt(holder, 10) };
      takeAway(path, holder, `${draft}.stale`);
    }
  } finally {
    rmSync(draft, { force: true });
  }
}

/**
 * Two starts may find the same stale lock; the slower one must not take away the lock that the faster one has just made.
 * @param {string} path
 * @param {string} stale what the lock said when it was judged stale
 * @param {string} aside
 */
function takeAway(path, stale, aside) {
  try {
    renameSync(path, aside);
    if (read(aside) !== stale) linkSync(aside, path);
  } catch (error) {
    if (!hasCode(error, 'ENOENT') && !hasCode(error, 'EEXIST')) throw error;
  } finally {
    rmSync(aside, { force: true });
  }
}

/** @param {string} holder "pid start": the start tells a living holder from a later process with the same number */
function lives(holder) {
  const [pid, start] = /^(\d+) (.*)$/s.exec(holder)?.slice(1) ?? [];
  if (pid === undefined) return false;
  try {
    process.kill(Number(pid), 0);
  } catch (error) {
    if (hasCode(error, 'ESRCH')) return false;
  }
  const now = startOf(Number(pid));
  return now !== 'ended' && (now === start || now === '' || start === '');
}

/**
 * When a process started, in whatever words the system has for it; '' where it does not say, 'ended' for a zombie.
 * @param {number} pid
 */
function startOf(pid) {
  try {
    if (process.platform !== 'linux') {
      return execFileSync('ps', ['-o', 'lstart=', '-p', String(pid)], { encoding: 'utf8' }).trim();
    }
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' || fields[0] === 'X' ? 'ended' : (fields[19] ?? '');
  } catch {
    return '';
  }
}

/** @param {string} path */
function read(path) {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined;
    throw error;
  }
}

/**
 * @param {unknown} error
 * @param {string} code
 */
function hasCode(error, code) {
  return error instanceof Error && 'code' in error && error.code === code;
}
