// The metadata of one session: its name and its pull requests. Clients and the agent may both change the name; a client's new
// name is passed on to the agent, the agent's new name is published to clients.
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

export interface SessionMetadataDeps {
  readonly sessionId: string;
  readonly channel: AgentChannel;
  readonly bus: Bus;
  readonly past: SessionHistory;
  readonly log: Log;
  readonly limits: Pick<Limits, 'initializeTimeoutMs'>;
}

export class SessionMetadata {
  readonly #deps: SessionMetadataDeps;
  #displayName: string | undefined;
  #prs: readonly PullRequest[] = [];

  constructor(deps: SessionMetadataDeps, displayName: string | undefined) {
    this.#deps = deps;
    this.#displayName = displayName;
  }

  /** The session's name and pull requests; a field is absent where the session has none. */
  get current(): { readonly displayName?: string; readonly prs?: readonly PullRequest[] } {
    return {
      ...(this.#displayName === undefined ? {} : { displayName: this.#displayName }),
      ...(this.#prs.length === 0 ? {} : { prs: this.#prs }),
    };
  }

  /** Takes over a name that the agent has given the session. The caller has published the event. */
  renamedByAgent({ displayName, titleSource }: JsonRecord): void {
    this.#name(String(displayName), titleSource === 'manual' ? 'manual' : 'auto');
  }

  /**
   * Takes over a pull request that the agent has opened in the session. Lists of sessions show it; no event is published.
   * @returns false for an unusable notification.
   */
  boundByAgent({ pr }: Params): boolean {
    const prs = withBoundPullRequest(this.#prs, asRecord(pr));
    if (prs === undefined) return false;
    this.#prs = prs;
    return true;
  }

  /**
   * Applies a client's changes, publishes them, and passes a new name on to the agent.
   * @returns session id, name and pull requests as they are now.
   */
  patch({ displayName, pr }: MetadataPatch, clientId: string | undefined): JsonRecord {
    const { sessionId, bus } = this.#deps;
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
    this.#deps.past.change({ displayName, titleSource });
  }

  /** Passes the name on to the agent. Never rejects: a session keeps its name even where the agent takes no titles. */
  async #titleOnAgent(displayName: string): Promise<void> {
    const { channel, sessionId, limits, log } = this.#deps;
    try {
      await setTitle(channel, sessionId, displayName, limits.initializeTimeoutMs);
    } catch (error) {
      log.warn({ err: error, sessionId }, 'the agent rejected the title');
    }
  }
}
