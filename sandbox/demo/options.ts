import { resolve } from 'node:path';
import { parseArgs } from 'node:util';

const root = resolve(import.meta.dirname, '../..');

export type Options = {
  /** Where all state is kept. */
  directory: string;
  /** As the person wrote it, for the lines that they read. */
  shownDirectory: string;
  /** Begin with an empty database. */
  reset: boolean;
  /** Call the providers and Stripe themselves, with the environment's keys. */
  real: boolean;
  /** 0: a free one. */
  port: number;
  help: boolean;
};

export const usage = `npm run demo -- [options]

  --dir DIR   keep all state in DIR (default .demo)
  --reset     start over with an empty database
  --real      call Anthropic, OpenAI and Stripe with the keys of the environment, instead of stand-ins
  --port N    listen on port N; 0 takes a free one (default: the variable PORT, else 3000)

DATABASE_URL, if it names a superuser, is the PostgreSQL server to use; else the demo brings its own.`;

/** Throws an Error with one sentence for the person who wrote them. */
export function readOptions(args: string[], environment: NodeJS.ProcessEnv): Options {
  const { values } = parseArgs({
    args,
    options: {
      dir: { type: 'string' },
      reset: { type: 'boolean', default: false },
      real: { type: 'boolean', default: false },
      port: { type: 'string', default: environment.PORT || '3000' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  const port = Number(values.port);
  if (!/^\d+$/.test(values.port) || port > 65_535) {
    throw new Error(`"${values.port}" is no port: choose a number from 0 to 65535.`);
  }
  // npm changes to the project's root, and says where the person was.
  const directory =
    values.dir === undefined ? resolve(root, '.demo') : resolve(environment.INIT_CWD ?? '.', values.dir);
  const { reset, real, help } = values;
  return { directory, shownDirectory: values.dir ?? '.demo', reset, real, port, help };
}
