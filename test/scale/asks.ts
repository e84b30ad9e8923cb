// Asks a demo all that its pages, its API and an operator can ask: each query of /trpc, each view that prpm_ops may read, and what the
// guides print. What two places of the same data answer can be compared.
import postgres from 'postgres';
import { appRouter } from '../../src/trpc/_app.ts';
import type { Demo } from '../guide/demo.ts';

/** Who asks, and what about. Tokens are of people who have what is asked for. */
export type Asker = {
  admin: string;
  author: string;
  authorId: string;
  /** Has runs, a subscription, a comparison and a shared session. */
  user: string;
  userId: string;
  packageId: string;
  suggestedInputId: string;
  sessionId: string;
  runId: string;
  comparisonId: string;
  shareToken: string;
};

type Ask = { as: 'admin' | 'author' | 'user'; input?: Record<string, unknown> };

/** For each query what is sent with it; the test fails on one that is not here. */
function asksOf(asker: Asker): Record<string, Ask> {
  const { authorId, userId, packageId, suggestedInputId, sessionId, runId, comparisonId, shareToken } = asker;
  const costs = (name: string, input?: Record<string, unknown>): [string, Ask] => [
    `analytics.costs.${name}`,
    { as: 'admin', ...(input && { input }) },
  ];
  return {
    'accounts.export': { as: 'user', input: {} },
    'accounts.me': { as: 'user' },
    'accounts.viewer': { as: 'user' },
    'accounts.signInOptions': { as: 'user' },
    'accounts.changes': { as: 'admin', input: {} },
    'accounts.tokens.list': { as: 'user' },
    'alerts.emailPreferences': { as: 'user' },
    'alerts.list': { as: 'admin', input: { state: 'all' } },
    ...Object.fromEntries([
      ...[costs('summary'), costs('users', {}), costs('user', { userId }), costs('timeSeries', { by: 'model' })],
      ...[costs('models', {}), costs('packages', {}), costs('plans', {}), costs('limitUse'), costs('lossMakers')],
      ...[
        costs('presets'),
        costs('projection', {}),
        costs('whatIf', { planPrices: [{ plan: 'prpm_plus_individual', price: 7 }] }),
      ],
    ]),
    'analytics.authors.summary': { as: 'author' },
    'analytics.authors.package': { as: 'author', input: { packageId } },
    'analytics.authors.packageSeries': { as: 'author', input: { packageId } },
    'analytics.authors.inputs': { as: 'author', input: { packageId } },
    'analytics.authors.inputSeries': { as: 'author', input: { suggestedInputId } },
    'billing.subscription': { as: 'user' },
    'billing.pricing': { as: 'user' },
    'billing.packs': { as: 'user' },
    'billing.checkout': { as: 'user', input: {} },
    'billing.events': { as: 'admin', input: {} },
    'catalog.models': { as: 'user' },
    'catalog.explainPrice': { as: 'user', input: { model: 'sonnet' } },
    'catalog.config': { as: 'admin' },
    'catalog.prices': { as: 'admin' },
    'catalog.packages.search': { as: 'user', input: { query: 'review' } },
    'catalog.packages.read': { as: 'user', input: { packageId } },
    'catalog.packages.version': { as: 'user', input: { packageId } },
    'catalog.suggestedInputs.list': { as: 'user', input: { packageId } },
    'catalog.suggestedInputs.byAuthor': { as: 'author', input: { authorId } },
    'credits.balance': { as: 'user' },
    'credits.history': { as: 'user', input: { limit: 100 } },
    'credits.file': { as: 'user', input: {} },
    'credits.series': { as: 'user', input: {} },
    'credits.explain': { as: 'user', input: {} },
    'jobs.list': { as: 'admin' },
    'jobs.health': { as: 'admin' },
    'jobs.figures': { as: 'admin' },
    'limits.read': { as: 'user' },
    'limits.explain': { as: 'user', input: {} },
    'limits.throttledNow': { as: 'admin' },
    'runs.customPrompts': { as: 'user' },
    'runs.read': { as: 'user', input: { runId } },
    'runs.explain': { as: 'user', input: { runId } },
    'runs.offer': { as: 'user' },
    'runs.openHolds': { as: 'admin' },
    'runs.comparisons.read': { as: 'user', input: { comparisonId } },
    'sessions.list': { as: 'user', input: { query: 'the model:sonnet' } },
    'sessions.read': { as: 'user', input: { sessionId } },
    'sessions.export': { as: 'user', input: { sessionId } },
    'sessions.shared': { as: 'user', input: { shareToken } },
    'sessions.results': { as: 'user', input: { packageId } },
  };
}

/** Every query that the server has. */
const queries = Object.entries<{ _def: { type: string } }>(appRouter._def.procedures as never)
  .filter(([, { _def }]) => _def.type === 'query')
  .map(([name]) => name)
  .sort();

/** By query its answer, or what was wrong. */
export async function askPages({ env }: Demo, asker: Asker): Promise<Record<string, unknown>> {
  const asks = asksOf(asker);
  const answers: Record<string, unknown> = {};
  for (const name of queries) {
    const ask = asks[name];
    if (ask === undefined) throw new Error(`no test knows what to send with ${name}`);
    const query = ask.input ? `?input=${encodeURIComponent(JSON.stringify(ask.input))}` : '';
    const headers = { authorization: `Bearer ${asker[ask.as]}` };
    const answer = await fetch(`${env.BASE_URL}/trpc/${name}${query}`, { headers });
    const body = JSON.parse(await answer.text());
    answers[name] = body.result?.data ?? { refused: body.error?.message };
  }
  return answers;
}

/** By view or statement its rows as text, in one order, or what was wrong. */
export async function askPsql({ env }: Demo, statements: readonly string[]): Promise<Record<string, unknown>> {
  const sql = postgres(env.DATABASE_URL ?? '', { max: 1, onnotice: () => {} });
  try {
    const views = await sql<{ name: string }[]>`
      select format('%I.%I', n.nspname, c.relname) as name
      from pg_class c join pg_namespace n on n.oid = c.relnamespace
      where n.nspname in ('public', 'ops') and c.relkind in ('v', 'r') and has_table_privilege(c.oid, 'select')
        and not exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
      order by 1`;
    const answers: Record<string, unknown> = {};
    for (const statement of [...views.map(({ name }) => `select * from ${name}`), ...statements]) {
      answers[statement] = await sql.unsafe(statement).then(
        (rows) => rows.map((row) => JSON.stringify(row)).sort(),
        (error) => ({ refused: error.message }),
      );
    }
    return answers;
  } finally {
    await sql.end();
  }
}

/** The names of those that were refused, with the reason. */
export function refused(answers: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(answers).flatMap(([name, answer]) =>
      typeof answer === 'object' && answer !== null && 'refused' in answer ? [[name, answer.refused]] : [],
    ),
  );
}
