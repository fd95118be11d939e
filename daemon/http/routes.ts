// The route table of the daemon, as data: each row names the function that makes the route's handler, so that a test can read
// the table without making any part of a daemon.
import { API_DOCUMENT_PATH } from '../contract/api-document.ts';
import { IDENTITY_PATH, RELEASE_PATH, RESTORE_PATH } from '../contract/control.ts';
import { FEED_PATH } from '../contract/feed.ts';
import type { Handler } from './call.ts';
import type { RouteContext } from './route-context.ts';
import {
  configOption,
  contextUsage,
  continueTurn,
  language,
  recap,
  rewind,
  rewindSnapshots,
  sessionContext,
  sideQuestion,
  statusRead,
  supportedCommands,
} from './routes/agent-calls.ts';
import {
  archive,
  catalogs,
  list,
  liveState,
  patchAnyMetadata,
  removeSessions,
  search,
  sessionInfo,
  unarchive,
} from './routes/catalog.ts';
import { feed, identity, release, restoreForCoordinator } from './routes/control.ts';
import { events } from './routes/events.ts';
import { exportSession, transcript, turnIndex } from './routes/history.ts';
import { daemonCapabilities, health } from './routes/meta.ts';
import { openapi } from './routes/openapi.ts';
import { sessionBranch, sessionLoad, sessionResume } from './routes/restore.ts';
import { detach, heartbeat, sessionClose, sessionCreation, sessionStatus } from './routes/sessions.ts';
import { changeApprovalMode, patchMetadata, switchModel } from './routes/settings.ts';
import {
  cancel,
  midTurnMessage,
  pendingPrompts,
  removePrompt,
  submitPrompt,
  vote,
  voteInSession,
} from './routes/turns.ts';
import { byPath, within } from './routes/workspace.ts';
import type { DaemonRoute } from './server.ts';

/** One route of the table. A row of the default type, `RouteRow<never>`, can be read, but its handler cannot be made. */
export interface RouteRow<Needs = never> extends Omit<DaemonRoute, 'handler'> {
  /** Makes the route's handler from the parts of the daemon that the handler needs. */
  readonly handler: (needs: Needs) => Handler;
}

/** A section of the route table, whose handlers need only these members of the context. */
type Section<Member extends keyof RouteContext> = readonly RouteRow<Pick<RouteContext, Member>>[];

/** The routes about the daemon itself. */
export const DAEMON_ROUTES: Section<
  'capabilities' | 'apiDocument' | 'sessions' | 'clock' | 'activity' | 'rateGate'
> = [
  { method: 'get', path: '/health', handler: health },
  { method: 'get', path: '/capabilities', handler: daemonCapabilities },
  { method: 'get', path: API_DOCUMENT_PATH, handler: openapi },
];

/** The routes of one live session: its creation and end, its turns, events and settings. */
export const SESSION_ROUTES: Section<
  'workspace' | 'limits' | 'clock' | 'log' | 'sessions' | 'restores' | 'feed' | 'streams'
> = [
  { method: 'post', path: '/session', handler: sessionCreation },
  { method: 'post', path: '/session/:id/load', handler: sessionLoad },
  { method: 'post', path: '/session/:id/resume', handler: sessionResume },
  { method: 'post', path: '/session/:id/branch', handler: sessionBranch },
  { method: 'get', path: '/session/:id/status', handler: sessionStatus },
  { method: 'get', path: '/session/:id/events', handler: events },
  { method: 'post', path: '/session/:id/prompt', handler: submitPrompt },
  { method: 'post', path: '/session/:id/mid-turn-message', handler: midTurnMessage },
  { method: 'post', path: '/session/:id/cancel', handler: cancel },
  { method: 'get', path: '/session/:id/pending-prompts', handler: pendingPrompts },
  { method: 'delete', path: '/session/:id/pending-prompts/:promptId', handler: removePrompt },
  { method: 'post', path: '/session/:id/permission/:requestId', handler: voteInSession },
  { method: 'post', path: '/permission/:requestId', handler: vote },
  { method: 'patch', path: '/session/:id/metadata', handler: patchMetadata, isStrict: true },
  { method: 'post', path: '/session/:id/model', handler: switchModel },
  { method: 'post', path: '/session/:id/approval-mode', handler: changeApprovalMode },
  { method: 'post', path: '/session/:id/heartbeat', handler: heartbeat },
  { method: 'post', path: '/session/:id/detach', handler: detach },
  { method: 'delete', path: '/session/:id', handler: sessionClose },
];

/** The routes of a live session that the session's agent answers. */
export const AGENT_CALL_ROUTES: Section<'limits' | 'sessions'> = [
  { method: 'get', path: '/session/:id/context', handler: sessionContext },
  { method: 'get', path: '/session/:id/supported-commands', handler: supportedCommands },
  { method: 'get', path: '/session/:id/context-usage', handler: contextUsage },
  { method: 'get', path: '/session/:id/stats', handler: statusRead('stats') },
  { method: 'get', path: '/session/:id/tasks', handler: statusRead('tasks') },
  { method: 'get', path: '/session/:id/agents', handler: statusRead('agents') },
  { method: 'get', path: '/session/:id/lsp', handler: statusRead('lsp') },
  { method: 'get', path: '/session/:id/hooks', handler: statusRead('hooks') },
  { method: 'get', path: '/session/:id/resources', handler: statusRead('resources') },
  { method: 'get', path: '/session/:id/rewind/snapshots', handler: rewindSnapshots },
  { method: 'post', path: '/session/:id/rewind', handler: rewind, isStrict: true },
  { method: 'post', path: '/session/:id/config-option', handler: configOption },
  { method: 'post', path: '/session/:id/language', handler: language },
  { method: 'post', path: '/session/:id/recap', handler: recap },
  { method: 'post', path: '/session/:id/btw', handler: sideQuestion },
  { method: 'post', path: '/session/:id/continue', handler: continueTurn, isStrict: true },
];

const WORKSPACE = '/workspaces/:workspace';

/** The routes for the history of one session, live or not. Each exists with and without the workspace in the path. */
export const HISTORY_ROUTES: Section<'workspace' | 'transcripts'> = [
  { method: 'get', path: '/session/:id/transcript', handler: transcript },
  { method: 'get', path: `${WORKSPACE}/session/:id/transcript`, handler: within(transcript) },
  { method: 'get', path: '/session/:id/turn-index', handler: turnIndex },
  { method: 'get', path: `${WORKSPACE}/session/:id/turn-index`, handler: within(turnIndex) },
  { method: 'get', path: '/session/:id/export', handler: exportSession },
  { method: 'get', path: `${WORKSPACE}/session/:id/export`, handler: within(exportSession) },
];

/** The routes for the sessions of the workspace as a collection: listing, search, and changes of several sessions. */
export const CATALOG_ROUTES: Section<'workspace' | 'sessions' | 'catalog' | 'catalogChanges'> = [
  { method: 'get', path: '/workspace/:id/sessions', handler: byPath(list) },
  { method: 'get', path: `${WORKSPACE}/sessions`, handler: within(list) },
  { method: 'get', path: '/workspace/:id/sessions/search', handler: byPath(search) },
  { method: 'get', path: `${WORKSPACE}/sessions/search`, handler: within(search) },
  { method: 'get', path: '/workspace/:id/session-info', handler: byPath(sessionInfo) },
  { method: 'get', path: `${WORKSPACE}/session-info`, handler: within(sessionInfo) },
  { method: 'get', path: `${WORKSPACE}/sessions/live-state`, handler: within(liveState) },
  { method: 'post', path: '/sessions/archive', handler: archive },
  { method: 'post', path: `${WORKSPACE}/sessions/archive`, handler: within(archive) },
  { method: 'post', path: '/sessions/unarchive', handler: unarchive },
  { method: 'post', path: `${WORKSPACE}/sessions/unarchive`, handler: within(unarchive) },
  { method: 'post', path: '/sessions/delete', handler: removeSessions },
  { method: 'post', path: `${WORKSPACE}/sessions/delete`, handler: within(removeSessions) },
  { method: 'post', path: '/sessions/catalog', handler: catalogs },
  {
    method: 'patch',
    path: `${WORKSPACE}/session/:id/metadata`,
    handler: within(patchAnyMetadata),
    isStrict: true,
  },
];

/** Every route for clients, of a stand-alone daemon as well as behind a coordinator. Only to be read, by tests. */
export const CLIENT_ROUTES: readonly RouteRow[] = [
  ...DAEMON_ROUTES,
  ...SESSION_ROUTES,
  ...HISTORY_ROUTES,
  ...CATALOG_ROUTES,
  ...AGENT_CALL_ROUTES,
];

/** The routes for the coordinator itself. A stand-alone daemon does not serve them. */
export const CONTROL_ROUTES: Section<'self' | 'clock' | 'sessions' | 'restores' | 'feed' | 'streams'> = [
  { method: 'get', path: IDENTITY_PATH, handler: identity },
  { method: 'get', path: FEED_PATH, handler: feed },
  { method: 'post', path: RESTORE_PATH, handler: restoreForCoordinator },
  { method: 'post', path: RELEASE_PATH, handler: release },
];

/** The rows of a section, in the same order, with their handlers made from `needs`; a server takes the result as its routes. */
export function boundRoutes<Needs>(
  section: readonly RouteRow<Needs>[],
  needs: Needs,
): readonly DaemonRoute[] {
  return section.map((row) => ({ ...row, handler: row.handler(needs) }));
}
