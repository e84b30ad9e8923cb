import { z } from 'zod';
import type { Json } from '../wire.ts';
import type { World } from '../world.ts';
import { read, text } from './parameters.ts';

export type Method = 'GET' | 'POST' | 'DELETE';

/** One endpoint of the API. `answer` works on the state and returns the object, not yet expanded. */
export type Route = {
  method: Method;
  /** `/v1/customers/:id`. */
  path: string;
  /** What it takes beside \`expand\`. */
  parameters: z.ZodType;
  answer(world: World, id: string, given: Json): { object: Json; expand: readonly string[] };
};

/** Every endpoint takes `expand` beside its own parameters, and nothing else. */
export function route<S extends z.ZodRawShape>(
  method: Method,
  path: string,
  shape: S,
  answer: (world: World, wanted: z.output<z.ZodObject<S, z.core.$strict>>, id: string) => Json,
): Route {
  const type = z.strictObject(shape);
  return {
    method,
    path,
    parameters: type,
    answer(world, id, { expand, ...given }) {
      const wanted = read(type, given);
      const paths = read(Expand, { expand }).expand ?? [];
      return { object: answer(world, wanted, id), expand: paths };
    },
  };
}

const Expand = z.strictObject({ expand: z.array(text).max(20).optional() });

/** The route, and what stands in its path in place of `:id`. */
export function findRoute(routes: readonly Route[], method: string, path: string): { route: Route; id: string } | null {
  for (const route of routes) {
    if (route.method !== method) continue;
    const match = patternOf(route.path).exec(path);
    if (match) return { route, id: decodeURIComponent(match[1] ?? '') };
  }
  return null;
}

const patterns = new Map<string, RegExp>();
function patternOf(path: string): RegExp {
  const known = patterns.get(path) ?? new RegExp(`^${path.replace(':id', '([^/]+)')}$`);
  patterns.set(path, known);
  return known;
}
