// Turns a transcript into the entries of an exported document: an entry for each text, tool call, plan and failure.
import { asRecord, definedFields, type JsonRecord, recordsIn } from '../contract/json-record.ts';
import { updateOf } from './transcript.ts';
import type { TranscriptRecord } from './transcript-view.ts';

/** One text, tool call, plan or failure of a transcript. */
export interface ExportEntry {
  readonly kind: 'user' | 'agent' | 'thought' | 'tool' | 'plan' | 'error' | 'other';
  readonly text: string;
  readonly promptId?: string;
  /** Title and status of a tool call. */
  readonly title?: string;
  readonly status?: string;
}

export interface ExportHeader {
  readonly sessionId: string;
  readonly title: string;
  readonly workspaceCwd: string;
  readonly isPartial: boolean;
}

/** The entries of a transcript, in order. All updates of one tool call are one entry, at the position of the first. */
export function entriesOf(records: readonly TranscriptRecord[]): readonly ExportEntry[] {
  const entries: ExportEntry[] = [];
  const tools = new Map<string, { readonly at: number; call: JsonRecord }>();
  for (const { type, data, promptId } of records) {
    const prompt = promptId === undefined ? {} : { promptId };
    if (type !== 'session_update') {
      entries.push({ kind: 'error', text: String(data.message ?? type), ...prompt });
      continue;
    }
    const update = updateOf(data);
    if (update.sessionUpdate !== 'tool_call' && update.sessionUpdate !== 'tool_call_update') {
      entries.push({ ...saidIn(update), ...prompt });
      continue;
    }
    const id = String(update.toolCallId);
    const known = tools.get(id);
    const at = known?.at ?? entries.length;
    const call = { ...known?.call, ...definedFields(update) };
    tools.set(id, { at, call });
    entries[at] = { ...toolEntry(call), ...prompt };
  }
  return entries;
}

const SPEAKERS: Readonly<Record<string, ExportEntry['kind']>> = {
  user_message_chunk: 'user',
  agent_message_chunk: 'agent',
  agent_thought_chunk: 'thought',
};

function saidIn(update: JsonRecord): ExportEntry {
  const kind = String(update.sessionUpdate);
  const speaker = SPEAKERS[kind];
  if (speaker !== undefined) return { kind: speaker, text: textOf(update.content) };
  if (kind !== 'plan') return { kind: 'other', title: kind, text: '' };
  const steps = recordsIn(update.entries);
  const lines = steps.map(
    ({ status, content }) => `${status === 'completed' ? '[x]' : '[ ]'} ${textOf(content)}`,
  );
  return { kind: 'plan', text: lines.join('\n') };
}

function toolEntry({ title, kind, status, content, rawInput, rawOutput }: JsonRecord): ExportEntry {
  const shown = Array.isArray(content) ? content.map(textOf).filter((text) => text !== '') : [];
  const output = shown.length > 0 ? shown.join('\n') : jsonOf(rawOutput);
  const parts = [jsonOf(rawInput), output].filter((part) => part !== '');
  return {
    kind: 'tool',
    title: typeof title === 'string' && title !== '' ? title : String(kind ?? 'tool'),
    ...(typeof status === 'string' ? { status } : {}),
    text: parts.join('\n\n'),
  };
}

/** The text of an ACP content block, of a tool's content or of a plain string; a block without text gives `[type]`. */
export function textOf(content: unknown): string {
  if (typeof content === 'string') return content;
  const block = asRecord(content);
  if (typeof block.text === 'string') return block.text;
  if (block.type === 'content') return textOf(block.content);
  if (block.type === 'diff') return diffText(block);
  if (block.type === 'resource_link') return `[${String(block.name ?? block.uri)}](${String(block.uri)})`;
  if (block.type === 'resource') return textOf(block.resource);
  return typeof block.type === 'string' ? `[${block.type}]` : '';
}

function diffText({ path, oldText, newText }: JsonRecord): string {
  const lines = (text: unknown, sign: string) =>
    typeof text === 'string' && text !== '' ? text.split('\n').map((line) => `${sign} ${line}`) : [];
  return [String(path), ...lines(oldText, '-'), ...lines(newText, '+')].join('\n');
}

function jsonOf(value: unknown): string {
  if (value === undefined || value === null) return '';
  return typeof value === 'string' ? value : JSON.stringify(value, undefined, 2);
}

const HEADINGS: Readonly<Record<ExportEntry['kind'], string>> = {
  user: 'User',
  agent: 'Agent',
  thought: 'Thought',
  tool: 'Tool',
  plan: 'Plan',
  error: 'Error',
  other: 'Other',
};

/** The heading of an entry: its kind, then the title and status of a tool call. */
export function headingOf({ kind, title, status }: ExportEntry): string {
  const name = title === undefined ? HEADINGS[kind] : `${HEADINGS[kind]}: ${title}`;
  return status === undefined ? name : `${name} (${status})`;
}
