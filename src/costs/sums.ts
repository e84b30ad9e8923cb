import type { ExportLine } from './exports.ts';

/** As ops.import_provider_usage takes it. */
export type Entry = {
  period: string;
  provider_model: string;
  input_tokens: string | null;
  cached_tokens: string | null;
  cache_write_tokens: string | null;
  output_tokens: string | null;
  dollars: string | null;
};

/** Adds up a file's lines by day and model, exactly; what it holds grows with days and models, not with lines. */
export function createSums(): { add(line: ExportLine): void; entries(): Entry[] } {
  type Sum = ExportLine & { units: bigint | null };
  const sums = new Map<string, Sum>();
  return {
    add(line) {
      const key = `${line.day} ${line.model}`;
      const units = line.dollars === null ? null : unitsOf(line.dollars);
      const sum = sums.get(key);
      if (sum === undefined) {
        sums.set(key, { ...line, tokens: line.tokens && { ...line.tokens }, units });
        return;
      }
      if (units !== null) sum.units = (sum.units ?? 0n) + units;
      if (line.tokens === null) return;
      sum.tokens ??= { input: 0n, cached: 0n, cacheWrite: 0n, output: 0n };
      for (const kind of ['input', 'cached', 'cacheWrite', 'output'] as const) sum.tokens[kind] += line.tokens[kind];
    },
    entries: () =>
      [...sums.values()].map(({ day, model, tokens, units }) => ({
        period: day,
        provider_model: model,
        input_tokens: tokens && String(tokens.input),
        cached_tokens: tokens && String(tokens.cached),
        cache_write_tokens: tokens && String(tokens.cacheWrite),
        output_tokens: tokens && String(tokens.output),
        dollars: units === null ? null : dollarsOf(units),
      })),
  };
}

/** Dollars are added up in whole units of 10^-30, for exports write as many digits. */
const DIGITS = 30;

function unitsOf(dollars: string): bigint {
  const [, sign = '', whole = '', fraction = '', exponent = '0'] =
    /^(-?)(\d+)(?:\.(\d+))?(?:e([-+]?\d+))?$/i.exec(dollars) ?? [];
  const shift = DIGITS - fraction.length + Number(exponent);
  const digits = `${whole}${fraction}`;
  const units = shift >= 0 ? `${digits}${'0'.repeat(Math.min(shift, 100))}` : digits.slice(0, shift) || '0';
  return BigInt(`${sign}${units}`);
}

function dollarsOf(units: bigint): string {
  const digits = String(units < 0n ? -units : units).padStart(DIGITS + 1, '0');
  const text = `${digits.slice(0, -DIGITS)}.${digits.slice(-DIGITS)}`.replace(/\.?0+$/, '');
  return units < 0n ? `-${text}` : text;
}
