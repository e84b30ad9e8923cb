// A command's one connection to the database, and what went wrong on the way to it, in words for the person who started the command.
import postgres from 'postgres';

/** Codes of PostgreSQL (five characters) and of the operating system. */
const explanations: Record<string, (place: string, user: string, database: string) => string> = {
  ECONNREFUSED: (place) => `Nothing answers at ${place}. Is PostgreSQL running there?`,
  ENOTFOUND: (place) => `There is no host as in ${place}.`,
  EAI_AGAIN: (place) => `There is no host as in ${place}.`,
  CONNECT_TIMEOUT: (place) => `No answer from ${place} in time.`,
  '28P01': (place, user) =>
    `The password of "${user}" is not accepted at ${place}, or there is no such role: npm run db:roles makes it.`,
  '28000': (place, user) => `"${user}" may not connect to ${place}. npm run db:roles makes the roles.`,
  '3D000': (place, _, database) => `There is no database "${database}" at ${place}. npm run db:roles makes it.`,
  '57P03': (place) => `PostgreSQL at ${place} is starting up or shutting down; try again in a moment.`,
};

/** One line for a person: a connection's failure explained, any other error by its own message. Never a password. */
export function explainConnectionError(error: unknown, url: string): string {
  const code = error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : '';
  const explain = explanations[code];
  if (explain === undefined || !URL.canParse(url)) return error instanceof Error ? error.message : String(error);
  const { host, username, pathname } = new URL(url);
  return explain(host, decodeURIComponent(username), decodeURIComponent(pathname.slice(1)));
}

/** For `await using`: ended where its block is left. */
export function connect(url: string) {
  const sql = postgres(url, { max: 1, onnotice: () => {}, connect_timeout: 10 });
  return Object.assign(sql, { [Symbol.asyncDispose]: () => sql.end() });
}
