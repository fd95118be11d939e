import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { FrameGate } from '../../../coordinator/http/frame-gate.ts';

const line = fc.string({ maxLength: 20 }).map((text) => `data: ${text.replace(/[\r\n]/g, '')}`);
const frames = fc.array(
  fc.tuple(fc.array(line, { minLength: 1, maxLength: 3 }), fc.constantFrom('\n', '\r\n')),
  { maxLength: 8 },
);

function pieces(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const at = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].sort((a, b) => a - b);
  return [0, ...at].map((from, index) => bytes.subarray(from, at[index] ?? bytes.length));
}

test('however the bytes are cut, whole frames pass, at once and unchanged, and the rest waits', () => {
  fc.assert(
    fc.property(frames, line, fc.array(fc.nat(), { maxLength: 12 }), (sent, rest, cuts) => {
      const whole = sent.map(([lines, end]) => lines.map((text) => text + end).join('') + end).join('');
      const bytes = Buffer.from(whole + rest);
      const gate = new FrameGate();
      let passed = '';
      for (const piece of pieces(bytes, cuts)) {
        passed += gate.push(piece)?.toString('utf8') ?? '';
        expect(passed === '' || /\n\r?\n$/.test(passed)).toBe(true);
      }
      expect(passed).toBe(whole);
      expect(gate.pendingBytes).toBe(Buffer.byteLength(rest));
    }),
  );
});

test('a frame that arrives byte by byte passes with its last byte', () => {
  const gate = new FrameGate();
  const bytes = Buffer.from('id: 1\r\ndata: x\r\n\r\n');
  const out = [...bytes].map((byte) => gate.push(Buffer.from([byte]))?.toString('utf8'));
  expect(out.slice(0, -1).every((part) => part === undefined)).toBe(true);
  expect(out.at(-1)).toBe('id: 1\r\ndata: x\r\n\r\n');
});
