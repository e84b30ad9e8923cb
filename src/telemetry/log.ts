import pino from 'pino';

export type Log = pino.Logger;

/** Lines are written together, for that is one call of the system less for each request. */
const WRITE_BYTES = 4_096;
const FLUSH_MS = 200;

/** JSON lines with request and run ids. What people wrote, what models answered and what opens doors is never among them. To standard output, or a file. */
export function createLog(level: string, file: string | 1 = 1): Log {
  const destination = pino.destination({ dest: file, sync: true, minLength: WRITE_BYTES, mode: 0o600 });
  setInterval(() => destination.flushSync(), FLUSH_MS).unref();
  process.once('exit', () => destination.flushSync());
  const options: pino.LoggerOptions = {
    level,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
    redact: {
      paths: [
        'authorization',
        'token',
        'apiKey',
        'input',
        'prompt',
        'text',
        'question',
        'answer',
        '*.authorization',
        '*.token',
      ],
      censor: '…',
    },
    serializers: { error: describeError },
  };
  return pino(options, destination);
}

/** A log for lines whose every field is ours and known: without the search for what must not be there. */
export function plainLog(log: Log): Log {
  return log.child({}, { redact: [] });
}

/** An error without what a database or a provider quotes in it: rows, parameters, keys. */
function describeError(error: unknown) {
  if (!(error instanceof Error)) return { name: typeof error };
  const code = 'code' in error ? String(error.code) : undefined;
  const routine = 'routine' in error ? String(error.routine) : undefined;
  // Messages of PostgreSQL can quote a value, but not those about its own names and state (classes 42, 55).
  const message = 'severity' in error && !/^(42|55)/.test(code ?? '') ? undefined : error.message;
  return { name: error.name, code, routine, message, stack: error.stack?.split('\n').slice(1, 8).join('\n') };
}
