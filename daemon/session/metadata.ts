// What is said of one session: its name and its pull requests. Clients and the agent may both change the name, and each is
// told of it.
import type { AgentChannel, Params } from '../agent/agent.ts';
import { setTitle } from '../agent/extensions.ts';
import { asRecord, type JsonRecord } from '../contract/json-record.ts';
import type { Limits } from '../contract/limits.ts';
import type { Log } from '../contract/log.ts';
import {
  type MetadataPatch,
  type PullRequest,
  withBoundPullRequest,
  withPullRequest,
} from '../domain/metadata.ts';
import type { Bus } from '../events/bus.ts';
import type { SessionHistory } from '../history/session-history.ts';

export interface SessionMetadataOptions {
  readonly sessionId: string;
  readonly channel: AgentChannel;
  readonly bus: Bus;
  readonly past: SessionHistory;
  readonly log: Log;
  readonly limits: Pick<Limits, 'initializeTimeoutMs'>;
}

export class SessionMetadata {
  readonly #o: SessionMetadataOptions;
  #displayName: string | undefined;
  #prs: readonly PullRequest[] = [];

  constructor(options: SessionMetadataOptions, displayName: string | undefined) {
    this.#o = options;
    this.#displayName = displayName;
  }

  /** Name and pull requests, where there are any. */
  get current(): { readonly displayName?: string; readonly prs?: readonly PullRequest[] } {
    return {
      ...(this.#displayName === undefined ? {} : { displayName: this.#displayName }),
      ...(this.#prs.length === 0 ? {} : { prs: this.#prs }),
    };
  }

  /** The agent has told the bus of another name. */
  renamedByAgent({ displayName, titleSource }: JsonRecord): void {
    this.#name(String(displayName), titleSource === 'manual' ? 'manual' : 'auto');
  }

  /** The agent has opened a pull request in the session. Listings show it; no event tells of it. @returns false for nonsense. */
  boundByAgent({ pr }: Params): boolean {
    const prs = withBoundPullRequest(this.#prs, asRecord(pr));
    if (prs === undefined) return false;
    this.#prs = prs;
    return true;
  }

  /** Applies what a client says; the agent hears of a name too, where it can. @returns the values that are now in force. */
  patch({ displayName, pr }: MetadataPatch, clientId: string | undefined): JsonRecord {
    const { sessionId, bus } = this.#o;
    if (displayName !== undefined) this.#name(displayName, 'manual');
    if (pr !== undefined) this.#prs = withPullRequest(this.#prs, pr);
    const current = { sessionId, ...this.current };
    if (displayName !== undefined || pr !== undefined) {
      const source = displayName === undefined ? {} : { titleSource: 'manual' };
      bus.publish('session_metadata_updated', { ...current, ...source }, { originatorClientId: clientId });
    }
    if (displayName !== undefined) void this.#titleOnAgent(displayName);
    return current;
  }

  #name(displayName: string, titleSource: 'manual' | 'auto'): void {
    this.#displayName = displayName;
    this.#o.past.change({ displayName, titleSource });
  }

  /** Never rejects. */
  async #titleOnAgent(displayName: string): Promise<void> {
    const { channel, sessionId, limits, log } = this.#o;
    try {
      await setTitle(channel, sessionId, displayName, limits.initializeTimeoutMs);
    } catch (error) {
      log.warn({ err: error, sessionId }, 'the agent rejected the title');
    }
  }
}
