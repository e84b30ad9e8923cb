/**
 * Markdown in pieces that mean the same by themselves: cut at blank lines before what begins anew, never within a fence or a
 * list. What has been cut off once stays as it is when more text comes.
 */
export function blocksOf(text: string): string[] {
  const blocks: string[] = [];
  let begin = 0;
  let at = 0;
  let fence: string | null = null;
  let afterBlank = false;
  while (at < text.length) {
    const newline = text.indexOf('\n', at);
    const next = newline === -1 ? text.length : newline + 1;
    const line = text.slice(at, next);
    const [, mark] = /^ {0,3}(`{3,}|~{3,})/.exec(line) ?? [];
    if (fence === null && afterBlank && at > begin && /^(#{1,6} |[^\s\-*+>|\d[])/.test(line)) {
      blocks.push(text.slice(begin, at));
      begin = at;
    }
    if (mark !== undefined) {
      if (fence === null) fence = mark;
      else if (mark.startsWith(fence) && line.trim() === mark) fence = null;
    }
    afterBlank = line.trim() === '';
    at = next;
  }
  if (begin < text.length) blocks.push(text.slice(begin));
  return blocks;
}
