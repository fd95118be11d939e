// Schema 6: launch handle and address of a daemon, two texts that only launchers and connections read, replace the columns of its
// process. Backups blank only the column `secret`, so neither text may contain a credential.
import type { Migration } from './migration.ts';

/** SQL that makes the process launcher's handle, version 1, from the columns of schemas 1 to 5; `inspect.ts` uses it too. */
export const HANDLE_FROM_COLUMNS = `json_object('kind', 'process', 'version', 1, 'incarnation', incarnation,
  'bootId', boot_id, 'socketPath', socket_path, 'logPath', log_path, 'pid', pid, 'startTime', start_time)`;

/** Rebuilds the table `daemons`, because a NOT NULL column cannot be added without a default. Its rows keep their meaning. */
export const launchHandles: Migration = {
  version: 6,
  name: 'launch-handles',
  sql: `
CREATE TABLE daemons_6 (
  id                   INTEGER PRIMARY KEY,
  incarnation          TEXT NOT NULL UNIQUE,
  workspace_id         TEXT NOT NULL,
  state                TEXT NOT NULL CHECK (state IN ('starting', 'ready', 'ended')),
  launch_handle        TEXT NOT NULL,
  -- Null until the daemon is ready.
  address              TEXT,
  -- Every credential, and nothing else has one.
  secret               TEXT NOT NULL,
  version              TEXT,
  created_at_ms        INTEGER NOT NULL,
  start_deadline_at_ms INTEGER NOT NULL,
  ended_at_ms          INTEGER,
  exit_code            INTEGER,
  exit_signal          TEXT,
  end_reason           TEXT,
  can_load             INTEGER
) STRICT;
INSERT INTO daemons_6 (id, incarnation, workspace_id, state, launch_handle, address, secret, version, created_at_ms,
    start_deadline_at_ms, ended_at_ms, exit_code, exit_signal, end_reason, can_load)
  SELECT id, incarnation, workspace_id, state, ${HANDLE_FROM_COLUMNS},
    CASE state WHEN 'ready' THEN json_object('kind', 'unix', 'path', socket_path) END, secret, version, created_at_ms,
    start_deadline_at_ms, ended_at_ms, exit_code, exit_signal, end_reason, can_load FROM daemons;
DROP TABLE daemons;
ALTER TABLE daemons_6 RENAME TO daemons;
CREATE INDEX daemons_by_workspace ON daemons (workspace_id);
CREATE INDEX daemons_unended ON daemons (id) WHERE state <> 'ended';
CREATE INDEX daemons_ended ON daemons (ended_at_ms) WHERE state = 'ended';
`,
};
