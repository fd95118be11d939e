// Schema 4: the shelf of each session, so that the list of a workspace's sessions is right while its daemon does not run.
import type { Migration } from './migration.ts';

export const shelves: Migration = {
  version: 4,
  name: 'shelves',
  sql: `
ALTER TABLE sessions ADD COLUMN shelf TEXT NOT NULL DEFAULT 'active' CHECK (shelf IN ('active', 'archived', 'gone'));
`,
};
