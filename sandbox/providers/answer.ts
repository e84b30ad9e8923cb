/*
 * Answers that make sense on the page: made of the package's task and of the words and lines that the person sent.
 * The same prompt always gets the same answer.
 */

export function compose(system: string, input: string): string {
  const said = input.replace(/\[\[sandbox:[^\]]*\]\]/g, '').trim();
  const task = headingOf(system);
  const lines = said.split('\n').map((line) => line.trim());
  const text: Material = {
    task,
    said,
    lines: lines.filter((line) => /[\p{L}\p{N}]/u.test(line)),
    words: salient(said),
  };
  const form = FORMS.find(([about]) => about.test(task))?.[1] ?? restate;
  return form(text);
}

type Material = { task: string; said: string; lines: string[]; words: string[] };

const FORMS: readonly (readonly [about: RegExp, form: (text: Material) => string])[] = [
  [/commit message/i, commitMessage],
  [/review/i, review],
  [/regular expression|regex/i, expression],
  [/sql|query/i, explainQuery],
  [/refactor/i, plan],
  [/test/i, testCases],
  [/incident|outage/i, incident],
  [/meeting|transcript|notes|summar/i, notes],
  [/plain language|rewrite|house style|edit/i, edit],
  [/document|endpoint|reference/i, reference],
];

function headingOf(system: string): string {
  const first = system.split('\n').find((line) => line.trim() !== '') ?? '';
  return shorten(first.replace(/^#+\s*/, ''), 60);
}

const COMMON = new Set(
  'about after also and are because been before but can could does else for from had has have her here his how into its just like more most not only other our out over should some such than that the their them then there these they this those through too under very was were what when where which while who will with would you your const let var return function import export null true false select left join group order'.split(
    ' ',
  ),
);

/** The words that tell most about a text: frequent, long, early; in the order in which they first appear. */
function salient(text: string): string[] {
  const seen = new Map<string, number>();
  for (const [word] of text.matchAll(/[\p{L}_][\p{L}\p{N}_]{2,}/gu)) {
    if (!COMMON.has(word.toLowerCase())) seen.set(word, (seen.get(word) ?? 0) + Math.min(word.length, 12));
  }
  const best = [...seen].sort(([, a], [, b]) => b - a).slice(0, 6);
  return [...seen.keys()].filter((word) => best.some(([chosen]) => chosen === word));
}

function shorten(text: string, length: number): string {
  const letters = [...text];
  return letters.length > length ? `${letters.slice(0, length - 1).join('')}…` : text;
}

function quote(line: string | undefined): string {
  return `\`${shorten(line ?? '', 60).replaceAll('`', "'")}\``;
}

function list(words: readonly string[], fallback = 'what you sent'): string {
  return words.length === 0 ? fallback : words.slice(0, 3).join(', ');
}

/** Chooses by the text, so that the same text gets the same choice. */
function choose<T>(text: string, options: readonly [T, ...T[]]): T {
  let hash = 2166136261;
  for (let i = 0; i < text.length; i += 1) hash = Math.imul(hash ^ text.charCodeAt(i), 16777619) >>> 0;
  return options[hash % options.length] ?? options[0];
}

function restate({ task, said, lines, words }: Material): string {
  const opening = task === '' ? 'Without a package, here is a plain answer.' : `**${task}**`;
  return [
    opening,
    '',
    `You sent ${lines.length} line${lines.length === 1 ? '' : 's'}, ${[...said].length} characters, mostly about ${list(words)}.`,
    '',
    ...lines.slice(0, 2).map((line, i) => `${i + 1}. ${quote(line)}: ${choose(line, REMARKS)}`),
    '',
    `Next, I would look at how ${words[0] ?? 'the first part'} and ${words[1] ?? 'the rest'} depend on each other.`,
  ].join('\n');
}

const REMARKS = [
  'clear as it stands.',
  'say for whom this holds.',
  'worth an example.',
  'name the case in which this is not so.',
] as const;

function review({ lines, words }: Material): string {
  const findings = FLAWS.flatMap(([sign, weight, remark]) => {
    const line = lines.find((candidate) => sign.test(candidate));
    return line ? [`**[${weight}]** ${quote(line)}\n   ${remark}`] : [];
  }).slice(0, 3);
  return [
    `**Verdict:** ${findings.length > 0 ? 'merge after fixes' : 'merge'}. I read ${lines.length} lines about ${list(words)}.`,
    '',
    ...findings.map((finding, i) => `${i + 1}. ${finding}`),
    ...(findings.length === 0 ? [`Nothing in ${quote(lines[0])} goes wrong for an input that I can name.`] : []),
    '',
    `**Open question:** what happens to ${words[0] ?? 'this'} when nothing comes in?`,
  ].join('\n');
}

/** Worst first. */
const FLAWS: readonly (readonly [sign: RegExp, weight: string, remark: string])[] = [
  [
    /(select|insert|update|delete)\b.*(\$\{|" ?\+|' ?\+)/i,
    'critical',
    'Input becomes part of the query: pass it as a parameter.',
  ],
  [/eval\(|innerHTML|dangerouslySet/, 'critical', 'Runs or renders what a stranger wrote: escape it, or do without.'],
  [
    /(password|secret|api_?key|token)\s*[:=]\s*['"]/i,
    'critical',
    'A secret in code stays in its history: read it from the environment.',
  ],
  [/catch\s*(\(\w*\))?\s*\{\s*\}|except\s*:/, 'major', 'The error disappears here: say what is done about it.'],
  [/<=\s*\w+\.length|\[\w+\.length\]/, 'major', 'One step too far: the last index is length − 1.'],
  [/await .*(forEach|\bfor\b)|forEach\(async/, 'major', 'Nobody waits for these: use for … of, or Promise.all.'],
  [/(^|[^=!])==([^=]|$)|!=[^=]/, 'minor', 'Compares with conversion: 0, "" and null can pass for each other.'],
  [/\bany\b|as unknown as/, 'minor', 'The type is lost here: a caller’s mistake shows only at run time.'],
  [/parseInt\([^,]*\)|Number\(/, 'minor', 'Text that is no number becomes NaN: check before you go on.'],
  [/TODO|FIXME|console\.log|print\(/, 'minor', 'Left over from writing: remove it before the merge.'],
];

function commitMessage({ lines, words, said }: Material): string {
  const verb = /^\+.*\b(fix|bug|error)|fix/im.test(said) ? 'Fix' : choose(said, ['Add', 'Change', 'Simplify'] as const);
  const added = lines.filter((line) => /^\+(?!\+)/.test(line)).length;
  const removed = lines.filter((line) => /^-(?!-)/.test(line)).length;
  const size = added + removed > 0 ? `${added} lines come in, ${removed} go out. ` : '';
  return [
    `${verb} ${shorten(list(words.slice(0, 2), 'what was asked for').replace(', ', ' in '), 50)}`,
    '',
    `${size}The change touches ${list(words)}. Before, ${quote(lines[0])}`,
    'was all that a reader had to go by; now the code says it itself.',
    '',
    `Nothing else depends on ${words.at(-1) ?? 'it'} as far as this diff shows.`,
  ].join('\n');
}

function expression({ said, words }: Material): string {
  const examples = said.match(/[\w.+-]*\d[\w.+-]*|"[^"]+"|'[^']+'/g) ?? words;
  const sample = (examples[0] ?? 'abc').replace(/^["']|["']$/g, '');
  const pattern = sample
    .replace(/[.+*?^${}()|[\]\\]/g, '\\$&')
    .replace(/\d+/g, (digits) => `\\d{${digits.length}}`)
    .replace(/[A-Z]+/g, '[A-Z]+')
    .replace(/(?<![\\[])[a-z]{2,}/g, '[a-z]+');
  return [
    '```',
    `^${pattern}$`,
    '```',
    '',
    `- \`^\` and \`$\`: the whole text, not a part of it`,
    `- the middle follows your example ${quote(sample)}`,
    '',
    `Matches: ${quote(sample)}. Does not match: ${quote(`${sample} `)}, an empty text.`,
  ].join('\n');
}

function explainQuery({ said, words }: Material): string {
  const tables = [...said.matchAll(/\b(?:from|join|into|update)\s+([\w."]+)/gi)].map(([, table = '']) => table);
  const clause = (word: RegExp, meaning: string) => (word.test(said) ? [`- ${meaning}`] : []);
  return [
    `It reads ${list(tables, 'no table that I can see')} and returns rows about ${list(words)}.`,
    '',
    ...clause(/\bwhere\b/i, '`where` decides which rows take part, before anything is counted'),
    ...clause(/\bleft join\b/i, '`left join` keeps rows without a partner; their columns are null'),
    ...clause(/\bgroup by\b/i, '`group by` makes one row of each group'),
    ...clause(/\bhaving\b/i, '`having` throws away groups, after counting'),
    ...clause(/\border by\b/i, '`order by` sorts last of all, and nulls come last'),
    '',
    `To check: run it with one known row of ${tables[0] ?? 'your data'} and compare by hand.`,
  ].join('\n');
}

function plan({ lines, words }: Material): string {
  return [
    `Goal: ${words[0] ?? 'this code'} can change without touching ${words[1] ?? 'its callers'}.`,
    '',
    `1. Pin what it does today with a test around ${quote(lines[0])}.`,
    `2. Move ${words[2] ?? 'the decision'} into a function of its own; no behaviour changes.`,
    `3. Pass ${words[1] ?? 'what it needs'} in, instead of reaching for it.`,
    `4. Delete what step 2 left empty.`,
    '',
    'Each step can be merged alone and undone alone. Stop after step 2 if time runs out.',
  ].join('\n');
}

function testCases({ said, words }: Material): string {
  const name = said.match(/(?:function|def|class|const)\s+(\w+)/)?.[1] ?? words[0] ?? 'subject';
  return [
    '```ts',
    `describe('${name}', () => {`,
    `  test('gives the known answer for a usual input', () => { … });`,
    `  test('gives nothing for nothing', () => { … });`,
    `  test('refuses ${words[1] ?? 'input'} that is out of range', () => { … });`,
    `  test('leaves its ${words[2] ?? 'argument'} as it was', () => { … });`,
    '});',
    '```',
    '',
    `Not tested: what ${name} does under load, since nothing here shows it.`,
  ].join('\n');
}

function incident({ said, lines, words }: Material): string {
  const times = said.match(/\b\d{1,2}:\d{2}\b/g) ?? [];
  const span = times.length > 1 ? `from ${times[0]} to ${times.at(-1)}` : 'for a time that the notes do not say';
  return [
    `**What happened:** ${list(words)} failed ${span}.`,
    '',
    '**Timeline**',
    ...lines.slice(0, 4).map((line) => `- ${shorten(line, 70)}`),
    '',
    `**Not known yet:** why ${words[0] ?? 'it'} was not noticed earlier.`,
    `**Next:** an alert on ${words[1] ?? words[0] ?? 'the first sign'}, owner to be named.`,
  ].join('\n');
}

function notes({ lines, words }: Material): string {
  const people = [...new Set(lines.flatMap((line) => line.match(/^\p{Lu}[\p{L}]+(?=:)/u) ?? []))];
  return [
    `**About:** ${list(words)}${people.length > 0 ? `, with ${people.slice(0, 4).join(', ')}` : ''}`,
    '',
    '**Said**',
    ...lines.slice(0, 3).map((line) => `- ${shorten(line, 70)}`),
    '',
    '**To do**',
    `- ${people[0] ?? 'Someone'}: settle the question of ${words[0] ?? 'the first point'}`,
  ].join('\n');
}

function edit({ said, lines }: Material): string {
  let changes = 0;
  const plain = lines.slice(0, 4).map((line) =>
    shorten(line, 160).replace(WORDY, (word) => {
      changes += 1;
      return PLAINER[word.toLowerCase()] ?? word;
    }),
  );
  return [
    ...plain,
    '',
    `_${changes} change${changes === 1 ? '' : 's'} in ${said.split(/\s+/).length} words. Nothing was left out that decides anything._`,
  ].join('\n');
}

const PLAINER: Readonly<Record<string, string>> = {
  utilize: 'use',
  utilise: 'use',
  leverage: 'use',
  'in order to': 'to',
  'prior to': 'before',
  subsequent: 'later',
  commence: 'begin',
  terminate: 'end',
  facilitate: 'help',
  approximately: 'about',
  sufficient: 'enough',
  regarding: 'about',
  additional: 'more',
};
const WORDY = new RegExp(`\\b(?:${Object.keys(PLAINER).join('|')})\\b`, 'gi');

function reference({ said, words, lines }: Material): string {
  const [, verb = 'GET', path = `/${words[0] ?? 'thing'}`] =
    said.match(/\b(GET|POST|PUT|PATCH|DELETE|get|post|put|patch|delete)\b[('"\s]+(\/[\w/:{}.-]*)/) ?? [];
  return [
    `## ${verb.toUpperCase()} ${path}`,
    '',
    `Works on ${list(words)}.`,
    '',
    '| answer | when |',
    '| --- | --- |',
    `| 200 | ${words[0] ?? 'it'} was found |`,
    `| 400 | ${words[1] ?? 'the body'} is missing or malformed |`,
    `| 404 | there is no such ${words[0] ?? 'thing'} |`,
    '',
    `Taken from ${quote(lines[0])}.`,
  ].join('\n');
}
