// A compaction that fails leaves nothing behind: no open file, and none beside the transcript.
import { mkdirSync, readdirSync, readlinkSync, statSync, symlinkSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { compact, newPathOf } from '../../../daemon/history/compaction.ts';
import { withFilesSync } from '../../../daemon/history/file-pair.ts';
import { eventually } from '../../support/eventually.ts';
import { TranscriptsKit } from './transcripts-kit.ts';

const LIMIT = 16 * 1024;

let kit: TranscriptsKit;
beforeEach(() => {
  kit = new TranscriptsKit(LIMIT);
});
afterEach(() => kit.remove());

/** What this process has open in the kit's directory. */
function openFiles(): string[] {
  const found: string[] = [];
  for (const fd of readdirSync('/proc/self/fd')) {
    try {
      found.push(readlinkSync(`/proc/self/fd/${fd}`));
    } catch {
      // The descriptor of the listing itself is gone by now.
    }
  }
  return found.filter((path) => path.startsWith(kit.dir));
}

function transcript(): string {
  const recording = kit.begin(kit.store());
  kit.turn(recording, 1);
  recording.close();
  return kit.files[0] as string;
}

const META = {
  session: { sessionId: 's-1', workspaceCwd: '/ws', createdAtMs: 1, updatedAtMs: 1, isArchived: false },
  lastId: 5,
  dropped: { turns: 0, events: 0 },
};

describe('a compaction that fails', () => {
  test.each([
    ['merged', (path: string) => `${path}.merged.tmp`],
    ['new', newPathOf],
  ])('as its %s file cannot be opened leaves none open', async (_, blocked) => {
    const path = transcript();
    mkdirSync(blocked(path));
    await expect(compact(path, LIMIT, LIMIT, META)).rejects.toThrow();
    expect(openFiles()).toEqual([]);
  });

  test('as the disk is full leaves no file beside the transcript', async () => {
    const store = kit.store();
    const recording = kit.begin(store);
    const path = kit.files[0] as string;
    symlinkSync('/dev/full', newPathOf(path));
    kit.turn(recording, 1, 400, 100);
    await eventually('the end of the compaction', () => (kit.files.length === 1 ? true : undefined));
    expect(kit.files).toEqual([path]);
    expect((await store.read('s-1'))?.records).toHaveLength(402);
    // The next one finds room.
    recording.close();
    const isSmall = () => kit.files.length === 1 && statSync(path).size <= LIMIT;
    await eventually('the next compaction', () => (isSmall() ? true : undefined));
  });
});

test('two files of which the second cannot be opened are both closed', () => {
  const path = transcript();
  expect(() => withFilesSync(path, kit.dir, () => undefined)).toThrow('EISDIR');
  expect(openFiles()).toEqual([]);
});
