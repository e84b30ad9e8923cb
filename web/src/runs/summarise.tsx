import { Button } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { credits } from '../shell/format.ts';
import { client } from '../trpc.ts';

type SummariseProps = { sessionId: string; model: string | null; onStart: () => void };

/** Goes on from a summary of the conversation: a run of its own, whose price stands on the button. */
export function Summarise({ sessionId, model, onStart }: SummariseProps) {
  const { data } = useQuery({
    queryKey: ['estimate-summary', sessionId, model],
    queryFn: ({ signal }) => client.runs.estimateSummary.mutate({ sessionId, model }, { signal }),
    retry: false,
  });
  if (data === undefined || data.refusal !== null || data.creditsLikely === null) return null;
  return (
    <Button size="compact-sm" variant="default" onClick={onStart}>
      Summarise first ≈ {credits(data.creditsLikely)}
    </Button>
  );
}
