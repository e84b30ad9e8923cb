import type { Seeded } from './home.ts';

export type Shown = {
  url: string;
  directory: string;
  database: string;
  providers: string;
  notes: string[];
  seeded: Seeded;
  seconds: number;
};

/** What a person sees when the demo is ready: one screen. */
export function screen({ url, directory, database, providers, notes, seeded, seconds }: Shown): string {
  const env = `${/^[./]/.test(directory) ? '' : './'}${directory}/env`;
  const width = Math.max(...seeded.people.map(({ username }) => username.length));
  const people = seeded.people.map(({ username, about, token }) => `  ${username.padEnd(width)}  ${token}  ${about}`);
  return `
PRPM Playground, ready in ${seconds.toFixed(1)} s

  API        ${url}/api/v1   (every route: ${url}/api/v1/openapi.json)
  Database   ${database}
  Providers  ${providers}
  State      ${directory}   (log: ${directory}/log)
${notes.map((note) => `  Note       ${note}\n`).join('')}
People, and their tokens
${people.join('\n')}

Try in another terminal, here
  . ${env}

  curl -X GET $BASE_URL/api/v1/playground/execute -H "Authorization: Bearer $TEST_USER_TOKEN" \\
    -d "{\\"package_id\\":\\"$PACKAGE_ID\\", \\"input\\":\\"Please be advised that we will utilize the room.\\"}"

  psql $DATABASE_URL -c "SELECT current_month_api_cost FROM users WHERE id='$TEST_USER_ID';"

  psql $DATABASE_URL -c "SELECT * FROM ops.explain_balance('$TEST_USER_ID');"

Ctrl-C ends everything; the next start goes on with the same data, --reset starts over.
`;
}
