// Schema 2: the session states `restoring` and `dormant`, the columns that a restore needs, and the operators' settings of a
// workspace.
import type { Migration } from './migration.ts';

/** Rebuilds the table `sessions`, because SQLite cannot change a CHECK. Its rows keep their meaning. */
export const sessionStates: Migration = {
  version: 2,
  name: 'session-states',
  sql: `
CREATE TABLE sessions_2 (
  session_id      TEXT PRIMARY KEY,
  workspace_id    TEXT NOT NULL,
  incarnation     TEXT NOT NULL REFERENCES daemons (incarnation),
  state           TEXT NOT NULL CHECK (state IN ('live', 'restoring', 'dormant', 'closed')),
  created_at_ms   INTEGER NOT NULL,
  last_seen_at_ms INTEGER NOT NULL,
  display_name    TEXT,
  source_type     TEXT,
  source_id       TEXT,
  is_default      INTEGER NOT NULL CHECK (is_default IN (0, 1)),
  -- Highest event id that was told; what clients have seen is less than a known step above it.
  event_head      INTEGER NOT NULL DEFAULT 0,
  ended_at_ms     INTEGER,
  end_reason      TEXT
) STRICT, WITHOUT ROWID;
INSERT INTO sessions_2 (session_id, workspace_id, incarnation, state, created_at_ms, last_seen_at_ms, display_name,
    source_type, source_id, is_default, ended_at_ms, end_reason)
  SELECT session_id, workspace_id, incarnation, state, created_at_ms, last_seen_at_ms, display_name,
    source_type, source_id, is_default, ended_at_ms, end_reason FROM sessions;
DROP TABLE sessions;
ALTER TABLE sessions_2 RENAME TO sessions;
CREATE INDEX sessions_open_by_workspace ON sessions (workspace_id) WHERE state <> 'closed';
CREATE INDEX sessions_newest ON sessions (workspace_id, created_at_ms DESC, session_id);
CREATE INDEX sessions_live_by_incarnation ON sessions (incarnation) WHERE state = 'live';

-- Whether the agent of the incarnation can load sessions; null until it told.
ALTER TABLE daemons ADD COLUMN can_load INTEGER;

ALTER TABLE workspaces ADD COLUMN idle_timeout_ms INTEGER;
ALTER TABLE workspaces ADD COLUMN pinned INTEGER NOT NULL DEFAULT 0;
-- A drain that an operator asked for, until it is taken back.
ALTER TABLE workspaces ADD COLUMN hold_reason TEXT;
`,
};
