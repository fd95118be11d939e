import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { LineSplitter } from '../../../daemon/agent/lines.ts';

function collect(maxBytes = 1000) {
  const lines: string[] = [];
  const overflows: string[] = [];
  const splitter = new LineSplitter({
    maxBytes,
    onLine: (line) => lines.push(line),
    onOverflow: (start) => overflows.push(start),
  });
  return { splitter, lines, overflows };
}

test('wherever the stream is cut, also inside a character, the lines are those that were written', () => {
  const cuts = fc.array(fc.nat(200), { maxLength: 20 });
  const texts = fc.array(fc.string({ unit: 'grapheme', maxLength: 20 }), { minLength: 1, maxLength: 8 });
  fc.assert(
    fc.property(texts, cuts, (raw, positions) => {
      const expected = raw.map((text) => text.replaceAll('\n', ' '));
      const bytes = Buffer.from(expected.map((text) => `${text}\n`).join(''));
      const { splitter, lines } = collect();
      const edges = [0, ...positions.filter((at) => at < bytes.length).sort((a, b) => a - b), bytes.length];
      for (const [index, from] of edges.entries()) splitter.push(bytes.subarray(from, edges[index + 1]));
      expect(lines).toEqual(expected);
    }),
  );
});

describe('a line over the bound', () => {
  test('is given up once, and the line after it is whole', () => {
    const { splitter, lines, overflows } = collect(10);
    for (const piece of ['first\n', 'abcdefgh', 'ijklmn', 'opqrstuvwxyz', 'end\nnext\n'])
      splitter.push(Buffer.from(piece));
    expect(lines).toEqual(['first', 'next']);
    expect(overflows).toEqual(['abcdefghijklmn']);
  });

  test('that never ends leaves nothing behind', () => {
    const { splitter, lines, overflows } = collect(4);
    splitter.push(Buffer.from('too long'));
    splitter.end();
    expect(lines).toEqual([]);
    expect(overflows).toEqual(['too long']);
  });
});

test('a last line without newline is handed over at the end, once', () => {
  const { splitter, lines } = collect();
  splitter.push(Buffer.from('a\nb'));
  expect(lines).toEqual(['a']);
  splitter.end();
  splitter.end();
  expect(lines).toEqual(['a', 'b']);
});
