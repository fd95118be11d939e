// The router of the coordinator's own routes, put together from the files in routes/. Handlers only translate between HTTP and
// the functions that do the work.
import Router from '@koa/router';
import { addDescriptions, type DescriptionDeps } from './routes/descriptions.ts';
import { addListings, type ListingDeps } from './routes/listings.ts';
import { addSessions, type SessionRouteDeps } from './routes/sessions.ts';
import { addWorkspaces, type WorkspaceRouteDeps } from './routes/workspaces.ts';

export interface RouteDeps {
  readonly descriptions: DescriptionDeps;
  readonly listings: ListingDeps;
  readonly sessions: SessionRouteDeps;
  readonly workspaces: WorkspaceRouteDeps;
}

export function createRoutes(deps: RouteDeps): Router {
  const router = new Router();
  addDescriptions(router, deps.descriptions);
  addListings(router, deps.listings);
  addSessions(router, deps.sessions);
  addWorkspaces(router, deps.workspaces);
  return router;
}
