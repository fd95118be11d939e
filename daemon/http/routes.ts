// The route table of the daemon, whole.
import { API_DOCUMENT_PATH } from '../contract/api-document.ts';
import { IDENTITY_PATH, RELEASE_PATH, RESTORE_PATH } from '../contract/control.ts';
import { FEED_PATH } from '../contract/feed.ts';
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
  byPath,
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
import { exportSession, transcript, turnIndex, within } from './routes/history.ts';
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
import type { DaemonRoute } from './server.ts';

export function clientRoutes(context: RouteContext): readonly DaemonRoute[] {
  return [
    { method: 'get', path: '/health', handler: health(context) },
    { method: 'get', path: '/capabilities', handler: daemonCapabilities(context) },
    { method: 'get', path: API_DOCUMENT_PATH, handler: openapi(context) },
    { method: 'post', path: '/session', handler: sessionCreation(context) },
    { method: 'post', path: '/session/:id/load', handler: sessionLoad(context) },
    { method: 'post', path: '/session/:id/resume', handler: sessionResume(context) },
    { method: 'post', path: '/session/:id/branch', handler: sessionBranch(context) },
    ...historyRoutes(context),
    ...catalogRoutes(context),
    { method: 'get', path: '/session/:id/status', handler: sessionStatus(context) },
    { method: 'get', path: '/session/:id/events', handler: events(context) },
    { method: 'post', path: '/session/:id/prompt', handler: submitPrompt(context) },
    { method: 'post', path: '/session/:id/mid-turn-message', handler: midTurnMessage(context) },
    { method: 'post', path: '/session/:id/cancel', handler: cancel(context) },
    { method: 'get', path: '/session/:id/pending-prompts', handler: pendingPrompts(context) },
    { method: 'delete', path: '/session/:id/pending-prompts/:promptId', handler: removePrompt(context) },
    { method: 'post', path: '/session/:id/permission/:requestId', handler: voteInSession(context) },
    { method: 'post', path: '/permission/:requestId', handler: vote(context) },
    { method: 'patch', path: '/session/:id/metadata', handler: patchMetadata(context), isStrict: true },
    { method: 'post', path: '/session/:id/model', handler: switchModel(context) },
    { method: 'post', path: '/session/:id/approval-mode', handler: changeApprovalMode(context) },
    ...agentCallRoutes(context),
    { method: 'post', path: '/session/:id/heartbeat', handler: heartbeat(context) },
    { method: 'post', path: '/session/:id/detach', handler: detach(context) },
    { method: 'delete', path: '/session/:id', handler: sessionClose(context) },
  ];
}

/** The past of one session, by its id alone and within its workspace. */
function historyRoutes(context: RouteContext): readonly DaemonRoute[] {
  const reads = [
    ['transcript', transcript(context)],
    ['turn-index', turnIndex(context)],
    ['export', exportSession(context)],
  ] as const;
  return reads.flatMap(([name, handler]) => [
    { method: 'get', path: `/session/:id/${name}`, handler } as const,
    {
      method: 'get',
      path: `/workspaces/:workspace/session/:id/${name}`,
      handler: within(context, handler),
    } as const,
  ]);
}

/** The sessions of the workspace as a collection. */
function catalogRoutes(context: RouteContext): readonly DaemonRoute[] {
  const reads = [
    ['sessions', list(context)],
    ['sessions/search', search(context)],
    ['session-info', sessionInfo(context)],
  ] as const;
  const changes = [
    ['archive', archive(context)],
    ['unarchive', unarchive(context)],
    ['delete', removeSessions(context)],
  ] as const;
  const ours = '/workspaces/:workspace';
  return [
    ...reads.flatMap(([path, handler]) => [
      { method: 'get', path: `/workspace/:id/${path}`, handler: byPath(context, handler) } as const,
      { method: 'get', path: `${ours}/${path}`, handler: within(context, handler) } as const,
    ]),
    { method: 'get', path: `${ours}/sessions/live-state`, handler: within(context, liveState(context)) },
    ...changes.flatMap(([name, handler]) => [
      { method: 'post', path: `/sessions/${name}`, handler } as const,
      { method: 'post', path: `${ours}/sessions/${name}`, handler: within(context, handler) } as const,
    ]),
    { method: 'post', path: '/sessions/catalog', handler: catalogs(context) },
    {
      method: 'patch',
      path: `${ours}/session/:id/metadata`,
      handler: within(context, patchAnyMetadata(context)),
      isStrict: true,
    },
  ];
}

/** What only the agent can answer. */
function agentCallRoutes(context: RouteContext): readonly DaemonRoute[] {
  const reads = ['stats', 'tasks', 'agents', 'lsp', 'hooks', 'resources'] as const;
  return [
    { method: 'get', path: '/session/:id/context', handler: sessionContext(context) },
    { method: 'get', path: '/session/:id/supported-commands', handler: supportedCommands(context) },
    { method: 'get', path: '/session/:id/context-usage', handler: contextUsage(context) },
    ...reads.map((read) => ({
      method: 'get' as const,
      path: `/session/:id/${read}`,
      handler: statusRead(context, read),
    })),
    { method: 'get', path: '/session/:id/rewind/snapshots', handler: rewindSnapshots(context) },
    { method: 'post', path: '/session/:id/rewind', handler: rewind(context), isStrict: true },
    { method: 'post', path: '/session/:id/config-option', handler: configOption(context) },
    { method: 'post', path: '/session/:id/language', handler: language(context) },
    { method: 'post', path: '/session/:id/recap', handler: recap(context) },
    { method: 'post', path: '/session/:id/btw', handler: sideQuestion(context) },
    { method: 'post', path: '/session/:id/continue', handler: continueTurn(context), isStrict: true },
  ];
}

/** Only for a daemon that belongs to a coordinator. */
export function controlRoutes(context: RouteContext): readonly DaemonRoute[] {
  return [
    { method: 'get', path: IDENTITY_PATH, handler: identity(context) },
    { method: 'get', path: FEED_PATH, handler: feed(context) },
    { method: 'post', path: RESTORE_PATH, handler: restoreForCoordinator(context) },
    { method: 'post', path: RELEASE_PATH, handler: release(context) },
  ];
}
