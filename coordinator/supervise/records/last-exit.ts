// Reads from the event rows how a workspace's last daemon ended, because a coordinator that was restarted did not see it.
import type { Store } from '../../store/store.ts';
import type { DaemonView } from '../fleet.ts';
import { ENDS } from './story.ts';
import { wordsOfCause } from './story-words.ts';

/** Number of newest events that are searched for the end of a daemon: refusals may have come after it. */
const LOOK_BACK = 200;

/** How the workspace's last daemon ended; null when no end is found, or the store refuses (then `Store.facts` warns). */
export function lastExitOf(
  store: { readonly events: Pick<Store['events'], 'story'> },
  workspaceId: string,
): DaemonView['lastExit'] {
  try {
    const end = store.events.story(workspaceId, LOOK_BACK).find(({ kind }) => ENDS.has(kind));
    if (end === undefined) return null;
    const { code, signal, lastLines } = end.detail;
    return {
      atMs: end.atMs,
      code: typeof code === 'number' ? code : null,
      signal: typeof signal === 'string' ? signal : null,
      reason: wordsOfCause(end.detail),
      lastLines: Array.isArray(lastLines) ? lastLines.map(String) : [],
    };
  } catch {
    // The database is damaged: diagnostics show the store's warning.
    return null;
  }
}
