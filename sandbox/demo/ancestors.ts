// npm, its shell and the bootstrap stand between a person and the demo. Whichever of them is killed outright hands nothing on.
import { readFileSync } from 'node:fs';

/** Calls `end` once whoever started us, up to npm, is gone. Does nothing where npm did not start us. */
export function endWithNpm(end: () => void): void {
  if (!process.env.npm_lifecycle_event) return;
  const before = ancestors();
  const watch = setInterval(() => {
    const now = ancestors();
    if (before.some((pid, i) => now[i] !== pid)) end();
  }, 500);
  watch.unref();
}

/** Our parent, its parent, and so on up to npm; where the system does not tell (not Linux), our parent alone. */
function ancestors(): number[] {
  const found = [process.ppid];
  try {
    for (let pid = process.ppid; !isNpm(pid); ) {
      const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
      pid = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
      if (pid <= 1) break;
      found.push(pid);
    }
  } catch {
    // One of them has just ended, or there is no /proc: what was found so far tells enough.
  }
  return found;
}

function isNpm(pid: number): boolean {
  return /^npm\b|\bnpm-cli\.js\b/.test(readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' '));
}
