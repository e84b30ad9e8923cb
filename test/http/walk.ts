// Every operation of the OpenAPI document, with a request to it that is good.
import { call, type House } from './house.ts';

type Schema = Record<string, unknown>;
export type Operation = {
  operationId?: string;
  security?: Record<string, unknown>[];
  parameters?: { name: string; in: string; schema: Schema }[];
  requestBody?: { content: Record<string, { schema: Schema }> };
  responses: Record<string, { content?: Record<string, { schema: Schema }> }>;
};
/** `path` as the document has it, `there` with what is meant in place of names. */
export type Step = { method: string; path: string; there: string; operation: Operation; body?: unknown };
export type Walk = {
  // biome-ignore lint/suspicious/noExplicitAny: a test looks into it wherever it likes
  document: any;
  /** In an order in which each succeeds: what deletes comes last, the deepest path first. */
  steps: Step[];
  /** Of ada, an administrator and verified author, with every scope. */
  token: string;
  /** Who may ask: ada, but for a vote, which is not for the owner, and for a run without signing in. */
  tokenFor(path: string): string | undefined;
};

/** Has ada and bob do what the requests are about. */
export async function openWalk(house: House): Promise<Walk> {
  const { ada, bob, url, database } = house;
  const { json: document } = await call(url, 'GET', '/api/v1/openapi.json');
  await database.owner`update settings set visitor_reads_per_minute = 100000`;
  await database.ops`select from ops.set_user(${ada.userId}, is_admin => true, verified_author => true, reason => 'test')`;
  const [made] = await database.ops`
    select token from ops.create_token(${ada.userId}, 'test', ${['run', 'read', 'billing', 'publish', 'admin']})`;
  const token = String(made?.token);
  const post = async (path: string, body: unknown, who = token) =>
    (await call(url, 'POST', `/api/v1${path}`, { token: who, body })).json;

  const run = await post('/playground/execute', { package_id: 'haiku', input: 'hello' });
  const sides = { package_id: 'haiku', input: 'hello', sides: [{}, { use_no_prompt: true }] };
  const compared = await post('/playground/compare', sides);
  const share = await post(`/playground/sessions/${run.session_id}/share`, undefined);
  const suggested = await post('/suggested-inputs', { package_id: 'haiku', title: 'Rain', suggested_input: 'Rain' });
  const usage = await post('/suggested-inputs/record-usage', { suggested_input_id: suggested.id }, bob.token);
  const [alert] = await database.owner`
    insert into alerts (kind, key, level, severity, subject, body, details, raised_at)
    values ('test', '', 1, 'warning', 'A test', 'Nothing', '{}', core.now()) returning id`;
  const [spare] = await database.ops`select id from ops.create_token(${ada.userId}, 'spare')`;

  /** What a path's last name before a name in braces says is meant. */
  const ids: Record<string, string> = {
    shared: share.share_token,
    user: ada.userId,
    author: ada.userId,
    models: 'gpt-4o',
    alerts: String(alert?.id),
    runs: run.run_id,
    compare: compared.comparison_id,
    sessions: run.session_id,
    package: house.packageId,
    packages: house.packageId,
    playground: house.packageId,
    versions: house.packageId,
    tokens: String(spare?.id),
    'suggested-inputs': suggested.id,
  };
  const returns = { success_url: 'http://localhost:3000/ok', cancel_url: 'http://localhost:3000/no' };
  const bodies: Record<string, unknown> = {
    '/packages': { name: 'limerick', version: '1.0.0', prompt: 'A limerick.' },
    '/packages/manifest': {
      manifest: { name: 'ballad', version: '1.0.0', files: ['ballad.md'] },
      files: { 'ballad.md': 'Tell it as a ballad.' },
    },
    '/packages/markdown': { markdown: '---\nname: ode\nversion: 1.0.0\n---\nWrite an ode to it.' },
    '/packages/{name}': { tags: ['verse'] },
    '/packages/{name}/versions/{version}': { deprecated: 'Use limerick.' },
    '/suggested-inputs': { package_id: 'haiku', title: 'Snow', suggested_input: 'Snow' },
    '/suggested-inputs/record-usage': { suggested_input_id: suggested.id },
    '/suggested-inputs/mark-complete': { usage_id: usage.usage_id, session_id: run.session_id },
    '/suggested-inputs/{id}': { title: 'A rainy day' },
    '/account/erase': {},
    '/playground/compare': sides,
    '/playground/compare/estimate': sides,
    '/playground/compare/{id}/share': {},
    '/account/tokens': { name: 'laptop', scopes: ['read'] },
    '/account/email-preferences': { credits: false },
    '/custom-prompt/run': { custom_prompt: 'Write a limerick about it.', input: 'hello' },
    '/playground/sessions/{id}/continue': { input: 'more' },
    '/playground/sessions/{id}/summarise': {},
    '/playground/sessions/{id}/summarise/estimate': {},
    '/playground/sessions/{id}': { title: 'A poem' },
    '/playground/sessions/{id}/feature': { is_featured: true },
    '/playground/shared/{token}/feedback': { is_helpful: true },
    '/playground/shared/{token}/fork': {},
    '/playground/feedback': { session_id: run.session_id, exchange_index: 0, is_effective: true },
    '/playground/credits/purchase': { package: 'small', ...returns },
    '/playground/subscribe': returns,
    '/playground/subscription/portal': { return_url: returns.success_url },
    '/admin/cost-analytics/user/{id}/unthrottle': { reason: 'asked' },
    '/admin/cost-analytics/alerts/{id}/acknowledge': { reason: 'at it' },
  };
  const steps = Object.entries<Record<string, Operation>>(document.paths).flatMap(([path, operations]) =>
    Object.entries(operations).map(([method, operation]): Step => {
      const kind = /([\w-]+)\/\{/.exec(path)?.[1] ?? '';
      const there = path.replace('{version}', '1.0.0').replace(/\{\w+\}/, ids[kind] ?? 'x');
      const body = bodies[path.replace('/api/v1', '')] ?? { package_id: 'haiku', input: 'hello' };
      return { method: method.toUpperCase(), path, there, operation, ...(operation.requestBody && { body }) };
    }),
  );
  const place = ({ path, method }: Step) => (method === 'DELETE' ? 100 - path.length : -1000);
  return {
    ...{ document, token },
    steps: steps.sort((a, b) => place(a) - place(b)),
    tokenFor: (path) =>
      path.endsWith('/anonymous-run') ? undefined : /\/shared\/.*\/feedback$/.test(path) ? bob.token : token,
  };
}
