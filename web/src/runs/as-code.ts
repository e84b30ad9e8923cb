// The same run from a terminal or a program.

export type Snippet = { name: string; text: string };
type Asked = { packageName: string; version: string | null; model: string; input: string; baseline: boolean };

export function snippetsOf({ packageName, version, model, input, baseline }: Asked): Snippet[] {
  const url = window.location.origin;
  const body = {
    package_id: packageName,
    ...(version !== null && { package_version: version }),
    model,
    ...(baseline && { use_no_prompt: true }),
    input,
  };
  const call = {
    packageId: packageName,
    ...(version !== null && { packageVersion: version }),
    model,
    ...(baseline && { useNoPrompt: true }),
    input,
  };
  return [
    {
      name: 'curl',
      text: `curl -N ${url}/api/v1/playground/run \\
  -H "Authorization: Bearer $TOKEN" -H "Accept: text/event-stream" \\
  -d ${shellText(JSON.stringify(body))}`,
    },
    {
      name: 'TypeScript',
      text: `import { createPlaygroundClient } from 'prpm-playground/client';

const { run } = createPlaygroundClient({ url: '${url}', token: process.env.TOKEN ?? '' });

for await (const part of run(${JSON.stringify(call, null, 2)})) {
  if (part.type === 'delta') process.stdout.write(part.text);
  else console.log(\`\\n\${part.receipt.creditsSpent} credits\`);
}
`,
    },
  ];
}

const shellText = (text: string) => `'${text.replaceAll("'", "'\\''")}'`;
