// The command line that `--agent` may have as its value: its default, and its split into words. Quotes work as in a shell;
// variables, globs and pipes do not.

/** The value of `--agent` when the flag is not given. */
export const DEFAULT_AGENT = 'qwen';

/**
 * Splits a command line into words. Single quotes keep every character; in double quotes a backslash escapes `"` and `\` only;
 * outside of quotes a backslash escapes any character.
 * @throws Error when a quote is not closed or the line ends in a backslash.
 */
export function splitCommandLine(line: string): string[] {
  const words: string[] = [];
  let rest = line.trimStart();
  while (rest !== '') {
    const { word, length } = takeWord(rest);
    words.push(word);
    rest = rest.slice(length).trimStart();
  }
  return words;
}

/** One part of a word, sticky at `lastIndex`: a quoted part, an escaped character, or a run of plain characters. */
const PART = /'([^']*)'|"((?:[^"\\]|\\[\s\S])*)"|\\([\s\S])|([^\s'"\\]+)/y;

function takeWord(text: string): { readonly word: string; readonly length: number } {
  let word = '';
  PART.lastIndex = 0;
  let end = 0;
  for (let part = PART.exec(text); part !== null; part = PART.exec(text)) {
    const [, single, double, escaped, plain] = part;
    word += single ?? double?.replace(/\\(["\\])/g, '$1') ?? escaped ?? plain;
    end = PART.lastIndex;
  }
  const next = text[end];
  if (next !== undefined && !/\s/.test(next))
    throw new Error(next === '\\' ? 'it ends in a backslash' : `the quote ${next} is not closed`);
  return { word, length: end };
}
