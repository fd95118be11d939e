// How a workspace's last daemon ended, read back from the record: what was in memory is gone after a restart.
import type { Store } from '../../store/store.ts';
import type { DaemonView } from '../fleet.ts';
import { ENDS } from './story.ts';
import { wordsOfCause } from './story-words.ts';

/** Refusals may have come since; behind more than these the end counts as forgotten. */
const LOOK_BACK = 200;

/** Null when none has ended, or the record cannot be read: whoever asks is told of that elsewhere. */
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
    // A damaged database: diagnostics warn of it.
    return null;
  }
}
