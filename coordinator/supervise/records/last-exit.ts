// How a workspace's last daemon ended, read back from the events: after a restart of the coordinator it is nowhere else.
import type { Store } from '../../store/store.ts';
import type { DaemonView } from '../fleet.ts';
import { ENDS } from './story.ts';
import { wordsOfCause } from './story-words.ts';

/** Number of events that are searched: refusals may have come since the end. An end that lies further back is not found. */
const LOOK_BACK = 200;

/** Null when no daemon of the workspace has ended, or when the store refuses: the store's own warnings say why. */
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
    // A damaged database. Diagnostics warn of it.
    return null;
  }
}
