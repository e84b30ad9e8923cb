// A verified author's own prompt in place of a package's. Spec 10.5.
import { Text, Textarea } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { type Outputs, trpc } from '../trpc.ts';

export function useCustomPrompts(isVisitor: boolean) {
  return useQuery(trpc.runs.customPrompts.queryOptions(undefined, { enabled: !isVisitor, staleTime: 5 * 60_000 }));
}
type Rules = Outputs['runs']['customPrompts'];

type OwnPromptProps = { rules: Rules; value: string; onChange: (text: string) => void };

export function OwnPrompt({ rules: { limits, pricing }, value, onChange }: OwnPromptProps) {
  const length = [...value.trim()].length;
  const { minPromptLength: least, maxPromptLength: most, maxTokensOutput } = limits;
  const fault =
    length > most
      ? `At most ${most.toLocaleString()} characters: ${(length - most).toLocaleString()} too many.`
      : length > 0 && length < least
        ? `At least ${least} characters.`
        : undefined;
  return (
    <div>
      <Textarea
        label="Your prompt"
        description={`${pricing.description} Answers have at most ${maxTokensOutput.toLocaleString()} tokens.`}
        placeholder="What the model is to do with each input"
        autosize
        minRows={3}
        maxRows={12}
        value={value}
        error={fault}
        onChange={(event) => onChange(event.currentTarget.value)}
      />
      <Text size="xs" c="dimmed" mt={4}>
        {length.toLocaleString()} / {most.toLocaleString()} characters
      </Text>
    </div>
  );
}
