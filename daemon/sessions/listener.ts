// Acts on the changes of live sessions: reports them on the feed, publishes events to the other sessions, has unused sessions
// closed.
import type { FeedPrompt } from '../contract/feed.ts';
import type { Session, SessionListener } from '../session/session.ts';
import type { AutoClose } from './auto-close.ts';
import type { CoordinatorFeed } from './coordinator-feed.ts';
import type { SessionRegister } from './register.ts';
import type { SessionReporter } from './reporter.ts';

export interface LiveSessionListenerDeps {
  readonly register: Pick<SessionRegister, 'all'>;
  readonly feed: CoordinatorFeed;
  readonly reporter: SessionReporter;
  readonly autoClose: AutoClose;
}

export class LiveSessionListener implements SessionListener {
  readonly #deps: LiveSessionListenerDeps;

  constructor(deps: LiveSessionListenerDeps) {
    this.#deps = deps;
  }

  prompt(step: FeedPrompt): void {
    this.#deps.feed.publish({ type: 'prompt', prompt: step });
  }

  head(sessionId: string, head: number): void {
    this.#deps.feed.publish({ type: 'head', sessionId, head });
  }

  maybeIdle(session: Session): void {
    this.#deps.autoClose.afterWork(session);
  }

  renamed(session: Session): void {
    this.#deps.reporter.report(session);
  }

  /** Publishes the workspace's new default model on the bus of every live session. */
  modelChosen(value: string, clientId: string | undefined): void {
    const data = { key: 'model.name', value };
    for (const { bus } of this.#deps.register.all())
      bus.publish('settings_changed', data, { originatorClientId: clientId });
  }
}
