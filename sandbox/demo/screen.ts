import type { Seeded } from './home.ts';

export type Shown = {
  url: string;
  directory: string;
  database: string;
  providers: string;
  stripe: string;
  /** Whether Stripe is the sandbox's. */
  hasSandbox: boolean;
  notes: string[];
  seeded: Seeded;
  seconds: number;
};

/** What a person sees when the demo is ready: one screen. */
export function screen(shown: Shown): string {
  const { url, directory, database, providers, stripe, hasSandbox, notes, seeded, seconds } = shown;
  const env = `${/^[./]/.test(directory) ? '' : './'}${directory}/env`;
  const width = Math.max(...seeded.people.map(({ username }) => username.length));
  const people = seeded.people.map(({ username, about, token }) => `  ${username.padEnd(width)}  ${token}  ${about}`);
  return `
PRPM Playground, ready in ${seconds.toFixed(1)} s

  Page       ${url}   (sign in as one of these people, without a password)
  API        ${url}/api/v1   (every route: ${url}/api/v1/openapi.json)
  Database   ${database}
  Providers  ${providers}
  Stripe     ${stripe}
  State      ${directory}   (log: ${directory}/log)
${notes.map((note) => `  Note       ${note}\n`).join('')}
People, and their tokens
${people.join('\n')}

Try in another terminal, here
  . ${env}

  curl -X GET $BASE_URL/api/v1/playground/execute -H "Authorization: Bearer $TEST_USER_TOKEN" \\
    -d "{\\"package_id\\":\\"$PACKAGE_ID\\", \\"input\\":\\"Please be advised that we will utilize the room.\\"}"

  psql $DATABASE_URL -c "SELECT current_month_api_cost FROM users WHERE id='$TEST_USER_ID';"
${hasSandbox ? buying : ''}
  psql $DATABASE_URL -c "SELECT * FROM ops.explain_balance('$TEST_USER_ID');"

Ctrl-C ends everything; the next start goes on with the same data, --reset starts over.
With Citus on this machine, npm run demo:scale${inDirectory(directory)} in another terminal moves it to three nodes (docs/scale.md).
`;
}

/** For a command about the demo in that directory. */
export const inDirectory = (shown: string) => (shown === '.demo' ? '' : ` -- --dir ${shown}`);

const back = '\\"successUrl\\":\\"$BASE_URL/healthz\\",\\"cancelUrl\\":\\"$BASE_URL/healthz\\"';
/** Their newest payment for a pack. */
const payment =
  "SELECT id FROM payments WHERE kind = 'pack' AND user_id = '$TEST_USER_ID' ORDER BY created_at DESC LIMIT 1";

/** Paid at the URLs that the first two answer; the third gives half of a small pack back. */
const buying = `
Subscribe, buy a pack (each answers with the page to pay on: open it, no card is needed), refund half of the pack
  curl $BASE_URL/api/v1/playground/subscribe -H "Authorization: Bearer $TOKEN" -d "{${back}}"
  curl $BASE_URL/api/v1/playground/credits/purchase -H "Authorization: Bearer $TOKEN" -d "{\\"package\\":\\"small\\",${back}}"
  curl $STRIPE_API_BASE/sandbox/refund -d "{\\"id\\":\\"$(psql $DATABASE_URL -Atc "${payment}")\\",\\"amount\\":250}"
`;
