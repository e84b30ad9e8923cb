// Writes .env.example from the schema of the environment: `node src/config/write-example.ts`.
import { writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { environmentSchema } from './environment.ts';

export const examplePath = resolve(import.meta.dirname, '../../.env.example');

/** What a person copies to .env: each variable with its description, those with a default commented out. */
export function environmentExample(): string {
  const variables = Object.entries(environmentSchema.shape).map(([name, schema]) => {
    const line = `${name}=${examples[name] ?? standard(schema) ?? ''}`;
    return `# ${schema.description}\n${name === 'APP_DATABASE_URL' ? line : `# ${line}`}\n`;
  });
  return `# Copy to .env and fill in. Generated from src/config/environment.ts.\n\n${variables.join('\n')}`;
}

const database = 'localhost:5432/prpm';
const examples: Record<string, string> = {
  APP_DATABASE_URL: `postgres://prpm_app:PASSWORD@${database}`,
  DATABASE_URL: `postgres://prpm_ops:PASSWORD@${database}`,
  MIGRATE_DATABASE_URL: `postgres://prpm_owner:PASSWORD@${database}`,
  AUTH_ISSUER: 'https://login.example.com',
  AUTH_AUDIENCE: 'prpm-playground',
  AUTH_CLIENT_ID: 'prpm-playground-page',
  ANTHROPIC_API_KEY: 'sk-ant-xxxxxxxxxxxxx',
  OPENAI_API_KEY: 'sk-xxxxxxxxxxxxx',
  STRIPE_SECRET_KEY: 'sk_live_xxxxxxxxxxxxx',
  STRIPE_PRPM_PLUS_PRICE_ID: 'price_xxxxxxxxxxxxx',
  STRIPE_PRPM_PLUS_ORG_MEMBER_PRICE_ID: 'price_yyyyyyyyyyy',
  STRIPE_PLAYGROUND_WEBHOOK_SECRET: 'whsec_zzzzzzzzzzzzzz',
  STRIPE_SMALL_PACK_PRICE_ID: 'price_aaaaaaaaaaaa',
  STRIPE_MEDIUM_PACK_PRICE_ID: 'price_bbbbbbbbbbbb',
  STRIPE_LARGE_PACK_PRICE_ID: 'price_cccccccccccc',
  STRIPE_PORTAL_CONFIGURATION_ID: 'bpc_dddddddddddd',
  PUBLIC_URL: 'https://yourdomain.com',
  ALERT_WEBHOOK_URL: 'https://alerts.example.com/prpm',
  ALERT_WEBHOOK_SECRET: 'whsec_xxxxxxxxxxxxx',
  SMTP_URL: 'smtps://USER:PASSWORD@smtp.example.com:465',
  EMAIL_FROM: 'PRPM Playground <playground@example.com>',
  ALERT_EMAIL_TO: 'operators@example.com',
};

/** A variable's default, as text; undefined where it has none. */
function standard(schema: { safeParse(value: unknown): { data?: unknown } }): string | undefined {
  const { data } = schema.safeParse(undefined);
  return data === undefined ? undefined : String(data);
}

if (import.meta.main) writeFileSync(examplePath, environmentExample());
