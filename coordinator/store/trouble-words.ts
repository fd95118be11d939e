// Words for an operator about a database that refuses statements: what is wrong and what to do. Pure.
import type { Trouble } from './database.ts';

interface Remedy {
  readonly code: RegExp;
  readonly what: string;
  readonly todo: string;
}

const RECOVERS = 'It then recovers without a restart.';

const REMEDIES: readonly Remedy[] = [
  { code: /^SQLITE_FULL/, what: 'its disk is full', todo: `Free some space. ${RECOVERS}` },
  {
    code: /^SQLITE_(?:BUSY|LOCKED|PROTOCOL)/,
    what: 'another process holds a lock on it',
    todo: `End that process (see "fuser" or "lsof" on the file). ${RECOVERS}`,
  },
  {
    code: /^SQLITE_READONLY/,
    what: 'it cannot be written',
    todo: `Restore the owner and mode of its file and directory (0600, 0700), or remount the disk writable. ${RECOVERS}`,
  },
  {
    code: /^SQLITE_(?:CORRUPT|NOTADB)/,
    what: 'its content is damaged',
    todo:
      'Kill the coordinator with SIGKILL, which leaves the daemons and their sessions running, and start it again: it sets ' +
      'the file aside and takes the daemons over. Check the disk.',
  },
  { code: /^SQLITE_/, what: 'its disk is failing', todo: `Check the disk and the kernel's log. ${RECOVERS}` },
];

/** The warning about the database at `path`; empty when `trouble` is undefined. */
export function troubleWords(path: string, trouble: Trouble | undefined): readonly string[] {
  const remedy = REMEDIES.find(({ code }) => code.test(trouble?.code ?? ''));
  if (trouble === undefined || remedy === undefined) return [];
  const { what, todo } = remedy;
  return [
    `The database ${path} refuses statements: ${what} (${trouble.code}: ${trouble.message}). Requests that must be recorded get 507. ${todo}`,
  ];
}
