// Between a client and a server, and about to break.
import { connect, createServer, type Socket } from 'node:net';

export type Wire = {
  url: string;
  /** Bytes that passed towards the client since the last cut. */
  passed(): number;
  /** Breaks every connection. */
  cut(): void;
  /** The next `times` connections are cut as soon as the server begins to answer. */
  swallow(times: number): void;
  close(): Promise<void>;
};

/** A way to the server at `url` that can be cut. */
export async function openWire(url: string): Promise<Wire> {
  const { hostname, port } = new URL(url);
  const ends = new Set<Socket>();
  let passed = 0;
  let swallowing = 0;
  const server = createServer((near) => {
    const far = connect(Number(port), hostname);
    for (const end of [near, far]) {
      ends.add(end);
      end.once('close', () => ends.delete(end)).on('error', () => {});
    }
    near.pipe(far);
    near.once('close', () => far.destroy());
    far.once('close', () => near.destroy());
    far.on('data', (bytes) => {
      passed += bytes.length;
      if (swallowing > 0) {
        swallowing -= 1;
        near.destroy();
      } else near.write(bytes);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const cut = () => {
    passed = 0;
    for (const end of ends) end.destroy();
  };
  return {
    url: `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}`,
    passed: () => passed,
    cut,
    swallow: (times) => {
      swallowing = times;
    },
    close: async () => {
      cut();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
