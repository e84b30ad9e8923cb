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
  const { reset, real, help } = values;
  return { ...directoryOf(values.dir, environment), reset, real, port, help };
}

export type ScaleOptions = Pick<Options, 'directory' | 'shownDirectory' | 'help'> & {
  /** To one server, instead of three nodes. */
  back: boolean;
};

export const scaleUsage = `npm run demo:scale -- [options]

Moves the demo that runs in another terminal to three nodes: a coordinator and two workers, with Citus (docs/scale.md).

  --dir DIR   the demo in DIR (default .demo)
  --back      moves it back to one server, with all that has happened since`;

/** Throws an Error with one sentence for the person who wrote them. */
export function readScaleOptions(args: string[], environment: NodeJS.ProcessEnv): ScaleOptions {
  const { values } = parseArgs({
    args,
    options: {
      dir: { type: 'string' },
      back: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  return { ...directoryOf(values.dir, environment), back: values.back, help: values.help };
}

/** npm changes to the project's root, and says where the person was. */
function directoryOf(dir: string | undefined, environment: NodeJS.ProcessEnv) {
  const directory = dir === undefined ? resolve(root, '.demo') : resolve(environment.INIT_CWD ?? '.', dir);
  return { directory, shownDirectory: dir ?? '.demo' };
}
