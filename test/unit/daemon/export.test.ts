import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { escapeHtml } from '../../../daemon/contract/escape-html.ts';
import { EXPORT_FORMATS, exportOf, parseExportFormat } from '../../../daemon/domain/export.ts';
import { entriesOf } from '../../../daemon/domain/export-entries.ts';
import { type TranscriptRecord, viewOf } from '../../../daemon/domain/transcript-view.ts';

function updates(...list: readonly Record<string, unknown>[]): readonly TranscriptRecord[] {
  return list.map((update, index) => ({
    recordId: String(index + 1),
    atMs: 0,
    type: 'session_update',
    data: { sessionId: 's', update },
  }));
}

const said = (sessionUpdate: string, text: string) => ({ sessionUpdate, content: { type: 'text', text } });
const exported = (
  records: readonly TranscriptRecord[],
  format: (typeof EXPORT_FORMATS)[number],
  displayName?: string,
) => exportOf(viewOf('s-1', records, false), { displayName, workspaceCwd: '/ws' }, format);

describe('the entries of an export', () => {
  test('have one tool call for all its reports, where it began', () => {
    const records = updates(
      {
        sessionUpdate: 'tool_call',
        toolCallId: 't1',
        title: 'Edit',
        status: 'pending',
        rawInput: { path: 'a' },
      },
      said('agent_message_chunk', 'meanwhile'),
      {
        sessionUpdate: 'tool_call_update',
        toolCallId: 't1',
        title: null,
        status: 'completed',
        content: [{ type: 'diff', path: 'a', oldText: 'x', newText: 'y' }],
      },
    );
    expect(entriesOf(records)).toEqual([
      { kind: 'tool', title: 'Edit', status: 'completed', text: '{\n  "path": "a"\n}\n\na\n- x\n+ y' },
      { kind: 'agent', text: 'meanwhile' },
    ]);
  });

  test('name what is no text, tick what is done, and tell how a turn failed', () => {
    const records: TranscriptRecord[] = [
      ...updates(
        { sessionUpdate: 'user_message_chunk', content: { type: 'image', data: 'AAAA' } },
        {
          sessionUpdate: 'plan',
          entries: [
            { content: 'a', status: 'completed' },
            { content: 'b', status: 'pending' },
          ],
        },
        { sessionUpdate: 'of_the_future' },
      ),
      { recordId: '9', atMs: 0, type: 'turn_error', data: { message: 'out of luck' } },
    ];
    expect(entriesOf(records).map(({ kind, text }) => [kind, text])).toEqual([
      ['user', '[image]'],
      ['plan', '[x] a\n[ ] b'],
      ['other', ''],
      ['error', 'out of luck'],
    ]);
  });
});

describe('an exported document', () => {
  test('never has markup of the conversation, whatever was said', () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 200 }), (text) => {
        const hostile = `<script>${text}</script><img src=x onerror=alert(1)>"'`;
        const { content } = exported(updates(said('user_message_chunk', hostile)), 'html', hostile);
        const plain = exported(updates(said('user_message_chunk', 'a')), 'html', 'a');
        const tags = (html: string) => html.match(/<[^>]*>/g);
        expect(tags(content)).toEqual(tags(plain.content));
        expect(content).toContain(escapeHtml(hostile));
      }),
    );
  });

  test('needs nothing from elsewhere and runs nothing', () => {
    const { content } = exported(updates(said('agent_message_chunk', 'hello')), 'html');
    expect(content).toContain("default-src 'none'");
    expect(content).not.toMatch(/<script|<link|<img|https?:/);
  });

  test('keeps what a tool said inside its fence', () => {
    const tool = {
      sessionUpdate: 'tool_call',
      toolCallId: 't',
      title: 'Run',
      rawOutput: '```\n# not a heading\n````',
    };
    const { content } = exported(updates(tool), 'md');
    expect(content).toContain('\n`````\n```\n# not a heading\n````\n`````\n');
  });

  test('says the same in every format', () => {
    const records = updates(
      said('user_message_chunk', 'a question'),
      said('agent_message_chunk', 'an answer'),
    );
    for (const format of EXPORT_FORMATS) {
      const { content, filename } = exported(records, format, 'A title');
      for (const words of ['A title', 's-1', 'a question', 'an answer']) expect(content).toContain(words);
      expect(filename).toBe(`session-s-1.${format}`);
    }
    const lines = exported(records, 'jsonl')
      .content.trim()
      .split('\n')
      .map((line) => JSON.parse(line) as object);
    const { entries, ...header } = JSON.parse(exported(records, 'json').content) as { entries: object[] };
    expect(lines).toEqual([header, ...entries]);
  });

  test('has a name that is safe to keep it under', () => {
    const id = '../../etc/pass wd"\r\n';
    const view = viewOf(id, updates(said('user_message_chunk', 'x')), false);
    const { filename } = exportOf(view, { workspaceCwd: '/ws' }, 'md');
    expect(filename).toMatch(/^[A-Za-z0-9._-]+\.md$/);
  });

  test('is HTML unless asked otherwise', () => {
    expect(parseExportFormat(null)).toBe('html');
    expect(() => parseExportFormat('pdf')).toThrow(
      expect.objectContaining({
        code: 'invalid_export_format',
        context: { format: 'pdf', allowedFormats: EXPORT_FORMATS },
      }),
    );
  });
});
