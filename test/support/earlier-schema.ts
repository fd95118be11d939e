// A database of schema 6 taken back to schema 5, as the release before launch handles would have written it.
import { openSqlite } from '../../coordinator/store/driver.ts';

const field = (name: string) => `json_extract(launch_handle, '$.${name}')`;

/** Nobody may have the database open. */
export function toSchema5(path: string): void {
  const sqlite = openSqlite(path);
  sqlite.pragma('foreign_keys = OFF');
  sqlite.exec(`
CREATE TABLE daemons_5 (
  id                   INTEGER PRIMARY KEY,
  incarnation          TEXT NOT NULL UNIQUE,
  workspace_id         TEXT NOT NULL,
  state                TEXT NOT NULL CHECK (state IN ('starting', 'ready', 'ended')),
  socket_path          TEXT NOT NULL,
  secret               TEXT NOT NULL,
  boot_id              TEXT NOT NULL,
  pid                  INTEGER,
  start_time           INTEGER,
  version              TEXT,
  log_path             TEXT NOT NULL,
  created_at_ms        INTEGER NOT NULL,
  start_deadline_at_ms INTEGER NOT NULL,
  ended_at_ms          INTEGER,
  exit_code            INTEGER,
  exit_signal          TEXT,
  end_reason           TEXT,
  can_load             INTEGER
) STRICT;
INSERT INTO daemons_5 SELECT id, incarnation, workspace_id, state, ${field('socketPath')}, secret, ${field('bootId')},
  ${field('pid')}, ${field('startTime')}, version, ${field('logPath')}, created_at_ms, start_deadline_at_ms, ended_at_ms,
  exit_code, exit_signal, end_reason, can_load FROM daemons;
DROP TABLE daemons;
ALTER TABLE daemons_5 RENAME TO daemons;
CREATE INDEX daemons_by_workspace ON daemons (workspace_id);
CREATE INDEX daemons_unended ON daemons (id) WHERE state <> 'ended';
CREATE INDEX daemons_ended ON daemons (ended_at_ms) WHERE state = 'ended';
PRAGMA user_version = 5;
`);
  sqlite.close();
}
