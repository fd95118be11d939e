import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { ApiDocument } from '../../../daemon/contract/api-document.ts';

let dir: string;
let path: string;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'qc-doc-'));
  path = join(dir, 'openapi.json');
});

afterEach(() => rmSync(dir, { recursive: true, force: true }));

describe('the API description', () => {
  test('is answered from memory once it was read, though its file has gone', async () => {
    writeFileSync(path, '{"openapi":"3.1.0"}');
    const document = new ApiDocument(path);
    const first = await document.bytes();
    rmSync(path);
    expect(await document.bytes()).toBe(first);
    expect(first.toString()).toBe('{"openapi":"3.1.0"}');
  });

  test('is 503 in words while its file is missing, and is read as soon as it is there', async () => {
    const document = new ApiDocument(path);
    await expect(document.bytes()).rejects.toMatchObject({
      status: 503,
      code: undefined,
      message: expect.stringContaining('ENOENT'),
    });
    writeFileSync(path, '{}');
    expect((await document.bytes()).toString()).toBe('{}');
  });

  test('is read once for all who ask at the same time', async () => {
    writeFileSync(path, '{}');
    const document = new ApiDocument(path);
    const [one, other] = await Promise.all([document.bytes(), document.bytes()]);
    expect(one).toBe(other);
  });
});
