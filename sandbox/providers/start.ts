/* The stand-ins as a process of their own: npm run sandbox:providers -- --port 4010. See sandbox/README.md. */
import { parseArgs } from 'node:util';
import { startStandIns } from './standins.ts';

const { values } = parseArgs({
  options: {
    port: { type: 'string', default: '0' },
    host: { type: 'string', default: '127.0.0.1' },
    'first-token-ms': { type: 'string', default: '400' },
    'token-ms': { type: 'string', default: '25' },
    'cache-min-tokens': { type: 'string', default: '1024' },
    answers: { type: 'string' },
  },
});

const { answers } = values;
if (answers !== undefined && answers !== 'composed' && answers !== 'fixed') {
  throw new Error(`--answers is composed or fixed, not '${answers}'`);
}
const standIns = await startStandIns({
  port: Number(values.port),
  host: values.host,
  firstTokenMs: Number(values['first-token-ms']),
  tokenMs: Number(values['token-ms']),
  cacheMinTokens: Number(values['cache-min-tokens']),
  ...(answers && { answers }),
});
console.log(`ready ${standIns.url}`);

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void standIns.stop());
