/* The stand-in as a process of its own: npm run sandbox:stripe -- --port 4020. See README.md beside this. */
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { startStripe } from './stripe.ts';

const { values } = parseArgs({
  options: {
    port: { type: 'string', default: '4020' },
    host: { type: 'string', default: '127.0.0.1' },
    key: { type: 'string', default: 'sk_test_sandbox' },
    'webhook-url': { type: 'string' },
    'webhook-secret': { type: 'string', default: 'whsec_sandbox' },
    events: { type: 'string', default: '*' },
    /** Where the state is kept over restarts. */
    file: { type: 'string' },
  },
});

const { file, 'webhook-url': webhookUrl } = values;
const stripe = await startStripe({
  port: Number(values.port),
  host: values.host,
  secretKey: values.key,
  realTime: true,
  delivery: 'auto',
  webhooks: webhookUrl ? [{ url: webhookUrl, secret: values['webhook-secret'], events: values.events.split(',') }] : [],
  ...(file && existsSync(file) && { snapshot: readFileSync(file, 'utf8') }),
});
console.log(`ready ${stripe.url}`);

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    if (file) {
      writeFileSync(`${file}.new`, stripe.snapshot());
      renameSync(`${file}.new`, file);
    }
    void stripe.stop();
  });
}
