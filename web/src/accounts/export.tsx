import { Button, Stack, Text, Title } from '@mantine/core';
import { useMutation } from '@tanstack/react-query';
import { useState } from 'react';
import { saveFile } from '../shell/save-file.ts';
import { Refused } from '../shell/states.tsx';
import { client } from '../trpc.ts';

/** All that is kept of a person, as one JSON file. */
export function Export({ username }: { username: string }) {
  const [part, setPart] = useState('');
  const download = useMutation({
    mutationFn: async () => saveFile(`${username}.json`, 'application/json', await readAll(setPart)),
    onSettled: () => setPart(''),
  });
  return (
    <section aria-labelledby="export">
      <Title order={2} size="h4" id="export" mb="xs">
        Your data
      </Title>
      <Stack gap="sm" align="flex-start">
        <Text size="sm" c="dimmed">
          Everything that is kept of you, table by table: sessions, runs with their texts, credits, payments.
        </Text>
        <Button variant="default" loading={download.isPending} onClick={() => download.mutate()}>
          Download as JSON
        </Button>
        <Text size="sm" role="status">
          {part === ''
            ? download.isSuccess
              ? 'It is with your downloads.'
              : ''
            : `Reading ${part.replaceAll('_', ' ')}`}
        </Text>
        {download.isError && <Refused error={download.error} />}
      </Stack>
    </section>
  );
}

/** Pages as they come; where the connection breaks it is begun again, for a part is not all. */
function readAll(onPart: (part: string) => void): Promise<string[]> {
  return new Promise((done, fail) => {
    let pieces: string[] = [];
    let current: string | null = null;
    const reading = client.accounts.export.subscribe(undefined, {
      onConnectionStateChange: ({ state }) => {
        if (state !== 'connecting') return;
        pieces = [`{"exported_at":${JSON.stringify(new Date().toISOString())}`];
        current = null;
      },
      onData: ({ part, rows }) => {
        const inside = rows.trim().slice(1, -1).trim();
        if (part !== current) {
          pieces.push(`${current === null ? '' : ']'},${JSON.stringify(part)}:[${inside}`);
          onPart(part);
        } else if (inside !== '') pieces.push(`,${inside}`);
        current = part;
      },
      onError: (error) => {
        reading.unsubscribe();
        fail(error);
      },
      onComplete: () => done([...pieces, current === null ? '}' : ']}']),
    });
  });
}
