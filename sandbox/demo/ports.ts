import { createServer } from 'node:net';

export const host = '127.0.0.1';

/** The wanted port if nobody has it, else a free one. */
export async function choosePort(wanted: number): Promise<number> {
  return (wanted === 0 ? undefined : await tryPort(wanted)) ?? (await tryPort(0)) ?? 0;
}

/** Which port it would be; undefined where it is taken. */
function tryPort(wanted: number): Promise<number | undefined> {
  return new Promise((settle) => {
    const probe = createServer();
    probe.once('error', () => settle(undefined));
    probe.listen(wanted, host, () => {
      const address = probe.address();
      const port = typeof address === 'object' && address !== null ? address.port : undefined;
      probe.close(() => settle(port));
    });
  });
}
