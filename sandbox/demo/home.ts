// The demo's directory: who uses it, what it remembers between starts, and the file `env` for other terminals.
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { randomPasswords, roleNames } from '../../src/database/roles.ts';
import { removeCluster } from '../postgres/cluster.ts';
import { tryLock } from '../process-lock.mjs';

const seededSchema = z.object({
  /** In the order in which the screen shows them. */
  people: z.array(
    z.object({ username: z.string(), email: z.string(), about: z.string(), id: z.string(), token: z.string() }),
  ),
  /** Who tries the guide's commands, and who administers. */
  testUser: z.string(),
  admin: z.string(),
  packageId: z.string(),
});
export type Seeded = z.output<typeof seededSchema>;

const memorySchema = z.object({
  /** Where its data is: `private`, or server and database. */
  database: z.string(),
  passwords: z.record(z.enum(roleNames), z.string()),
  /** Not null: it has been moved from there to nodes of its own, with this password of their superuser and these files of db/. */
  nodes: z.object({ password: z.string(), schema: z.string() }).nullable().default(null),
  /** Null until its Stripe is set up: where that listens, where its webhooks go, and what signs them. */
  stripe: z.object({ port: z.int(), webhookUrl: z.string(), webhookSecret: z.string() }).nullable().default(null),
  /** Null until the seed is complete. */
  seeded: seededSchema.nullable(),
});
export type Memory = z.output<typeof memorySchema>;

const controlSchema = z.object({ port: z.int(), secret: z.string() });
/** Where a running demo is told to move, and what shows that one may tell it. */
export type ControlAddress = z.output<typeof controlSchema>;

const files = ['state.json', 'stripe.json', 'env', 'control', 'log'];

export type Home = ReturnType<typeof openHome>;

/** The files of a demo's directory, which must be locked. Tokens and passwords are in them, so others may not read them. */
export function openHome(directory: string) {
  const path = (name: string) => join(directory, name);

  function write(name: string, text: string): void {
    writeFileSync(path(`${name}.new`), text, { mode: 0o600 });
    renameSync(path(`${name}.new`), path(name));
  }

  function removeNodes(): void {
    const nodes = path('nodes');
    for (const name of existsSync(nodes) ? readdirSync(nodes) : []) removeCluster(join(nodes, name));
    rmSync(nodes, { recursive: true, force: true });
  }

  return {
    directory,
    postgres: path('postgres'),
    nodes: path('nodes'),
    log: path('log'),

    recall(): Memory | undefined {
      return existsSync(path('state.json'))
        ? memorySchema.parse(JSON.parse(readFileSync(path('state.json'), 'utf8')))
        : undefined;
    },

    remember(memory: Memory): void {
      write('state.json', `${JSON.stringify(memory, null, 2)}\n`);
    },

    /** What keepStripe was given last. */
    recallStripe(): string | undefined {
      return existsSync(path('stripe.json')) ? readFileSync(path('stripe.json'), 'utf8') : undefined;
    },

    keepStripe(snapshot: string): void {
      write('stripe.json', snapshot);
    },

    /** For `. DIR/env`: there while the demo is ready, complete from its first moment. */
    publish(variables: Record<string, string>): void {
      const lines = Object.entries(variables).map(
        ([name, value]) => `export ${name}='${value.replaceAll("'", "'\\''")}'\n`,
      );
      write('env', lines.join(''));
    },

    publishControl(address: ControlAddress): void {
      write('control', JSON.stringify(address));
    },

    withdraw(): void {
      for (const name of ['env', 'control']) rmSync(path(name), { force: true });
    },

    /** Ends nodes that outlived their demo, too. */
    removeNodes,

    clear(): void {
      removeCluster(path('postgres'));
      removeNodes();
      for (const name of files) rmSync(path(name), { force: true });
    },
  };
}

/** Takes the directory for this process. Waits a moment for a demo there that is about to end; throws if it does not. */
export async function lockHome(directory: string, shown: string): Promise<() => void> {
  mkdirSync(directory, { recursive: true });
  chmodSync(directory, 0o755); // the account that PostgreSQL runs as has to get through
  for (let attempt = 0; ; attempt++) {
    const { release, holder } = tryLock(join(directory, 'lock'));
    if (release !== undefined) return release;
    if (attempt === 15) {
      throw new Error(
        `A demo is running in ${shown} already (process ${holder}). Stop it first, or give this one a directory of its own: npm run demo -- --dir DIR`,
      );
    }
    await sleep(200);
  }
}

/** Undefined where no demo is ready in the directory, or none has been. */
export function recallControl(directory: string): ControlAddress | undefined {
  const path = join(directory, 'control');
  return existsSync(path) ? controlSchema.parse(JSON.parse(readFileSync(path, 'utf8'))) : undefined;
}

export function newMemory(database: string): Memory {
  return memorySchema.parse({ database, passwords: randomPasswords(), seeded: null });
}
