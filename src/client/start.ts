import { PlaygroundError } from './error.ts';

/** How often a start is sent when no answer comes; its key makes it one. */
const STARTS = 4;

export async function start<T>(send: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await send();
    } catch (error) {
      const failure = PlaygroundError.from(error);
      const mayPass = failure.problem.status === 0 || failure.code === 'shutting_down';
      if (!mayPass || attempt === STARTS) throw failure;
      await new Promise((resolve) => setTimeout(resolve, 250 * attempt));
    }
  }
}

/** Not randomUUID, which a page that is not served by https lacks. */
export function newKey(): string {
  return Array.from(crypto.getRandomValues(new Uint32Array(4)), (part) => part.toString(36)).join('-');
}
