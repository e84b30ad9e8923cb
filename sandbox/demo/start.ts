// `npm run demo`: a whole playground on this machine, with a database, providers, people and some weeks of history.
import { once } from 'node:events';
import { type Environment, readEnvironment } from '../../src/config/environment.ts';
import { explainConnectionError } from '../../src/database/connection.ts';
import { startServer } from '../../src/server.ts';
import { createLog } from '../../src/telemetry/log.ts';
import { startStandIns } from '../providers/standins.ts';
import { endWithNpm } from './ancestors.ts';
import { type Move, openControl } from './control.ts';
import { externalServer, externalUrl, privateServer, schemaFiles, type Urls } from './database.ts';
import { type Home, lockHome, newMemory, openHome, type Seeded } from './home.ts';
import { type Demo, moveBack, moveToNodes, openPlace, type Say } from './move.ts';
import { type Options, readOptions, usage } from './options.ts';
import { buildBeside } from './page.ts';
import { choosePort, host } from './ports.ts';
import { screen } from './screen.ts';
import { seed } from './seed.ts';
import { ownShop, type Shop, startShop } from './stripe.ts';

/** A person who presses Ctrl-C does not wait long for answers that nobody reads any more. */
const drainMs = 2_000;
const metricsToken = 'sandbox-demo-metrics';

const ending = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => ending.abort());
endWithNpm(() => ending.abort());

try {
  const options = readOptions(process.argv.slice(2), process.env);
  if (options.help) console.log(usage);
  else await run(options);
} catch (error) {
  if (!ending.signal.aborted) {
    console.error(explainConnectionError(error, process.env.DATABASE_URL ?? ''));
    process.exitCode = 1;
  }
}
process.exit();

async function run(options: Options): Promise<void> {
  await using opened = new AsyncDisposableStack();
  const step = <T>(result: T): T => {
    ending.signal.throwIfAborted();
    return result;
  };
  const { directory, shownDirectory } = options;
  const own = options.real ? ownProviders() : undefined;
  opened.defer(await lockHome(directory, shownDirectory));
  const home = openHome(directory);
  home.withdraw();
  opened.defer(home.withdraw);

  const page = buildBeside(home.log);
  opened.defer(page.stop);
  const external = externalUrl(process.env);
  if (options.reset) home.clear();
  const single = external === undefined ? privateServer(home.postgres) : await externalServer(external);
  const known = home.recall();
  if (known && known.database !== single.id) {
    throw new Error(
      `${shownDirectory} holds a demo whose data is in another database (${known.database}, not ${single.id}). ` +
        '--reset starts it over; --dir DIR leaves it alone.',
    );
  }
  const memory = known ?? newMemory(single.id);
  home.remember(memory);
  const schema = schemaFiles();
  const place = await openPlace({ home, memory, schema, single, mayReplace: options.reset || known !== undefined });
  let demo: Demo | undefined;
  opened.defer(() => (demo?.place ?? place).server.stop());
  step(place);
  if (memory.seeded === null) {
    console.log('Filling the database with people, packages and some weeks of history. This happens once.');
    const { seeded, stripe } = step(await seed(place.urls));
    home.keepStripe(stripe);
    memory.seeded = seeded;
    home.remember(memory);
  }
  const { seeded } = memory;

  const providers = own ?? (await standIns(opened));
  const port = step(await choosePort(options.port));
  const origin = `http://${host}:${port}`;
  const shop = own ? ownShop(process.env, origin) : await startShop(home, memory, origin);
  opened.defer(shop.stop);
  const serve = (urls: Urls) =>
    startServer({
      environment: environment(urls, port, { ...providers.variables, ...shop.variables }),
      log: createLog('info', home.log),
      page: page.built,
      people: seeded.people.map(({ id, username, about }) => ({ userId: id, username, about })),
    });
  const playground = await serve(place.urls);
  const { url } = playground;
  const running: Demo = {
    ...{ home, memory, schema, place, playground, shop, serve, single, ending: ending.signal },
    publish: () => publish(home, url, running.place.urls, shop, seeded),
  };
  demo = running;
  opened.defer(() => running.playground.close());
  shop.open();
  const control = await openControl(home, (to, say) => move(running, to, say));
  opened.defer(control.stop);
  running.publish();

  const seconds = performance.now() / 1000;
  const notes = [...notesOn(options, port, external), ...shop.notes];
  const shown = { url, directory: shownDirectory, database: place.server.shown };
  const partners = { providers: providers.shown, stripe: shop.shown, hasSandbox: own === undefined };
  console.log(screen({ ...shown, ...partners, notes, seeded, seconds }));
  if (!ending.signal.aborted) await once(ending.signal, 'abort');
  console.log('Stopping.');
}

/** What is said goes to the terminal that asked, too. */
async function move(demo: Demo, to: Move, say: Say): Promise<void> {
  const tell = (line: string) => {
    console.log(line);
    say(line);
  };
  try {
    await (to === 'nodes' ? moveToNodes(demo, tell) : moveBack(demo, tell));
  } catch (error) {
    if (demo.ending.aborted)
      throw new Error('Not moved: the demo was ended. Its next start goes on where it was.', { cause: error });
    const reason = explainConnectionError(error, '');
    console.log(`Not moved: ${reason}`);
    throw new Error(`Not moved; the demo goes on where it was. ${reason}`, { cause: error });
  }
}

type Providers = { shown: string; variables: NodeJS.ProcessEnv };

/** What a server reads from its environment; nothing of this process's own goes into it. */
function environment(urls: Urls, port: number, variables: NodeJS.ProcessEnv): Environment {
  return readEnvironment({
    APP_DATABASE_URL: urls.app,
    APP_WORKER_URLS: urls.workers.join(','),
    HOST: host,
    PORT: String(port),
    DRAIN_MS: String(drainMs),
    METRICS_TOKEN: metricsToken,
    ...variables,
  });
}

async function standIns(opened: AsyncDisposableStack): Promise<Providers> {
  const { url, anthropicBaseURL, openaiBaseURL, stop } = await startStandIns();
  opened.defer(stop);
  return {
    shown: `stand-ins at ${url}: answers are made up, no key is used (--real calls the providers)`,
    variables: {
      ANTHROPIC_API_KEY: 'sandbox-demo',
      ANTHROPIC_BASE_URL: anthropicBaseURL,
      OPENAI_API_KEY: 'sandbox-demo',
      OPENAI_BASE_URL: openaiBaseURL,
    },
  };
}

function ownProviders(): Providers {
  const { ANTHROPIC_API_KEY, ANTHROPIC_BASE_URL, OPENAI_API_KEY, OPENAI_BASE_URL } = process.env;
  const variables = { ANTHROPIC_API_KEY, ANTHROPIC_BASE_URL, OPENAI_API_KEY, OPENAI_BASE_URL };
  // Placeholders count as missing.
  const read = readEnvironment({ APP_DATABASE_URL: 'postgres://unused', ...variables });
  const names = [...(read.ANTHROPIC_API_KEY ? ['Anthropic'] : []), ...(read.OPENAI_API_KEY ? ['OpenAI'] : [])];
  if (names.length === 0) throw new Error('--real needs ANTHROPIC_API_KEY or OPENAI_API_KEY in the environment.');
  return { shown: `${names.join(' and ')}, with your keys: runs cost real money`, variables };
}

/** The guide's commands need these, and nothing else. */
function publish(home: Home, url: string, urls: Urls, { exported }: Shop, seeded: Seeded): void {
  const person = (username: string) => {
    const found = seeded.people.find((one) => one.username === username);
    if (found === undefined) throw new Error(`${home.directory} knows no ${username}; --reset starts it over.`);
    return found;
  };
  const [tester, admin] = [person(seeded.testUser), person(seeded.admin)];
  home.publish({
    BASE_URL: url,
    DATABASE_URL: urls.operator,
    MIGRATE_DATABASE_URL: urls.owner,
    TEST_USER_TOKEN: tester.token,
    TEST_USER_ID: tester.id,
    TOKEN: tester.token,
    ADMIN_TOKEN: admin.token,
    PACKAGE_ID: seeded.packageId,
    // For npm run cli.
    PRPM_URL: url,
    PRPM_TOKEN: tester.token,
    METRICS_TOKEN: metricsToken,
    ...exported,
  });
}

function notesOn(options: Options, port: number, external: string | undefined): string[] {
  return [
    ...(options.port !== 0 && options.port !== port ? [`port ${options.port} is taken, so this is a free one`] : []),
    ...(process.env.DATABASE_URL && external === undefined
      ? ['DATABASE_URL names one of our own roles, which cannot set up a server: it counts as unset']
      : []),
  ];
}
