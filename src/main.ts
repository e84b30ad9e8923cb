// `npm start`: one server, until SIGTERM or SIGINT.
import { existsSync } from 'node:fs';
import { readEnvironment } from './config/environment.ts';
import { withSecretFiles } from './config/secret-files.ts';
import { explainConnectionError } from './database/connection.ts';
import { startServer } from './server.ts';

if (existsSync('.env')) process.loadEnvFile('.env');

try {
  const environment = readEnvironment(withSecretFiles(process.env));
  const server = await startServer({ environment });
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => void server.close());
} catch (error) {
  console.error(explainConnectionError(error, process.env.APP_DATABASE_URL ?? ''));
  process.exitCode = 1;
}
