import { z } from 'zod';

/** The guide prints keys such as `sk-ant-xxxxxxxxxxxxx`: one letter repeated stands for a key that nobody has put in yet. */
const PLACEHOLDER = /(^|[_-])([a-z])\2{7,}$/;

const missing = (value: unknown) =>
  typeof value === 'string' && (value.trim() === '' || PLACEHOLDER.test(value.trim())) ? undefined : value;

const optional = <T extends z.ZodType>(schema: T) => z.preprocess(missing, schema.optional());
const withDefault = <T extends z.ZodType<unknown, string>>(value: string, schema: T) =>
  z.preprocess((given) => missing(given) ?? value, schema);

const key = (prefix: RegExp, example: string) =>
  optional(z.string().trim().regex(prefix, `does not look like such a key; it begins like ${example}`));
const httpUrl = z.url({
  protocol: /^https?$/,
  error: 'is not a URL that begins with http:// or https://; write it out in full',
});
const databaseUrl = z.url({
  protocol: /^postgres(ql)?$/,
  error: 'is not a URL that begins with postgres://; write postgres://ROLE:PASSWORD@HOST:PORT/DATABASE',
});
const wholeNumber = (least: number, most: number) =>
  z
    .string()
    .regex(/^\d{1,9}$/, `is not a whole number; choose one from ${least} to ${most}`)
    .transform(Number)
    .refine((n) => n >= least && n <= most, `is out of range; choose a number from ${least} to ${most}`);
const list = (one: (item: string) => boolean, complaint: string) =>
  z
    .string()
    .transform((text) => text.split(',').flatMap((item) => item.trim() || []))
    .refine((items) => items.every(one), complaint);

/** As OpenTelemetry writes headers in its environment: values are percent-encoded. */
const keyValues = z
  .string()
  .regex(
    /^(\s*[^\s,=]+=([^,=%]|%[0-7][\da-f])*(,|$))*$/i,
    'has an entry that is not name=value; separate entries by commas, and write a comma, = or % in a value as %2C, %3D or %25',
  )
  .transform((text) =>
    Object.fromEntries(
      text.split(',').flatMap((item) => {
        const [name = '', value = ''] = item.split('=');
        return name.trim() === '' ? [] : [[name.trim(), decodeURIComponent(value.trim())]];
      }),
    ),
  );

const originOnly = (text: string) =>
  URL.canParse(text) && /^https?:$/.test(new URL(text).protocol) && new URL(text).origin === text;
const isOrigin = (text: string) => !URL.canParse(text) || new URL(text).href === `${new URL(text).origin}/`;
const isAddress = (text: string) => /^[^\s@<>,]+@[^\s@<>,]+$/.test(text);
const isSafeUrl = (text: string) =>
  URL.canParse(text) &&
  (new URL(text).protocol === 'https:' || /^(localhost|127\.0\.0\.1|\[::1\])$/.test(new URL(text).hostname));
const isWebhookSecret = (text: string) => {
  const [, encoded] = /^whsec_([A-Za-z0-9+/]+={0,2})$/.exec(text) ?? [];
  const { length } = Buffer.from(encoded ?? '', 'base64');
  return length >= 24 && length <= 64;
};
const addressOrNetwork = (text: string) => /^[0-9a-f.:]+(\/\d{1,3})?$/i.test(text);

/** Everything that the server reads from its environment. The comments of .env.example are these descriptions. Spec 11.5. */
export const environmentSchema = z.object({
  APP_DATABASE_URL: databaseUrl.describe('Database of the server, as role prpm_app. Required.'),
  DATABASE_URL: optional(databaseUrl).describe(
    'Database for operators and psql, as role prpm_ops. The server itself does not use it.',
  ),
  MIGRATE_DATABASE_URL: optional(databaseUrl).describe(
    'Database for npm run migrate, as role prpm_owner. Default: DATABASE_URL.',
  ),
  APP_WORKER_URLS: withDefault(
    '',
    list(
      (text) => databaseUrl.safeParse(text).success,
      'has an entry that is not a URL that begins with postgres://; separate entries by commas',
    ),
  ).describe(
    'On a cluster (docs/scale.md), its workers as role prpm_app, separated by commas: each run goes to the one that has the person. Default: all to APP_DATABASE_URL.',
  ),
  DATABASE_POOL: withDefault('3', wholeNumber(1, 50)).describe('Connections for runs. Two to five are fastest.'),

  HOST: withDefault('0.0.0.0', z.string()).describe('Address to listen on.'),
  PORT: withDefault('3000', wholeNumber(0, 65_535)).describe('Port to listen on; 0 takes a free one.'),
  PUBLIC_URL: optional(httpUrl.transform((text) => text.replace(/\/+$/, ''))).describe(
    'Where people reach this server, for links in answers and e-mails. Default: the address it listens on.',
  ),
  NODE_ENV: withDefault(
    'development',
    z.enum(['development', 'test', 'production'], 'is none of development, test, production; choose one of them'),
  ).describe('In production the server runs as prpm_app or not at all.'),
  LOG_LEVEL: withDefault(
    'info',
    z.enum(
      ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'],
      'is none of fatal, error, warn, info, debug, trace, silent; choose one of them',
    ),
  ).describe('How much is logged: fatal, error, warn, info, debug, trace or silent.'),
  DRAIN_MS: withDefault('20000', wholeNumber(0, 600_000)).describe(
    'Milliseconds that running runs get to end when the server stops.',
  ),
  TRUSTED_PROXIES: withDefault(
    '',
    list(
      addressOrNetwork,
      'has an entry that is no IP address or network; separate entries such as 10.0.0.0/8 by commas',
    ),
  ).describe('Addresses or networks of proxies whose X-Forwarded-For is believed, separated by commas.'),
  ALLOWED_RETURN_ORIGINS: withDefault(
    '',
    list(
      originOnly,
      'has an entry that is no origin; separate entries such as https://example.com, without a path, by commas',
    ),
  ).describe('Origins that a checkout may return to, separated by commas.'),

  AUTH_ISSUER: optional(httpUrl).describe('OpenID Connect issuer whose tokens sign people in. Needs AUTH_AUDIENCE.'),
  AUTH_AUDIENCE: optional(z.string()).describe('Audience that those tokens must name.'),
  AUTH_CLIENT_ID: optional(z.string()).describe(
    "This server's client id at the issuer, for sign-in on the page, which comes back to /auth/callback. Without it nobody signs in there.",
  ),
  AUTH_CLIENT_SECRET: optional(z.string()).describe('Its secret there. Optional: sign-in uses PKCE.'),

  ANTHROPIC_API_KEY: optional(z.string().trim()).describe(
    'Key for Anthropic. Without it its models answer provider_not_configured.',
  ),
  ANTHROPIC_BASE_URL: optional(httpUrl).describe('Where Anthropic is reached, without /v1. Default: its own address.'),
  OPENAI_API_KEY: optional(z.string().trim()).describe(
    'Key for OpenAI. Without it its models answer provider_not_configured.',
  ),
  OPENAI_BASE_URL: optional(httpUrl).describe('Where OpenAI is reached, with /v1. Default: its own address.'),

  STRIPE_SECRET_KEY: key(/^[sr]k_/, 'sk_live_').describe(
    'Secret key of the Stripe account. Without it billing answers billing_not_configured.',
  ),
  STRIPE_PRPM_PLUS_PRICE_ID: key(/^price_/, 'price_').describe('Price of PRPM+ for individuals, $6 a month.'),
  STRIPE_PRPM_PLUS_ORG_MEMBER_PRICE_ID: key(/^price_/, 'price_').describe(
    'Price of PRPM+ for members of a verified organization, $3 a month.',
  ),
  STRIPE_PLAYGROUND_WEBHOOK_SECRET: optional(
    list(
      (secret) => /^whsec_/.test(secret),
      'has an entry that does not look like such a secret, which begins like whsec_; separate entries by commas',
    ),
  ).describe('Signing secret of the webhook; several, separated by commas, while rotating.'),
  STRIPE_SMALL_PACK_PRICE_ID: key(/^price_/, 'price_').describe(
    'Price of the small pack, $5 for 100 credits. Optional.',
  ),
  STRIPE_MEDIUM_PACK_PRICE_ID: key(/^price_/, 'price_').describe(
    'Price of the medium pack, $10 for 250 credits. Optional.',
  ),
  STRIPE_LARGE_PACK_PRICE_ID: key(/^price_/, 'price_').describe(
    'Price of the large pack, $20 for 600 credits. Optional.',
  ),
  STRIPE_PORTAL_CONFIGURATION_ID: key(/^bpc_/, 'bpc_').describe(
    "Configuration of the customer portal; npm run stripe:setup makes one. Default: the account's own.",
  ),
  STRIPE_API_BASE: optional(
    httpUrl.refine(isOrigin, 'has a path; write the scheme, the host and the port only'),
  ).describe('Where Stripe is reached; for the sandbox. Default: its own address.'),

  OTEL_EXPORTER_OTLP_ENDPOINT: optional(httpUrl).describe(
    'Where an OpenTelemetry collector takes traces over HTTP, such as http://localhost:4318. Without it none are made.',
  ),
  OTEL_EXPORTER_OTLP_HEADERS: withDefault('', keyValues).describe(
    'Headers that it wants, as name=value, separated by commas.',
  ),
  OTEL_SERVICE_NAME: withDefault('prpm-playground', z.string()).describe('What traces call this service.'),

  METRICS_TOKEN: optional(z.string().min(16, 'is too short; use 16 characters or more')).describe(
    'Bearer token for GET /metrics, which Prometheus reads. Without it there is no such route.',
  ),

  ALERT_WEBHOOK_URL: optional(
    httpUrl.refine(isSafeUrl, 'is neither https:// nor on this machine; write a URL that begins with https://'),
  ).describe('Where alerts are posted, signed as Standard Webhooks says. Needs ALERT_WEBHOOK_SECRET.'),
  ALERT_WEBHOOK_SECRET: optional(
    z
      .string()
      .trim()
      .refine(
        isWebhookSecret,
        'is not whsec_ and base64 of 24 to 64 bytes; make one: echo whsec_$(openssl rand -base64 32)',
      ),
  ).describe('Secret that signs them: whsec_ and base64 of 24 to 64 random bytes.'),
  SMTP_URL: optional(
    z.url({
      protocol: /^smtps?$/,
      error: 'is not a URL that begins with smtp:// or smtps://; write smtps://USER:PASSWORD@HOST:465',
    }),
  ).describe('Mail server for alerts and for mails to users. Needs EMAIL_FROM. Without it there is no mail.'),
  EMAIL_FROM: optional(
    z
      .string()
      .trim()
      .refine(
        (text) => isAddress(/<([^<>]*)>$/.exec(text)?.[1] ?? text),
        'is no address; write playground@example.com or Name <playground@example.com>',
      ),
  ).describe('Sender of mails.'),
  ALERT_EMAIL_TO: optional(list(isAddress, 'has an entry that is no address; separate addresses by commas')).describe(
    'Addresses of operators that alerts are mailed to, separated by commas. Needs SMTP_URL.',
  ),

  CRON_SECRET: optional(z.string().min(16, 'is too short; use 16 characters or more')).describe(
    'Where set, the cron routes ask for it as a bearer token.',
  ),
});

export type Environment = z.output<typeof environmentSchema>;

/** Where the first is set, the second has to be. */
const NEEDS: readonly [keyof Environment, keyof Environment][] = [
  ['AUTH_ISSUER', 'AUTH_AUDIENCE'],
  ['AUTH_AUDIENCE', 'AUTH_ISSUER'],
  ['AUTH_CLIENT_ID', 'AUTH_ISSUER'],
  ['AUTH_CLIENT_SECRET', 'AUTH_CLIENT_ID'],
  ['ALERT_WEBHOOK_URL', 'ALERT_WEBHOOK_SECRET'],
  ['ALERT_WEBHOOK_SECRET', 'ALERT_WEBHOOK_URL'],
  ['SMTP_URL', 'EMAIL_FROM'],
  ['EMAIL_FROM', 'SMTP_URL'],
  ['ALERT_EMAIL_TO', 'SMTP_URL'],
];

/** The environment as the server uses it. Throws an Error that names each wrong variable, what is wrong and what to do. */
export function readEnvironment(variables: Record<string, string | undefined>): Environment {
  const parsed = environmentSchema.safeParse(variables);
  if (!parsed.success) {
    const lines = parsed.error.issues.map((issue) => {
      const name = issue.path.join('.');
      const absent = missing(variables[name]) === undefined;
      return absent ? `${name} is missing. ${describe(name)}` : `${name} ${issue.message}. ${describe(name)}`;
    });
    throw new Error(lines.join('\n'));
  }
  const environment = parsed.data;
  for (const [given, absent] of NEEDS) {
    if (environment[given] !== undefined && environment[absent] === undefined) {
      throw new Error(`${absent} is missing, but ${given} is set. Set both, or neither. ${describe(absent)}`);
    }
  }
  return environment;
}

function describe(name: string): string {
  return Object.entries(environmentSchema.shape).find(([variable]) => variable === name)?.[1].description ?? '';
}
