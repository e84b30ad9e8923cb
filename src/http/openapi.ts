import { z } from 'zod';
import { comparisonEventSchema, runEventSchema } from '../engine/events.ts';
import { type ErrorCode, registry } from '../errors/registry.ts';
import { camelName, snakeName } from '../names.ts';
import { exportAnswerSchema } from './download.ts';
import { type ProcedureRoute, type Route, routes } from './routes.ts';

type Json = Record<string, unknown>;

/** One for each room that has routes. */
const TAGS: Record<string, string> = {
  runs: 'Running a package: once as JSON, or as a stream of server-sent events',
  sessions: 'Conversations, shared results, votes and feedback',
  credits: 'Balances, and every movement of credits',
  limits: 'What is used of each limit',
  catalog: 'Models, prices and packages',
  billing: 'Subscriptions, packs of credits, and what Stripe sends',
  accounts: 'Who is asking, and tokens',
  analytics: 'Revenue, cost and margin, for administrators and authors',
  alerts: 'What is wrong, for administrators',
  jobs: 'What is done by the clock',
  server: 'Whether it answers, and this document',
};

/** OpenAPI 3.1, made of the table of routes and the procedures' own schemas. */
export function openApi(version: string): Json {
  const paths: Record<string, Json> = {};
  for (const route of routes) {
    const path = `/api/v1${route.path.replace(/:(\w+)(\{[^}]*\})?/g, '{$1}')}`;
    paths[path] = { ...paths[path], [route.method.toLowerCase()]: operation(route) };
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'PRPM Playground',
      version,
      description:
        'Runs prompt packages and charges credits. Fields are accepted in snake_case and camelCase, and answered as each operation says.',
    },
    tags: Object.entries(TAGS).map(([name, description]) => ({ name, description })),
    paths: { ...paths, ...PLAIN_PATHS },
    components: {
      securitySchemes: { bearer: { type: 'http', scheme: 'bearer', description: 'An API token (prpm_…) or a JWT.' } },
      schemas: { Problem: PROBLEM },
    },
  };
}

/** Files by their type. */
const files = (types: readonly string[]) =>
  Object.fromEntries(
    types.map((type) => [type, { schema: { type: type === 'application/json' ? 'object' : 'string' } }]),
  );

function operation(route: Route): Json {
  if ('webhook' in route) return webhookOperation(route);
  const { method, name, summary, status = 200 } = route;
  const input = inputSchema(route);
  const inPath = new Set(
    [...Object.values(route.params ?? {}), ...Object.keys(route.fixed ?? {})].map(namingOf(route)),
  );
  const fields = Object.entries(input.properties).filter(
    ([field]) => !inPath.has(field) && field !== 'idempotency_key' && !(route.inPieces && field === 'cursor'),
  );
  const hasBody = method === 'POST' || method === 'PATCH' || route.streams === 'asked';
  const parameters = [
    ...Object.entries(route.params ?? {}).map(([param, field]) => ({
      ...{ name: param, in: 'path', required: true, schema: input.properties[namingOf(route)(field)] ?? {} },
    })),
    ...(hasBody || route.streams === 'always' ? [] : fields).map(([field, schema]) => ({
      ...{ name: field, in: 'query', required: input.required.includes(field), schema },
      ...(isObject(schema) && takesList(schema) && LIST),
    })),
    ...('idempotency_key' in input.properties ? [IDEMPOTENCY_KEY] : []),
    ...(route.streams === 'always' ? [LAST_EVENT_ID] : []),
  ];
  const required = input.required.filter((field) => !inPath.has(field));
  const properties = { ...Object.fromEntries(fields), ...(route.streams === 'asked' && { stream: STREAM }) };
  const body = { type: 'object', properties, ...(required.length > 0 && { required }) };
  const answer = route.inPieces
    ? files(route.inPieces)
    : route.streams === 'always'
      ? {}
      : { 'application/json': { schema: outputSchema(route) } };
  const stream =
    route.streams === undefined ? {} : { 'text/event-stream': { schema: EVENTS[route.stream?.of ?? 'run'] } };
  return {
    operationId: `${name}${method === 'GET' && hasBody ? '.get' : ''}${operationSuffix(route)}`,
    ...{ summary, tags: [name.split('.', 1)[0]] },
    security: [...(route.open === true ? [{}] : []), { bearer: [] }],
    ...(parameters.length > 0 && { parameters }),
    ...(hasBody &&
      fields.length > 0 && {
        requestBody: { required: required.length > 0, content: { 'application/json': { schema: body } } },
      }),
    responses: {
      [status]: { description: 'Done.', content: { ...answer, ...stream } },
      ...unconfiguredResponse(route),
      default: problem,
    },
  };
}

function webhookOperation(route: Extract<Route, { webhook: string }>): Json {
  return {
    operationId: `${route.name}${operationSuffix(route)}`,
    ...{ summary: route.summary, tags: ['billing'], security: [] },
    parameters: [SIGNATURE],
    requestBody: { required: true, content: { 'application/json': { schema: { type: 'object' } } } },
    responses: {
      200: { description: 'It is stored.', content: { 'application/json': { schema: RECEIVED } } },
      ...unconfiguredResponse(route),
      default: problem,
    },
  };
}

function unconfiguredResponse({ unconfigured }: { unconfigured?: ErrorCode }): Json {
  if (unconfigured === undefined) return {};
  const [status, title] = registry[unconfigured];
  return { [status]: { ...problem, description: `${title}, or away for the moment.` } };
}

/** How a route names fields. */
function namingOf(route: ProcedureRoute): (name: string) => string {
  return route.case === undefined ? snakeName : camelName;
}

/** Under how many names an answer has each field. */
function answeredAs(route: ProcedureRoute): (name: string) => string[] {
  return route.case === 'both' ? (name) => [...new Set([camelName(name), snakeName(name)])] : onlyBy(namingOf(route));
}

const onlyBy = (rename: (name: string) => string) => (name: string) => [rename(name)];

/** One procedure can have several routes; the path's last word tells them apart. */
function operationSuffix(route: Extract<Route, { name: string }>): string {
  const first = routes.find((one) => 'name' in one && one.name === route.name && one.method === route.method);
  return first === route ? '' : `.${route.path.split('/').at(-1)}`;
}

function inputSchema(route: ProcedureRoute): { properties: Json; required: string[] } {
  const schema = jsonSchema(route.procedure._def.inputs[0], 'input', onlyBy(namingOf(route)));
  const { properties, required } = schema;
  return {
    properties: isObject(properties) ? properties : {},
    required: Array.isArray(required) ? required.map(String) : [],
  };
}

function outputSchema(route: ProcedureRoute): Json {
  if (route.file !== undefined) return jsonSchema(exportAnswerSchema, 'output');
  const outputOf = ({ procedure }: Pick<ProcedureRoute, 'procedure'>) =>
    jsonSchema(Reflect.get(procedure._def, 'output'), 'output', answeredAs(route));
  return route.visitors === undefined
    ? outputOf(route)
    : { anyOf: [outputOf(route), { ...outputOf(route.visitors), description: 'Without a token.' }] };
}

function jsonSchema(schema: unknown, io: 'input' | 'output', names = onlyBy(snakeName)): Json {
  if (!(schema instanceof z.ZodType)) return {};
  const converted = renamed(z.toJSONSchema(schema, { io, unrepresentable: 'any' }), names);
  if (!isObject(converted)) return {};
  const { $schema: _, ...rest } = converted;
  return rest;
}

/** A JSON schema whose properties are named as HTTP answers them. */
function renamed(schema: unknown, names: (name: string) => string[]): unknown {
  if (Array.isArray(schema)) return schema.map((one) => renamed(one, names));
  if (!isObject(schema)) return schema;
  const result: Json = {};
  for (const [key, value] of Object.entries(schema)) {
    if (key === 'properties' && isObject(value)) {
      result[key] = Object.fromEntries(
        Object.entries(value).flatMap(([name, inner]) => names(name).map((one) => [one, renamed(inner, names)])),
      );
    } else if (key === 'required' && Array.isArray(value)) {
      result[key] = value.flatMap((name) => names(String(name)));
    } else if (key !== '~standard') {
      result[key] = renamed(value, names);
    }
  }
  return result;
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Values with commas between them. */
const LIST = { style: 'form', explode: false };

const takesList = ({ type, anyOf }: Json): boolean =>
  type === 'array' || (Array.isArray(anyOf) && anyOf.some((one) => isObject(one) && takesList(one)));

const STREAM = { type: ['boolean', 'null'], description: 'True: as Accept: text/event-stream.' };
/** A body of them is a text; each of its events is of the inner schema. */
const events = (schema: z.ZodType) => ({
  ...{ type: 'string', contentMediaType: 'text/event-stream', contentSchema: jsonSchema(schema, 'output') },
  description:
    'Server-sent events. `type` is the event, `data` its data; ids grow, and Last-Event-ID says where to go on.',
});
const EVENTS = { run: events(runEventSchema), comparison: events(comparisonEventSchema) };
const IDEMPOTENCY_KEY = {
  ...{
    name: 'Idempotency-Key',
    in: 'header',
    required: false,
    schema: { type: 'string', minLength: 1, maxLength: 255 },
  },
  description: 'The same key and request give the same run, charged once.',
};
const SIGNATURE = { name: 'Stripe-Signature', in: 'header', required: true, schema: { type: 'string' } };
const RECEIVED = { type: 'object', required: ['received'], properties: { received: { const: true } } };
const LAST_EVENT_ID = { name: 'Last-Event-ID', in: 'header', required: false, schema: { type: 'string' } };

const problem = {
  description: 'An error; its codes are in docs/errors.md.',
  content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } },
};

const text = { type: 'string' };
const PROBLEM = {
  type: 'object',
  required: ['type', 'title', 'status', 'detail', 'instance', 'error', 'message', 'request_id'],
  properties: {
    ...{ type: text, title: text, status: { type: 'integer' }, detail: text, instance: text },
    error: { type: 'string', enum: Object.keys(registry) },
    ...{ message: text, request_id: text, details: {} },
    errors: {
      type: 'array',
      items: { type: 'object', properties: { field: text, message: text }, required: ['field', 'message'] },
    },
    ...{ limit: { type: 'number' }, used: { type: 'number' }, held: { type: 'number' }, unit: text },
    ...{ retry_at: text, retry_after: { type: 'integer', description: 'Seconds.' }, run_id: text },
    ...{ required_credits: { type: 'integer' }, available_credits: { type: 'integer' }, purchase_url: text },
    ...{ login_required: { type: 'boolean' }, login_url: text, call_to_action: { type: 'object' } },
  },
};

const health = {
  type: 'object',
  required: ['status'],
  properties: {
    status: { type: 'string', enum: ['ok'] },
    version: text,
    jobs: { type: 'string', enum: ['alive', 'none'], description: 'none: nobody has done any for a day, or ever.' },
  },
};
const PLAIN_PATHS = {
  '/api/v1/health': {
    get: {
      ...{ operationId: 'health', summary: 'Whether the server and its database answer', tags: ['server'] },
      responses: {
        200: { description: 'They do.', content: { 'application/json': { schema: health } } },
        default: problem,
      },
    },
  },
  '/api/v1/openapi.json': {
    get: {
      ...{ operationId: 'openapi', summary: 'This document', tags: ['server'] },
      responses: {
        200: { description: 'OpenAPI 3.1.', content: { 'application/json': { schema: { type: 'object' } } } },
      },
    },
  },
};
