import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { FeedLineSplitter } from '../../../coordinator/supervise/feed/line-splitter.ts';

test('whatever the cuts between chunks, the lines come out as they went in', () => {
  const lines = fc.array(fc.string({ unit: 'grapheme' }).map((text) => text.replaceAll('\n', '')));
  fc.assert(
    fc.property(lines, fc.integer({ min: 1, max: 7 }), (texts, size) => {
      const bytes = Buffer.from(texts.map((text) => `${text}\n`).join(''));
      const splitter = new FeedLineSplitter(10_000);
      const out: string[] = [];
      for (let at = 0; at < bytes.length; at += size)
        out.push(...splitter.push(bytes.subarray(at, at + size)));
      expect(out).toEqual(texts);
    }),
  );
});

test('an unfinished line over the bound is refused before its end comes', () => {
  const splitter = new FeedLineSplitter(8);
  expect([...splitter.push(Buffer.from('12345678\n1234'))]).toEqual(['12345678']);
  expect(() => [...splitter.push(Buffer.from('56789'))]).toThrow('longer than 8 bytes');
});
