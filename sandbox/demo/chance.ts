export type Chance = {
  /** From 0 to 1, 1 excluded. */
  next(): number;
  /** Whether something of that probability happens. */
  happens(probability: number): boolean;
  /** A whole number from `least` to `most`. */
  between(least: number, most: number): number;
  oneOf<T>(options: readonly T[]): T;
};

/** The same numbers each time, so that every demo tells the same story (Mulberry32). */
export function chance(seed: number): Chance {
  let state = seed;
  function next(): number {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }
  return {
    next,
    happens: (probability) => next() < probability,
    between: (least, most) => least + Math.floor(next() * (most - least + 1)),
    oneOf(options) {
      const option = options[Math.floor(next() * options.length)];
      if (option === undefined) throw new Error('there is nothing to choose from');
      return option;
    },
  };
}
