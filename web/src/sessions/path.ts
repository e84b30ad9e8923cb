/** The package that stands for one's own prompts. */
export const OWN_PROMPTS = '@playground/custom-prompt';

/** Where a session goes on, with its package and model. */
export function pathOf(session: { id: string; packageName: string | null; model: string | null }): string {
  const { id, packageName, model } = session;
  const query = new URLSearchParams({ session: id });
  if (packageName === OWN_PROMPTS) query.set('own', 'true');
  else if (packageName !== null) query.set('package', packageName);
  if (model !== null) query.set('model', model);
  return `/playground?${query}`;
}
