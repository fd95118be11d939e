// The feed: what a daemon reports to its coordinator, as NDJSON on `GET /control/feed`. Every record has a `seq`, which counts
// up by one. A connection's first record is a snapshot taken in one tick, all later records are changes. A reader that finds
// a gap in `seq` reconnects.

import { isRecord } from './json-record.ts';

/** Path of the feed on the daemon's socket. */
export const FEED_PATH = '/control/feed';

/** A client that is registered on a session. */
export interface FeedClient {
  readonly clientId: string;
  /** How often the id was registered and not yet detached. */
  readonly count: number;
  readonly lastSeenAtMs: number;
}

/** A live session, with all that the coordinator stores of it. Every change reports the whole object. */
export interface FeedSession {
  readonly sessionId: string;
  readonly workspaceCwd: string;
  readonly createdAtMs: number;
  readonly lastSeenAtMs: number;
  readonly clients: readonly FeedClient[];
  readonly displayName?: string;
  readonly sourceType?: string;
  readonly sourceId?: string;
  /** Whether the session is the one in the workspace's single slot. */
  readonly isDefault: boolean;
  /** Newest event id of the session's bus at the time of the report. Later ids are reported in steps, see `HEAD_STEP`. */
  readonly eventHead: number;
}

/**
 * A `head` record is reported whenever a bus has advanced by this many events since the last reported head. So the highest id
 * that any client can have seen is below the last reported head + HEAD_STEP + one batch of the agent's output.
 */
export const HEAD_STEP = 5000;

export type PromptState = 'queued' | 'running' | 'completed' | 'failed';

/** A prompt, reported each time when its state changes. */
export interface FeedPrompt {
  readonly promptId: string;
  readonly sessionId: string;
  readonly state: PromptState;
  readonly atMs: number;
  /** Stop reason of a completed prompt, error code of a failed one. */
  readonly outcome?: string;
}

/** The daemon's running agent child. */
export interface FeedAgent {
  readonly pid: number;
  /** Process group of the agent and its children. */
  readonly pgid: number;
  readonly startTime: number;
  /**
   * Whether the agent can bring a session back (`loadSession`). If it cannot, a daemon with sessions is never stopped for
   * idleness.
   */
  readonly canLoad: boolean;
}

/** The report that a session is no longer live. */
export interface FeedEnded {
  readonly sessionId: string;
  readonly reason: string;
  readonly atMs: number;
}

/** The shelf of a session that is not live; `gone`: the session was deleted, or nothing was ever said in it. */
export type Shelf = 'active' | 'archived' | 'gone';

/** What listings show of a session that is not live. */
export interface FeedShelved {
  readonly sessionId: string;
  readonly shelf: Shelf;
  /** The session's name; absent when it has none. */
  readonly displayName?: string;
}

/** The beat: memory, counts and last activity of the daemon, reported periodically. */
export interface FeedBeat {
  readonly atMs: number;
  /** Resident memory of the daemon process. */
  readonly rssBytes: number;
  /** Resident memory of the agent's process group; 0 when it cannot be read. */
  readonly agentRssBytes: number;
  readonly sessions: number;
  readonly activePrompts: number;
  readonly queuedPrompts: number;
  readonly pendingPermissions: number;
  /** Sessions in which the agent does background work. */
  readonly heldSessions: number;
  readonly subscribers: number;
  /** Epoch ms of the newest report of a session or prompt, or heartbeat of a client; null before the first. */
  readonly lastActivityAtMs: number | null;
}

export type FeedBody =
  | {
      readonly type: 'snapshot';
      readonly contract: number;
      readonly incarnation: string;
      readonly version: string;
      readonly sessions: readonly FeedSession[];
      readonly prompts: readonly FeedPrompt[];
      readonly openPermissions: readonly string[];
      readonly agent: FeedAgent | null;
      /** The newest ends of sessions (bounded), because sessions may have ended while no coordinator read the feed. */
      readonly ended: readonly FeedEnded[];
      readonly beat: FeedBeat;
    }
  | { readonly type: 'session'; readonly session: FeedSession }
  | { readonly type: 'session_ended'; readonly ended: FeedEnded }
  /** What listings show of a session that is not live: reported when the session stops being live, and on each later change. */
  | { readonly type: 'shelved'; readonly shelved: FeedShelved }
  /** The session's bus has advanced, see `HEAD_STEP`. */
  | { readonly type: 'head'; readonly sessionId: string; readonly head: number }
  | { readonly type: 'prompt'; readonly prompt: FeedPrompt }
  /** Newest heartbeat of each client since the last record of this type; `clientId` is null for anonymous clients together. */
  | {
      readonly type: 'seen';
      readonly seen: readonly {
        readonly sessionId: string;
        readonly clientId: string | null;
        readonly atMs: number;
      }[];
    }
  | {
      readonly type: 'agent';
      readonly agent: FeedAgent | null;
      readonly exit?: {
        readonly code: number | null;
        readonly signal: string | null;
        readonly sessions: number;
      };
    }
  | { readonly type: 'beat'; readonly beat: FeedBeat };

export type FeedRecord = FeedBody & { readonly seq: number };

/** Parses one line of the feed. @returns undefined for a line that is no record; the reader then reconnects. */
export function parseFeedRecord(line: string): FeedRecord | undefined {
  try {
    const raw: unknown = JSON.parse(line);
    if (!isRecord(raw)) return undefined;
    return typeof raw.seq === 'number' && typeof raw.type === 'string' ? (raw as FeedRecord) : undefined;
  } catch {
    return undefined;
  }
}
