// Copies a database: whole, or its rows into another of the same schema, whichever of the two is spread over nodes.
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { Transform } from 'node:stream';
import { text } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import type postgres from 'postgres';
import { connect } from '../database/connection.ts';
import { findClientProgram } from '../database/programs.ts';

const programs = ['pg_dump', 'pg_restore', 'psql'] as const;
type Program = (typeof programs)[number];
export type Programs = Record<Program, string>;

/** Client programs of PostgreSQL 15. Throws where one is missing. */
export function findPrograms(): Programs {
  const find = (name: Program) => {
    const path = findClientProgram(name);
    if (path !== undefined) return path;
    throw new Error(
      `There is no ${name} of PostgreSQL 15 on this machine. Install its client programs. Nothing was changed.`,
    );
  };
  return { pg_dump: find('pg_dump'), pg_restore: find('pg_restore'), psql: find('psql') };
}

/** Into an empty database, as superusers: the schema as it is and all rows, as of one moment. */
export async function copyWhole({ pg_dump, pg_restore }: Programs, from: string, to: string): Promise<void> {
  const dump = start(pg_dump, from, ['--format=custom', '--compress=0']);
  const restore = start(pg_restore, to, ['--single-transaction']);
  dump.child.stdin.end();
  restore.child.stdout.resume();
  await pipeline(dump.child.stdout, restore.child.stdin).catch(() => {}); // the one that ended says why
  await Promise.all([dump.ended, restore.ended]);
}

/** `ended` throws what it had to say if it failed. The password is not among its arguments, which others may read. */
function start(
  program: string,
  url: string,
  args: string[],
): { child: ChildProcessWithoutNullStreams; ended: Promise<void> } {
  const bare = new URL(url);
  bare.password = '';
  const env = { PATH: process.env.PATH, PGPASSWORD: decodeURIComponent(new URL(url).password) };
  const child = spawn(program, [...args, '--dbname', bare.href], { env });
  const complaints = text(child.stderr);
  const ended = new Promise<void>((settle, fail) => {
    child.once('error', fail);
    child.once('close', async (code) =>
      code === 0 ? settle() : fail(new Error(`${program} failed:\n${await complaints}`)),
    );
  });
  ended.catch(() => {}); // whoever waits for it is told
  child.stdin.on('error', () => {}); // it took no more, and says why at its end
  return { child, ended };
}

type Table = { name: string; columns: string };
/** Of a table's rows, whatever their order. */
type Digest = { rows: number; sum: bigint };

/**
 * Takes away what `to` holds and copies every row of `from`, as superusers, then reads all of it again and compares. Nobody
 * may write to either meanwhile. One transaction there: it is all there, or nothing has changed. Throws where the tables of the
 * two are not the same, or any row. Returns how much was copied.
 */
export async function copyRows(
  { psql }: Programs,
  from: string,
  to: string,
): Promise<{ tables: number; rows: number }> {
  await using source = connect(from);
  await using target = connect(to);
  const tables = await readTables(source);
  refuseOthers(tables, await readTables(target));
  const [before, after] = [await emptyingOf(target, tables), await sequencesOf(source)];
  const talk = (url: string) => start(psql, url, ['--no-psqlrc', '--quiet', '--set=ON_ERROR_STOP=1']);

  const [reader, writer] = [talk(from), talk(to)];
  const copied = digesting();
  reader.child.stdin.end(readingOf(tables));
  writer.child.stdout.resume();
  writer.child.stdin.write(`begin;\n${before}\n`);
  const isRead = await pipeline(reader.child.stdout, copied.through, writer.child.stdin, { end: false })
    .then(() => reader.ended)
    .then(
      () => true,
      () => false,
    );
  writer.child.stdin.end(isRead ? `${after}\ncommit;\n` : '');
  await writer.ended; // says why it took no more
  await reader.ended;

  const again = talk(to);
  const written = digesting();
  again.child.stdin.end(readingOf(tables));
  written.through.resume();
  await pipeline(again.child.stdout, written.through);
  await again.ended;
  for (const { name } of tables) expectSame(name, copied.digests.get(name), written.digests.get(name));
  return { tables: tables.length, rows: [...copied.digests.values()].reduce((sum, { rows }) => sum + rows, 0) };
}

/** For psql: prints each table as a command that brings its rows in, as of one moment. No row is the line that ends them. */
function readingOf(tables: readonly Table[]): string {
  const copies = tables.map(
    ({ name, columns }) =>
      `\\echo 'copy ${name} (${columns}) from stdin;'\ncopy ${name} (${columns}) to stdout;\n\\echo '\\\\.'\n`,
  );
  return `begin isolation level repeatable read read only;\n${copies.join('')}commit;\n`;
}

/**
 * Neither triggers nor references then: each row is as it was. Citus empties its shards by a trigger of its own, hence beforehand; and
 * it tells its workers what is set so.
 */
async function emptyingOf(target: postgres.Sql, tables: readonly Table[]): Promise<string> {
  const truncate = `truncate ${tables.map(({ name }) => name).join(', ')};`;
  const replica = 'set local session_replication_role = replica;';
  const [citus] = await target`select from pg_extension where extname = 'citus'`;
  if (citus === undefined) return `${replica}\n${truncate}`;
  const guards = await target<{ table: string; name: string }[]>`
    select t.tgrelid::regclass::text as table, quote_ident(t.tgname) as name
    from pg_trigger t join pg_proc p on p.oid = t.tgfoid
    where not t.tgisinternal and t.tgtype & 32 <> 0 and p.proname <> 'citus_truncate_trigger'`; // 32: of truncate
  const guard = (how: string) => [
    'set local citus.enable_ddl_propagation = off;',
    ...guards.map(({ table, name }) => `alter table ${table} ${how} trigger ${name};`),
    'set local citus.enable_ddl_propagation = on;',
  ];
  return [
    "set local citus.multi_shard_modify_mode = 'sequential';",
    ...[...guard('disable'), truncate, ...guard('enable')],
    ...["set local citus.propagate_set_commands = 'local';", replica],
  ].join('\n');
}

/** Without columns that are reckoned from others. */
async function readTables(sql: postgres.Sql): Promise<Table[]> {
  return sql<Table[]>`
    select format('%I.%I', n.nspname, c.relname) as name, string_agg(quote_ident(a.attname), ', ' order by a.attname) as columns
    from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
    join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
    where c.relkind = 'r' and n.nspname in ('public', 'core')
    group by 1 order by 1`;
}

function refuseOthers(tables: readonly Table[], others: readonly Table[]): void {
  const written = (list: readonly Table[]) => list.map(({ name, columns }) => `${name} (${columns})`);
  const [ours, theirs] = [written(tables), written(others)];
  const [odd] = [
    ...ours.filter((table) => !theirs.includes(table)),
    ...theirs.filter((table) => !ours.includes(table)),
  ];
  if (odd !== undefined) throw new Error(`The two databases have not the same tables: one alone has ${odd}.`);
}

/** Counts and digests the rows that pass, by table. */
function digesting(): { digests: Map<string, Digest>; through: Transform } {
  const digests = new Map<string, Digest>();
  let table: Digest | undefined;
  let open: Buffer = Buffer.alloc(0);
  const take = (line: Buffer) => {
    if (table === undefined) {
      table = { rows: 0, sum: 0n };
      digests.set(line.toString().split(' ')[1] ?? '', table);
    } else if (line.equals(END)) table = undefined;
    else {
      const word = createHash('sha256').update(line).digest().readBigUInt64BE();
      table.sum = BigInt.asUintN(64, table.sum + word);
      table.rows += 1;
    }
  };
  const through = new Transform({
    transform(chunk: Buffer, _, done) {
      let rest = open.length > 0 ? Buffer.concat([open, chunk]) : chunk;
      for (let end = rest.indexOf(10); end !== -1; end = rest.indexOf(10)) {
        take(rest.subarray(0, end));
        rest = rest.subarray(end + 1);
      }
      open = rest;
      done(null, chunk);
    },
  });
  return { digests, through };
}

const END = Buffer.from('\\.');

/** Statements that set them as they are there. */
async function sequencesOf(sql: postgres.Sql): Promise<string> {
  const sequences = await sql<{ statement: string }[]>`
    select format('select setval(%L, %s, %L);', format('%I.%I', schemaname, sequencename), coalesce(last_value, start_value),
      last_value is not null) as statement
    from pg_sequences where schemaname in ('public', 'core')`;
  return sequences.map(({ statement }) => statement).join('\n');
}

function expectSame(name: string, wanted: Digest | undefined, found: Digest | undefined): void {
  if (wanted?.rows !== found?.rows || wanted?.sum !== found?.sum)
    throw new Error(`${name} has other rows than where they came from: ${found?.rows}, there ${wanted?.rows}.`);
}
