// Schema 5: how long a drain lets turns go on, so that the next coordinator keeps to the same limit.
import type { Migration } from './migration.ts';

export const drainLimits: Migration = {
  version: 5,
  name: 'drain-limits',
  sql: `
ALTER TABLE workspaces ADD COLUMN hold_drain_ms INTEGER CHECK (hold_drain_ms >= 0);
`,
};
