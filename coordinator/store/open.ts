// Puts the store together: one database, one table object per noun.
import type { Clock } from '../../daemon/contract/clock.ts';
import type { Log } from '../../daemon/contract/log.ts';
import { createDaemons } from './daemons.ts';
import { openDatabase, type StoreDatabase } from './database.ts';
import { createEvents } from './events.ts';
import { createHeartbeats } from './heartbeats.ts';
import { createPrompts } from './prompts.ts';
import { createSessions } from './sessions.ts';
import type { Store } from './store.ts';
import { createWorkspaces } from './workspaces.ts';

const DEFAULT_EVENT_RETENTION = 50_000;

export interface OpenStoreOptions {
  /** Database file; its directory must exist. */
  readonly path: string;
  readonly clock: Clock;
  readonly log: Log;
  /** Number of events that are kept, the newest. */
  readonly eventRetention?: number;
}

/**
 * Opens or creates the store. Hold the state lock (`lock.ts`) first: one coordinator is the only writer.
 * @throws SchemaTooNew; ApiError 507 when the disk refuses; Error when the file is no database.
 */
export function openStore(options: OpenStoreOptions): Store {
  const database = openDatabase(options.path, options.log);
  try {
    return storeOn(database, options.clock, options.eventRetention ?? DEFAULT_EVENT_RETENTION);
  } catch (error) {
    database.close();
    throw error;
  }
}

/** The store over a database that is already open. */
export function storeOn(database: StoreDatabase, clock: Clock, eventRetention: number): Store {
  const events = createEvents(database, clock, eventRetention);
  const prompts = createPrompts(database, events);
  const sessions = createSessions(database, events, prompts);
  return {
    workspaces: createWorkspaces(database, events),
    daemons: createDaemons(database, events, sessions),
    sessions,
    prompts,
    heartbeats: createHeartbeats(database),
    events,
    transaction: (work) => database.write(work),
    facts: () => ({
      path: database.path,
      ...database.sizes(),
      schemaVersion: database.schemaVersion,
      sessions: sessions.countLive(),
      events: events.count(),
    }),
    close: () => database.close(),
  };
}
