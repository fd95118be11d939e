// The routes by which the coordinator describes itself: its health, its capabilities, and the description of its API.
import type Router from '@koa/router';
import { API_DOCUMENT_PATH, type ApiDocument } from '../../../daemon/contract/api-document.ts';
import type { Clock } from '../../../daemon/contract/clock.ts';
import type { Fleet } from '../../supervise/fleet.ts';
import { queryOf } from '../own-requests.ts';
import { type CapabilityFacts, deepHealth, fleetCapabilities, isDeep } from '../views.ts';
import type { WorkspaceLookup } from '../workspace-selection.ts';

export interface DescriptionDeps {
  readonly registry: Pick<WorkspaceLookup, 'list' | 'primary'>;
  readonly fleet: Pick<Fleet, 'views'>;
  readonly facts: CapabilityFacts;
  readonly apiDocument: Pick<ApiDocument, 'bytes'>;
  readonly clock: Clock;
}

export function addDescriptions(router: Router, deps: DescriptionDeps): void {
  const { registry, fleet, facts, apiDocument, clock } = deps;
  router.get('/health', (ctx) => {
    ctx.body = isDeep(queryOf(ctx).get('deep'))
      ? deepHealth(fleet.views(), registry.list().length, clock.nowMs())
      : { status: 'ok' };
  });
  router.get('/capabilities', (ctx) => {
    ctx.body = fleetCapabilities(facts, registry);
  });
  router.get(API_DOCUMENT_PATH, async (ctx) => {
    ctx.type = 'application/json; charset=utf-8';
    ctx.body = await apiDocument.bytes();
  });
}
