// `npm run demo:scale`: moves the demo that runs in another terminal to three nodes, or back to one server.
import { join } from 'node:path';
import { tryLock } from '../process-lock.mjs';
import { tellDemo } from './control.ts';
import { recallControl } from './home.ts';
import { readScaleOptions, type ScaleOptions, scaleUsage } from './options.ts';
import { inDirectory } from './screen.ts';

async function move(options: ScaleOptions): Promise<void> {
  const { directory, shownDirectory, back } = options;
  const control = recallControl(directory);
  const told = control && (await tellDemo(control, back ? 'back' : 'nodes', console.log));
  if (told === undefined) throw new Error(whyNobodyAnswers(options));
  const env = `${/^[./]/.test(shownDirectory) ? '' : './'}${shownDirectory}/env`;
  console.log(back ? afterwards(env) : scaled(env, shownDirectory));
}

function whyNobodyAnswers({ directory, shownDirectory }: ScaleOptions): string {
  try {
    const { release, holder } = tryLock(join(directory, 'lock'));
    release?.();
    if (holder !== undefined)
      return `The demo in ${shownDirectory} (process ${holder}) is starting or ending. Try again when it shows its screen.`;
  } catch {
    // There is no such directory.
  }
  return `No demo runs in ${shownDirectory}. Start one in another terminal, and type this again when it shows its screen: npm run demo${inDirectory(shownDirectory)}`;
}

const afterwards = (env: string) => `
In each terminal that was with the demo, again: . ${env}`;

const scaled = (env: string, directory: string) => `${afterwards(env)}
Then, for how many people each node has:
  psql $DATABASE_URL -c "SELECT current_setting('port') AS port, count(*) AS people FROM users GROUP BY 1"

The demo goes on with three nodes whenever it starts. Back to one server, with what happened since:
  npm run demo:scale${inDirectory(directory) || ' --'} --back`;

try {
  const options = readScaleOptions(process.argv.slice(2), process.env);
  if (options.help) console.log(scaleUsage);
  else await move(options);
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}
