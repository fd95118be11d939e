// Schema 1. A migration that has shipped is never edited: a change of the schema is a new migration.
import type { Migration } from './migration.ts';

/**
 * Every index serves a query that exists. A partial index has only live sessions or unended daemons, so old rows do not slow
 * lookups. No table refers to `workspaces`: rows of daemons and sessions outlive the registration of their workspace.
 */
export const initial: Migration = {
  version: 1,
  name: 'initial',
  sql: `
CREATE TABLE workspaces (
  id            TEXT PRIMARY KEY,
  path          TEXT NOT NULL UNIQUE,
  display_name  TEXT,
  origin        TEXT NOT NULL CHECK (origin IN ('static', 'dynamic')),
  created_at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Apart from both tables above and below, because neither removal nor pruning may make a number come again.
CREATE TABLE workspace_starts (
  workspace_id TEXT PRIMARY KEY,
  issued       INTEGER NOT NULL DEFAULT 0,
  starts       INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

CREATE TABLE daemons (
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
  end_reason           TEXT
) STRICT;
CREATE INDEX daemons_by_workspace ON daemons (workspace_id);
CREATE INDEX daemons_unended ON daemons (id) WHERE state <> 'ended';

CREATE TABLE sessions (
  session_id      TEXT PRIMARY KEY,
  workspace_id    TEXT NOT NULL,
  incarnation     TEXT NOT NULL REFERENCES daemons (incarnation),
  state           TEXT NOT NULL CHECK (state IN ('live', 'closed')),
  created_at_ms   INTEGER NOT NULL,
  last_seen_at_ms INTEGER NOT NULL,
  display_name    TEXT,
  source_type     TEXT,
  source_id       TEXT,
  is_default      INTEGER NOT NULL CHECK (is_default IN (0, 1)),
  ended_at_ms     INTEGER,
  end_reason      TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX sessions_live_by_workspace ON sessions (workspace_id) WHERE state = 'live';
CREATE INDEX sessions_live_by_incarnation ON sessions (incarnation) WHERE state = 'live';

CREATE TABLE session_clients (
  session_id      TEXT NOT NULL REFERENCES sessions (session_id) ON DELETE CASCADE,
  client_id       TEXT NOT NULL,
  count           INTEGER NOT NULL,
  last_seen_at_ms INTEGER NOT NULL,
  PRIMARY KEY (session_id, client_id)
) STRICT, WITHOUT ROWID;

-- No reference to sessions: a prompt is reported even where its session was opened and ended between two feeds.
CREATE TABLE prompts (
  prompt_id      TEXT PRIMARY KEY,
  session_id     TEXT NOT NULL,
  state          TEXT NOT NULL CHECK (state IN ('queued', 'running', 'completed', 'failed')),
  admitted_at_ms INTEGER NOT NULL,
  settled_at_ms  INTEGER,
  outcome        TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX prompts_unsettled ON prompts (session_id) WHERE settled_at_ms IS NULL;

-- Narrow and in key order: a batch touches few pages. client_id '' is the session's anonymous watermark.
CREATE TABLE heartbeats (
  session_id TEXT NOT NULL,
  client_id  TEXT NOT NULL,
  at_ms      INTEGER NOT NULL,
  PRIMARY KEY (session_id, client_id)
) STRICT, WITHOUT ROWID;

-- Only the oldest rows are ever deleted, so the plain rowid already counts up for ever.
CREATE TABLE events (
  id           INTEGER PRIMARY KEY,
  at_ms        INTEGER NOT NULL,
  kind         TEXT NOT NULL,
  workspace_id TEXT,
  incarnation  TEXT,
  session_id   TEXT,
  detail       TEXT NOT NULL
) STRICT;
CREATE INDEX events_by_workspace ON events (workspace_id);
`,
};
