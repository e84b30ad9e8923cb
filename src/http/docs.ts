import { hash } from 'node:crypto';
import { html, raw } from 'hono/html';
import { z } from 'zod';
import { registry } from '../errors/registry.ts';
import { openApi } from './openapi.ts';

type Html = ReturnType<typeof html>;
type Schema = z.output<typeof schemaSchema>;

const schemaSchema = z.object({
  type: z.union([z.string(), z.array(z.string())]).optional(),
  enum: z.array(z.unknown()).optional(),
  const: z.unknown().optional(),
  description: z.string().optional(),
  default: z.unknown().optional(),
  minimum: z.number().optional(),
  maximum: z.number().optional(),
  minLength: z.number().optional(),
  maxLength: z.number().optional(),
  minItems: z.number().optional(),
  maxItems: z.number().optional(),
  required: z.array(z.string()).default([]),
  get properties() {
    return z.record(z.string(), schemaSchema).optional();
  },
  get items() {
    return schemaSchema.optional();
  },
  get anyOf() {
    return z.array(schemaSchema).optional();
  },
  get contentSchema() {
    return schemaSchema.optional();
  },
  get oneOf() {
    return z.array(schemaSchema).optional();
  },
});
const contentSchema = z.record(z.string(), z.object({ schema: schemaSchema }));
const operationSchema = z.object({
  operationId: z.string(),
  summary: z.string(),
  tags: z.array(z.string()),
  security: z.array(z.record(z.string(), z.unknown())).optional(),
  parameters: z
    .array(
      z.object({
        ...{ name: z.string(), in: z.string(), required: z.boolean() },
        ...{ description: z.string().optional(), schema: schemaSchema },
      }),
    )
    .default([]),
  requestBody: z.object({ content: contentSchema }).optional(),
  responses: z.record(z.string(), z.object({ description: z.string(), content: contentSchema.default({}) })),
});
const documentSchema = z.object({
  info: z.object({ title: z.string(), description: z.string(), version: z.string() }),
  tags: z.array(z.object({ name: z.string(), description: z.string() })),
  paths: z.record(z.string(), z.record(z.string(), operationSchema)),
});
type Operation = z.output<typeof operationSchema> & { method: string; path: string };

/** A page that says what openapi.json says, to people: no scripts, nothing from elsewhere. Spec 11.2. */
export function docsPage(version: string): { page: string; policy: string } {
  const { info, tags, paths } = documentSchema.parse(openApi(version));
  const operations = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ ...operation, method: method.toUpperCase(), path })),
  );
  const groups = tags
    .map((tag) => ({ ...tag, operations: operations.filter((one) => one.tags.includes(tag.name)) }))
    .filter((group) => group.operations.length > 0);
  const page = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${info.title}: HTTP interface</title>
<style>${raw(STYLE)}</style>
</head>
<body>
<header>
<h1>${info.title}</h1>
<p>Version ${info.version}. ${info.description}</p>
<p>Send <code>Authorization: Bearer TOKEN</code> with an API token (<code>prpm_…</code>) or a JWT. For machines, the same is in
<a href="/api/v1/openapi.json">OpenAPI 3.1</a>.</p>
<nav aria-label="Groups"><ul>
${groups.map(({ name }) => html`<li><a href="#${name}">${name}</a></li>`)}
<li><a href="#errors">errors</a></li>
</ul></nav>
</header>
<main>
${groups.map(
  (group) => html`<section aria-labelledby="${group.name}">
<h2 id="${group.name}">${group.name}</h2>
<p>${group.description}.</p>
${group.operations.map(shownOperation)}
</section>
`,
)}
<section aria-labelledby="errors">
<h2 id="errors">errors</h2>
<p>Every error is <code>application/problem+json</code>. Its <code>error</code> is one of these; <code>request_id</code> finds it in the
log. A refusal also says <code>limit</code>, <code>used</code> and <code>retry_at</code>, or <code>required_credits</code> and
<code>available_credits</code>.</p>
${table(
  ['error', 'status', 'means', 'what to do'],
  Object.entries(registry).map(([code, [status, title, advice]]) => [code, String(status), title, advice]),
)}
</section>
</main>
</body>
</html>
`;
  return { page: String(page), policy: POLICY };
}

function shownOperation(operation: Operation): Html {
  const { operationId, method, path, summary, parameters, requestBody, responses, security } = operation;
  const isOpen =
    security === undefined || security.length === 0 || security.some((one) => Object.keys(one).length === 0);
  const body = requestBody?.content['application/json']?.schema;
  const fields = [
    ...parameters.map(({ name, in: place, required, description, schema }) => [
      ...[name, place, typeOf(schema), required ? 'required' : '', describe({ ...schema, description })],
    ]),
    ...fieldsOf(body).map(({ path: name, schema, isRequired }) => [
      ...[name, 'body', typeOf(schema), isRequired ? 'required' : '', describe(schema)],
    ]),
  ];
  const answers = Object.entries(responses).flatMap(([status, { content }]) =>
    Object.entries(content)
      .filter(([type]) => type !== 'application/problem+json')
      .map(([type, { schema }]) => ({ status, type, schema })),
  );
  return html`<details id="${operationId}">
<summary><b class="${method.toLowerCase()}">${method}</b> <code>${path}</code> <span>${summary}</span></summary>
${isOpen ? html`<p>Needs no token.</p>` : ''}
${fields.length > 0 ? table(['field', 'in', 'type', 'needed', 'about'], fields) : ''}
<pre tabindex="0">${example(operation, isOpen)}</pre>
${answers.map(
  ({ status, type, schema }) => html`<h3>${status} <code>${type}</code></h3>
${type === 'text/event-stream' ? shownEvents(schema) : shownFields(schema)}`,
)}
</details>
`;
}

function shownFields(schema: Schema): Html | string {
  const fields = fieldsOf(schema);
  if (fields.length === 0) return '';
  return table(
    ['field', 'type', 'about'],
    fields.map(({ path, schema: one }) => [path, typeOf(one), describe(one)]),
  );
}

/** Each kind of event with its data. */
function shownEvents(schema: Schema): Html {
  return html`<p>${schema.description}</p>
${(schema.contentSchema?.oneOf ?? schema.contentSchema?.anyOf ?? []).map(({ properties }) => {
  const data = properties?.data;
  return html`<h4><code>${String(properties?.type?.const)}</code></h4>
${data === undefined ? '' : shownFields(data)}`;
})}`;
}

function table(head: string[], rows: string[][]): Html {
  return html`<div class="wide" tabindex="0"><table>
<thead><tr>${head.map((cell) => html`<th scope="col">${cell}</th>`)}</tr></thead>
<tbody>
${rows.map(
  ([
    first = '',
    ...rest
  ]) => html`<tr><th scope="row"><code>${first}</code></th>${rest.map((cell) => html`<td>${cell}</td>`)}</tr>
`,
)}
</tbody></table></div>`;
}

type Field = { path: string; schema: Schema; isRequired: boolean };

/** Fields with those inside them, named by their way there: `limits.daily.used`, `sessions[].id`. */
function fieldsOf(schema: Schema | undefined, before = ''): Field[] {
  if (schema === undefined) return [];
  const { properties, items, required } = plain(schema);
  if (items !== undefined) return fieldsOf(items, `${before}[]`);
  return Object.entries(properties ?? {}).flatMap(([name, inner]) => {
    const path = before === '' ? name : `${before}.${name}`;
    return [{ path, schema: inner, isRequired: required.includes(name) }, ...fieldsOf(inner, path)];
  });
}

/** What may be null, as what it is otherwise. */
function plain(schema: Schema): Schema {
  const others = schema.anyOf?.filter(({ type }) => type !== 'null');
  const [only] = others ?? [];
  return only !== undefined && others?.length === 1
    ? { ...only, description: schema.description ?? only.description }
    : schema;
}

function typeOf(schema: Schema): string {
  const { type, items, enum: values, const: value } = plain(schema);
  const mayBeNull = plain(schema) !== schema && schema.anyOf?.some((one) => one.type === 'null');
  const named = value !== undefined ? JSON.stringify(value) : [type ?? 'any'].flat().join(' or ');
  const shown = values !== undefined ? values.map((one) => JSON.stringify(one)).join(', ') : named;
  return `${items === undefined ? shown : `${typeOf(items)}, a list`}${mayBeNull ? ' or null' : ''}`;
}

function describe(schema: Schema): string {
  const { description, minimum, maximum, minLength, maxLength, minItems, maxItems, default: standard } = plain(schema);
  const isBig = (bound: number | undefined) => bound === undefined || Math.abs(bound) >= Number.MAX_SAFE_INTEGER;
  const range = (least: number | undefined, most: number | undefined, unit: string) => {
    if (isBig(least) && isBig(most)) return [];
    if (isBig(most)) return [`${count(least)}${unit} or more`];
    return [isBig(least) ? `at most ${count(most)}${unit}` : `${count(least)} to ${count(most)}${unit}`];
  };
  const bounds = [
    ...range(minimum, maximum, ''),
    ...range(minLength, maxLength, ' characters'),
    ...range(minItems, maxItems, ' entries'),
    ...(standard === undefined ? [] : [`${JSON.stringify(standard)} where left out`]),
  ];
  return [description, bounds.length === 0 ? undefined : `${bounds.join('; ')}.`].filter(Boolean).join(' ');
}

const count = (value = 0) => value.toLocaleString('en');

/** A call to paste, with what it must send. */
function example({ method, path, requestBody, parameters }: Operation, isOpen: boolean): string {
  const body = requestBody?.content['application/json']?.schema;
  const needed = Object.entries(body?.properties ?? {}).filter(
    ([name]) => body?.required.includes(name) || name === 'package_id',
  );
  const sent = Object.fromEntries(needed.map(([name, schema]) => [name, sample(name, schema)]));
  const query = parameters.filter((one) => one.in === 'query' && one.required).map(({ name }) => `${name}=…`);
  return [
    `curl ${method === 'GET' ? '' : `-X ${method} `}"$BASE_URL${path}${query.length > 0 ? `?${query.join('&')}` : ''}"`,
    ...(isOpen ? [] : ['-H "Authorization: Bearer $TOKEN"']),
    ...(body === undefined ? [] : [`-d '${JSON.stringify(sent)}'`]),
  ].join(' \\\n  ');
}

function sample(name: string, schema: Schema): unknown {
  const { type, enum: values, minimum, items, minItems = 1 } = plain(schema);
  if (name === 'package_id') return 'code-review';
  if (values !== undefined) return values[0];
  if (type === 'boolean') return true;
  if (type === 'integer' || type === 'number') return minimum ?? 1;
  if (items !== undefined) return Array.from({ length: minItems }, () => sample('', items));
  return type === 'object' ? {} : '…';
}

const STYLE = `
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; --line: #8884; --quiet: #8882; }
body { max-width: 64rem; margin: 0 auto; padding: 1rem; }
code, pre { font-family: ui-monospace, monospace; font-size: 0.9em; overflow-wrap: anywhere; }
nav ul { display: flex; flex-wrap: wrap; gap: 0 1rem; padding: 0; list-style: none; }
details { border-top: 1px solid var(--line); padding: 0.4rem 0; }
summary { cursor: pointer; }
summary span { opacity: 0.8; }
summary b { display: inline-block; min-width: 4.2rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 0.9rem; }
tbody th { min-width: 12rem; }
tbody th code { overflow-wrap: normal; }
th, td { text-align: left; vertical-align: top; padding: 0.15rem 0.6rem 0.15rem 0; border-bottom: 1px solid var(--quiet); font-weight: 400; }
thead th { opacity: 0.7; }
pre { background: var(--quiet); padding: 0.6rem; overflow-x: auto; }
`;
const POLICY = [
  ...["default-src 'none'", `style-src 'sha256-${hash('sha256', STYLE, 'base64')}'`],
  ...["base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"],
].join('; ');
