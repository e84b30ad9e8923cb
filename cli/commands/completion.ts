import { Argument, Command, type CommandUnknownOpts } from '@commander-js/extra-typings';
import type { Cli } from '../cli.ts';

const shells = ['bash', 'zsh', 'fish'] as const;

/** Completes names of commands and options, as the program itself knows them. */
export function completionCommand({ screen }: Cli, program: CommandUnknownOpts) {
  return new Command('completion')
    .description('Have a shell complete commands and options')
    .addArgument(new Argument('<shell>', 'whose').choices(shells))
    .addHelpText(
      'after',
      `
Examples:
  source <(prpm-playground completion bash)                                  # in ~/.bashrc
  source <(prpm-playground completion zsh)                                   # in ~/.zshrc
  prpm-playground completion fish > ~/.config/fish/completions/prpm-playground.fish`,
    )
    .action((shell) => screen.write(scripts[shell](wordsOf(program))));
}

type Words = { path: string; words: string[] }[];

/** What may follow each command. */
function wordsOf(program: CommandUnknownOpts): Words {
  const general = program.options.flatMap(({ long }) => long ?? []);
  const walk = (command: CommandUnknownOpts, path: string[]): Words => [
    {
      path: path.join(' '),
      words: [
        ...command.commands.map((one) => one.name()),
        ...command.options.flatMap(({ long }) => long ?? []),
        ...(path.length === 0 ? ['--help'] : ['--help', ...general]),
      ],
    },
    ...command.commands.flatMap((one) => walk(one, [...path, one.name()])),
  ];
  return walk(program, []);
}

/** Words of the line that are no options name the command, as long as there is such a one. */
const cases = (words: Words, each: (line: Words[number]) => string) => words.map(each).join('\n');

const scripts: Record<(typeof shells)[number], (words: Words) => string> = {
  bash: (words) => `_prpm_playground() {
  local current="\${COMP_WORDS[COMP_CWORD]}" path="" word
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "$path $word" in
${cases(words, ({ path }) => `      " ${path}"|"${path.replace(/ [^ ]+$/, '')} ${path.split(' ').at(-1)}") [ -n "${path}" ] && path="${path}" ;;`)}
    esac
  done
  case "$path" in
${cases(words, ({ path, words: all }) => `    "${path}") COMPREPLY=($(compgen -W "${all.join(' ')}" -- "$current")) ;;`)}
  esac
}
complete -o default -F _prpm_playground prpm-playground
`,
  zsh: (words) => `autoload -U +X bashcompinit && bashcompinit
${scripts.bash(words)}`,
  fish: (words) => `complete -c prpm-playground -f
${words
  .flatMap(({ path, words: all }) => {
    const names = path.split(' ').filter(Boolean);
    const condition =
      names.length === 0
        ? '__fish_use_subcommand'
        : names.map((name) => `__fish_seen_subcommand_from ${name}`).join('; and ');
    return all.map((word) =>
      word.startsWith('--')
        ? `complete -c prpm-playground -n '${condition}' -l ${word.slice(2)}`
        : `complete -c prpm-playground -n '${condition}' -a ${word}`,
    );
  })
  .join('\n')}
`,
};
