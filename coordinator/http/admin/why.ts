// GET /admin/workspaces/:ws/why: the recorded events of a workspace, and the story that is made from them.
import type Router from '@koa/router';
import type { Clock } from '../../../daemon/contract/clock.ts';
import { fail } from '../../../daemon/contract/errors.ts';
import type { Store } from '../../store/store.ts';
import type { Fleet, WorkspaceKey } from '../../supervise/fleet.ts';
import type { EventJournal } from '../../supervise/records/event-journal.ts';
import { storyOf } from '../../supervise/records/story.ts';
import { bySelector, type WorkspaceLookup } from '../workspace-selection.ts';

export interface WhyDeps {
  readonly registry: WorkspaceLookup;
  readonly fleet: Pick<Fleet, 'view'>;
  readonly store: {
    readonly events: Pick<Store['events'], 'story'>;
    readonly workspaces: Pick<Store['workspaces'], 'settings'>;
  };
  readonly journal: Pick<EventJournal, 'flush'>;
  readonly clock: Clock;
}

const DEFAULT_EVENTS = 50;
const MAX_EVENTS = 1000;

export function addWhy(router: Router, deps: WhyDeps): void {
  router.get('/workspaces/:ws/why', (ctx) => {
    const limit = limitOf(new URLSearchParams(ctx.querystring).get('limit'));
    ctx.set('Cache-Control', 'no-store');
    ctx.body = whyAnswer(deps, bySelector(deps.registry, ctx.params.ws ?? '', false), limit);
  });
}

function whyAnswer(
  { fleet, store, journal, clock }: WhyDeps,
  workspace: WorkspaceKey,
  limit: number,
): object {
  // Without this, the story would lack the refusals of the current minute, which the journal still counts.
  journal.flush(true);
  const view = fleet.view(workspace.id);
  const events = store.events.story(workspace.id, limit);
  const state = view?.state ?? 'stopped';
  const { summary, lines } = storyOf({
    path: workspace.path,
    state,
    pid: view?.pid ?? null,
    incarnation: view?.incarnation ?? null,
    heldWhy: view?.heldWhy ?? null,
    drainWhy: store.workspaces.settings(workspace.id).holdReason,
    events,
    nowMs: clock.nowMs(),
  });
  return {
    workspace: { id: workspace.id, cwd: workspace.path },
    state,
    summary,
    story: [summary, ...lines],
    events: [...events].reverse(),
  };
}

/** The number of events to answer with, from the query parameter `limit`. @throws ApiError 400 when out of range. */
function limitOf(text: string | null): number {
  if (text === null) return DEFAULT_EVENTS;
  const limit = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (limit >= 1 && limit <= MAX_EVENTS) return limit;
  throw fail('invalid_request', `\`limit\` must be a whole number from 1 to ${MAX_EVENTS}`);
}
