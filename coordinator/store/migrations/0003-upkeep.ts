// Schema 3: indexes for the retention (retention.ts) and for stories.
import type { Migration } from './migration.ts';

export const upkeep: Migration = {
  version: 3,
  name: 'upkeep',
  sql: `
CREATE INDEX sessions_closed ON sessions (ended_at_ms) WHERE state = 'closed';
-- Whole, not partial: removing a daemon row makes SQLite look for sessions that refer to it.
CREATE INDEX sessions_by_incarnation ON sessions (incarnation);
CREATE INDEX prompts_settled ON prompts (settled_at_ms) WHERE settled_at_ms IS NOT NULL;
CREATE INDEX daemons_ended ON daemons (ended_at_ms) WHERE state = 'ended';

-- Sessions and prompts come and go by the thousand; without the difference they would push out the deaths.
ALTER TABLE events ADD COLUMN is_routine INTEGER
  GENERATED ALWAYS AS (kind GLOB 'session_*' OR kind GLOB 'prompt_*') VIRTUAL;
CREATE INDEX events_routine ON events (id) WHERE is_routine = 1;
CREATE INDEX events_story ON events (workspace_id, id) WHERE is_routine = 0;
`,
};
