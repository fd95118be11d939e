// What a daemon tells its coordinator, as NDJSON on `GET /control/feed`. Every record has `seq`, counting up by one;
// the first of a connection is a snapshot taken in one tick, the rest are deltas. A gap means: reconnect.

import { isRecord } from './json-record.ts';

/** Path of the feed on the daemon's socket. */
export const FEED_PATH = '/control/feed';
export interface FeedClient {
  readonly clientId: string;
  /** How often the id was registered and not yet detached. */
  readonly count: number;
  readonly lastSeenAtMs: number;
}

/** A live session as the coordinator stores it. Sent whole on every change. */
export interface FeedSession {
  readonly sessionId: string;
  readonly workspaceCwd: string;
  readonly createdAtMs: number;
  readonly lastSeenAtMs: number;
  readonly clients: readonly FeedClient[];
  readonly displayName?: string;
  readonly sourceType?: string;
  readonly sourceId?: string;
  /** The session in the workspace's single slot. */
  readonly isDefault: boolean;
  /** Newest event id of the bus when this was told; later ones are told in steps, see `HEAD_STEP`. */
  readonly eventHead: number;
}

/**
 * A `head` record is told whenever a bus has advanced by this many events since the last one that was told. So the
 * highest id that any client can have seen is below the last told head + HEAD_STEP + one batch of the agent's output.
 */
export const HEAD_STEP = 5000;
export type PromptState = 'queued' | 'running' | 'completed' | 'failed';

export interface FeedPrompt {
  readonly promptId: string;
  readonly sessionId: string;
  readonly state: PromptState;
  readonly atMs: number;
  /** Stop reason of a completed prompt, error code of a failed one. */
  readonly outcome?: string;
}

export interface FeedAgent {
  readonly pid: number;
  /** Process group of the agent and its children. */
  readonly pgid: number;
  readonly startTime: number;
  /** Whether it can bring a session back (`loadSession`); without it a daemon with sessions is never stopped for idleness. */
  readonly canLoad: boolean;
}

export interface FeedEnded {
  readonly sessionId: string;
  readonly reason: string;
  readonly atMs: number;
}

/** Where a session stands in the list of its workspace; `gone`: it was deleted, or nothing was ever said in it. */
export type Shelf = 'active' | 'archived' | 'gone';

export interface FeedShelved {
  readonly sessionId: string;
  readonly shelf: Shelf;
  /** Its name, where it has one. */
  readonly displayName?: string;
}

export interface FeedBeat {
  readonly atMs: number;
  /** Resident memory of the daemon process. */
  readonly rssBytes: number;
  /** Resident memory of the agent's process group, 0 when it cannot be read. */
  readonly agentRssBytes: number;
  readonly sessions: number;
  readonly activePrompts: number;
  readonly queuedPrompts: number;
  readonly pendingPermissions: number;
  /** Sessions for which the agent holds background work. */
  readonly heldSessions: number;
  readonly subscribers: number;
  /** Newest prompt step, create or heartbeat by a registered client. */
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
      /** Sessions that ended while no feed was read (bounded). */
      readonly ended: readonly FeedEnded[];
      readonly beat: FeedBeat;
    }
  | { readonly type: 'session'; readonly session: FeedSession }
  | { readonly type: 'session_ended'; readonly ended: FeedEnded }
  /** What listings show of a session at rest has changed, or it has just come to rest. */
  | { readonly type: 'shelved'; readonly shelved: FeedShelved }
  /** The bus has advanced, see `HEAD_STEP`. */
  | { readonly type: 'head'; readonly sessionId: string; readonly head: number }
  | { readonly type: 'prompt'; readonly prompt: FeedPrompt }
  /** Heartbeats since the last record of this type, coalesced per client; `clientId` null is the anonymous watermark. */
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

/** Parses one line of the feed. Returns undefined for a line that is no record; the reader then reconnects. */
export function parseFeedRecord(line: string): FeedRecord | undefined {
  try {
    const raw: unknown = JSON.parse(line);
    if (!isRecord(raw)) return undefined;
    return typeof raw.seq === 'number' && typeof raw.type === 'string' ? (raw as FeedRecord) : undefined;
  } catch {
    return undefined;
  }
}
