// Prometheus' text format, read as strictly as Prometheus does; its numbers are those of Go, where Nan is NaN.

type Family = { name: string; type: string; help: string };
type Sample = {
  name: string;
  labels: Record<string, string>;
  value: number /** Name and labels, in order. */;
  key: string;
};

export type Samples = {
  families: Family[];
  samples: Sample[];
  /** A sample's value; 0 where there is none, as for a counter that never counted. */
  value(name: string, labels?: Record<string, string>): number;
};

const SAMPLE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? ([Nn]a[Nn]|[+-]?Inf|[-+]?[\d.]+(?:e[-+]?\d+)?)$/;
const LABEL = /([a-zA-Z_]\w*)="((?:[^"\\\n]|\\["\\n])*)"(?:,|$)/gy;

/** Throws for a line that is not of the format, and for a sample whose family was not announced. */
export function readSamples(text: string): Samples {
  const families = new Map<string, Family>();
  const samples: Sample[] = [];
  if (!text.endsWith('\n')) throw new Error('the last line has no end');
  for (const line of text.split('\n')) {
    const [, word, name = '', rest = ''] = /^# (HELP|TYPE) (\S+) ?(.*)$/.exec(line) ?? [];
    if (word === 'HELP') {
      if (families.has(name)) throw new Error(`${name} is announced twice`);
      families.set(name, { name, help: rest, type: '' });
    } else if (word === 'TYPE') {
      const family = families.get(name);
      if (family === undefined) throw new Error(`${name} has a type and no help`);
      family.type = rest;
    } else if (line !== '') {
      samples.push(readSample(line, families));
    }
  }
  return {
    ...{ families: [...families.values()], samples },
    value: (name, labels = {}) => samples.find(({ key }) => key === keyOf(name, labels))?.value ?? 0,
  };
}

function readSample(line: string, families: Map<string, Family>): Sample {
  const [, name, written = '', number] = SAMPLE.exec(line) ?? [];
  if (name === undefined) throw new Error(`no sample: ${line}`);
  const family = families.get(name) ?? families.get(name.replace(/_(bucket|sum|count)$/, ''));
  if (family === undefined) throw new Error(`${name} is of no family`);
  const matches = [...written.matchAll(LABEL)];
  if (matches.map(([whole]) => whole).join('') !== written) throw new Error(`no labels: ${line}`);
  const labels = Object.fromEntries(matches.map(([, label = '', value = '']) => [label, value]));
  return { name, labels, value: Number(number?.replace('Inf', 'Infinity')), key: keyOf(name, labels) };
}

function keyOf(name: string, labels: Record<string, string>): string {
  const written = Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1));
  return `${name}${JSON.stringify(written)}`;
}
