const KINDS: Record<string, string> = {
  monthly: 'of this month',
  rollover: 'rolled over',
  signup: 'from signing up',
  bonus: 'given to you',
  purchased: 'bought',
};

/** Kinds of credits, as people call them. */
export const kindName = (kind: string) => KINDS[kind] ?? kind;
