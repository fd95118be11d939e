// Exports a transcript as a document in one of four formats. Every format shows the same entries, whether the daemon or the
// agent keeps the transcript.
import { fail } from '../contract/errors.ts';
import { type ExportEntry, type ExportHeader, entriesOf, headingOf } from './export-entries.ts';
import { htmlDocument } from './export-html.ts';
import { timesOf } from './transcript-page.ts';
import { outlineOf, type TranscriptView } from './transcript-view.ts';

export const EXPORT_FORMATS = ['html', 'md', 'json', 'jsonl'] as const;
export type ExportFormat = (typeof EXPORT_FORMATS)[number];

export interface ExportedDocument {
  readonly content: string;
  readonly contentType: string;
  /** Has no characters but `A-Za-z0-9._-`. */
  readonly filename: string;
}

const TYPES: Readonly<Record<ExportFormat, string>> = {
  html: 'text/html; charset=utf-8',
  md: 'text/markdown; charset=utf-8',
  json: 'application/json; charset=utf-8',
  jsonl: 'application/jsonl; charset=utf-8',
};

const MAX_NAME_CHARS = 80;

/** The format that a query asks for; `html` when it names none. @throws ApiError 400 `invalid_export_format`. */
export function parseExportFormat(text: string | null): ExportFormat {
  const format = text ?? 'html';
  const known = EXPORT_FORMATS.find((candidate) => candidate === format);
  if (known !== undefined) return known;
  throw fail('invalid_export_format', `\`format\` must be one of: ${EXPORT_FORMATS.join(', ')}`, {
    format: format.slice(0, 64),
    allowedFormats: EXPORT_FORMATS,
  });
}

/** Renders the transcript as a document in `format`. */
export function exportOf(
  view: TranscriptView,
  session: { readonly displayName?: string | undefined; readonly workspaceCwd: string },
  format: ExportFormat,
): ExportedDocument {
  const { sessionId } = view;
  const header: ExportHeader = {
    sessionId,
    title: session.displayName ?? `Session ${sessionId}`,
    workspaceCwd: session.workspaceCwd,
    isPartial: view.isPartial,
  };
  const name = `session-${sessionId}`.replace(/[^A-Za-z0-9._-]+/g, '-').slice(0, MAX_NAME_CHARS);
  return {
    content: RENDERERS[format](header, entriesOf(view.records), timesOf(outlineOf(view))),
    contentType: TYPES[format],
    filename: `${name}.${format}`,
  };
}

type Renderer = (
  header: ExportHeader,
  entries: readonly ExportEntry[],
  times: ReturnType<typeof timesOf>,
) => string;

const RENDERERS: Readonly<Record<ExportFormat, Renderer>> = {
  html: htmlDocument,
  md: markdown,
  json: (header, entries, times) =>
    `${JSON.stringify({ v: 1, ...header, ...times, entries }, undefined, 2)}\n`,
  jsonl: (header, entries, times) =>
    [{ v: 1, ...header, ...times }, ...entries].map((line) => `${JSON.stringify(line)}\n`).join(''),
};

function markdown(header: ExportHeader, entries: readonly ExportEntry[]): string {
  const head = [
    `# ${oneLine(header.title)}`,
    `Session ${header.sessionId} in ${oneLine(header.workspaceCwd)}`,
    ...(header.isPartial ? ['_Parts of this transcript are missing._'] : []),
  ];
  const body = entries.map((entry) => {
    const isText = entry.kind === 'user' || entry.kind === 'agent';
    const text = isText || entry.text === '' ? entry.text : fenced(entry.text);
    return `## ${oneLine(headingOf(entry))}\n\n${text}`.trimEnd();
  });
  return `${[...head, ...body].join('\n\n')}\n`;
}

function oneLine(text: string): string {
  return text.replace(/\s+/g, ' ');
}

/** The text as a code block, whose fence is longer than any fence in the text: the text cannot end the block. */
function fenced(text: string): string {
  const longest = Math.max(2, ...[...text.matchAll(/`+/g)].map(([ticks]) => ticks.length));
  const fence = '`'.repeat(longest + 1);
  return `${fence}\n${text}\n${fence}`;
}
