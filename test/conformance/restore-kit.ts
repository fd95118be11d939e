// A bare daemon over an agent with a memory, and what a client does to get a session back.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { EventEnvelope } from '../../daemon/contract/wire.ts';
import { eventually } from '../support/eventually.ts';
import { type Server, startDaemon, stubAgent } from '../support/fleet-process.ts';
import { Scratch } from '../support/scratch.ts';
import { type Answer, call, clientHeader, newSession, sendPrompt } from '../support/wire-client.ts';

/** Agents that tell the past in different ways, or leave it to us. */
export const AGENTS = {
  recorded: [],
  'recorded, streaming': ['--memory'],
  'recorded, in bulk': ['--memory', '--bulk'],
  'keeping its own, streaming': ['--memory', '--transcripts'],
  'keeping its own, in bulk': ['--memory', '--transcripts', '--bulk'],
  'keeping its own, that can resume': ['--memory', '--transcripts', '--resume'],
} as const;

export interface LoadAnswer {
  readonly sessionId: string;
  readonly clientId: string;
  readonly attached: boolean;
  readonly createdAt: string;
  readonly state: Readonly<Record<string, unknown>>;
  readonly compactedReplay: readonly EventEnvelope[];
  readonly liveJournal: readonly EventEnvelope[];
  readonly historyHasMore?: boolean;
  readonly historyAnchorRecordId?: string;
  readonly lastEventId: number;
  readonly eventEpoch: string;
  readonly promptTerminals?: readonly Readonly<Record<string, unknown>>[];
  readonly partial?: boolean;
}

export class RestoreWorld {
  readonly scratch = new Scratch(1);
  readonly #switches: readonly string[];
  readonly #flags: readonly string[];
  #server: Server | undefined;

  constructor(switches: readonly string[], flags: readonly string[] = []) {
    const memory = join(this.scratch.dir, 'memory');
    mkdirSync(memory);
    this.#switches = switches.flatMap((word) => (word === '--memory' ? [word, memory] : [word]));
    this.#flags = flags;
  }

  get server(): Server {
    if (this.#server === undefined) throw new Error('not started');
    return this.#server;
  }

  get base(): string {
    return this.server.baseUrl;
  }

  async start(): Promise<this> {
    this.#server = await startDaemon({
      agent: stubAgent('--load', ...this.#switches),
      scratch: this.scratch,
      flags: this.#flags,
    });
    return this;
  }

  /** Ends the daemon in order and starts it again over the same files. */
  async restart(): Promise<void> {
    await this.server.stop();
    await this.start();
  }

  /** A session with these turns behind it. */
  async lived(...turns: readonly string[]): Promise<string> {
    const { sessionId, clientId } = await newSession(this.base);
    for (const text of turns) await this.turn(sessionId, text, clientId);
    return sessionId;
  }

  /** Sends a prompt and waits until nothing is pending any more. */
  async turn(sessionId: string, text: string, clientId?: string): Promise<void> {
    await sendPrompt(this.base, sessionId, text, clientId);
    await eventually('the end of the turn', async () => {
      const answer = await call(this.base, 'GET', `/session/${sessionId}/status`);
      return answer.json.hasActivePrompt === false;
    });
  }

  close(sessionId: string): Promise<Answer> {
    return call(this.base, 'DELETE', `/session/${sessionId}`);
  }

  post(sessionId: string, action: 'load' | 'resume', body: object = {}, clientId?: string): Promise<Answer> {
    const options = { json: body, headers: clientHeader(clientId) };
    return call(this.base, 'POST', `/session/${sessionId}/${action}`, options);
  }

  async load(sessionId: string, body: object = {}): Promise<LoadAnswer> {
    const answer = await this.post(sessionId, 'load', body);
    if (answer.status !== 200) throw new Error(`load: ${answer.status} ${answer.text}`);
    return answer.json as unknown as LoadAnswer;
  }
}

/** A replay as words: who said what, and how turns ended. */
export function storyOf(events: readonly EventEnvelope[]): string[] {
  return events.map(({ type, data }) => {
    const { update, stopReason, code } = data as {
      update?: { sessionUpdate: string; content?: { text?: string } };
      stopReason?: string;
      code?: string;
    };
    if (update === undefined) return [type, stopReason ?? code].filter(Boolean).join(' ');
    return [update.sessionUpdate.replace('_message_chunk', ''), update.content?.text]
      .filter(Boolean)
      .join(' ');
  });
}
