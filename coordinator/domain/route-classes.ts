// The classes of routes: which process answers the requests of a class, and what such a request does while the daemon is stopped
// or the session sleeps.

/**
 * What happens to a request of a class while the workspace's daemon is not running, or while no daemon has the session.
 * `wake` starts the daemon and restores the session first; `store` answers from the database; `204` and `404` answer at once.
 * While the session is being restored automatically, a request of every class but `204` waits for the restore.
 */
export type WhenStopped = 'wake' | 'store' | '204' | '404';

interface RouteClassSpec {
  /** Absent when the coordinator's answer does not depend on whether daemons run. */
  readonly whenStopped?: WhenStopped;
  /** `either`: the daemon while it runs, else the coordinator from its store. */
  readonly answeredBy: 'coordinator' | 'daemon' | 'either';
  /** Requests of the class are new work: they are refused while the workspace is drained. */
  readonly isWork?: true;
  /** `METHOD /path`; `:name` stands for one segment, `*` for any. */
  readonly routes: readonly string[];
}

/**
 * The one table of all routes, which says also which routes start a stopped daemon. A route that starts a daemon is named in
 * full: a path that no route serves must not start a daemon only to get its 404.
 */
export const ROUTE_CLASSES = {
  health: { answeredBy: 'coordinator', routes: ['GET /health', 'GET /w/:ws/health'] },
  capabilities: { answeredBy: 'coordinator', routes: ['GET /capabilities'] },
  openapi: { answeredBy: 'coordinator', routes: ['GET /openapi.json', 'GET /w/:ws/openapi.json'] },
  admin: { answeredBy: 'coordinator', routes: ['* /admin/*'] },
  workspace_add: { answeredBy: 'coordinator', routes: ['POST /workspaces'] },
  workspace_remove: { answeredBy: 'coordinator', routes: ['DELETE /workspaces/:ws'] },
  session_create: { whenStopped: 'wake', answeredBy: 'coordinator', isWork: true, routes: ['POST /session'] },
  session_load: {
    whenStopped: 'wake',
    answeredBy: 'coordinator',
    isWork: true,
    routes: ['POST /session/:id/load', 'POST /session/:id/resume', 'POST /session/:id/branch'],
  },
  session_list: {
    whenStopped: 'store',
    answeredBy: 'either',
    routes: ['GET /workspace/:ws/sessions', 'GET /workspaces/:ws/sessions'],
  },
  /** The session listings of several workspaces at once. */
  session_catalog: { whenStopped: 'store', answeredBy: 'coordinator', routes: ['POST /sessions/catalog'] },
  /** Changes of sessions of several workspaces at once: each daemon does what concerns its own sessions. */
  session_batch: {
    whenStopped: 'wake',
    answeredBy: 'coordinator',
    routes: ['POST /sessions/archive', 'POST /sessions/unarchive', 'POST /sessions/delete'],
  },
  /** Every open client polls this route, so it starts no daemon: without a daemon no session is live. */
  session_live_state: {
    whenStopped: 'store',
    answeredBy: 'either',
    routes: ['GET /workspaces/:ws/sessions/live-state'],
  },
  session_prompt: {
    whenStopped: 'wake',
    answeredBy: 'daemon',
    isWork: true,
    routes: ['POST /session/:id/prompt', 'POST /session/:id/continue'],
  },
  session_gesture: {
    whenStopped: 'wake',
    answeredBy: 'daemon',
    routes: [
      'POST /session/:id/model',
      'POST /session/:id/approval-mode',
      'POST /session/:id/config-option',
      'POST /session/:id/language',
      'POST /session/:id/recap',
      'POST /session/:id/btw',
      'POST /session/:id/rewind',
      'PATCH /session/:id/metadata',
    ],
  },
  /** Reads of a session's past, which is on disk: they need the daemon, but not the session. */
  session_history: {
    whenStopped: 'wake',
    answeredBy: 'daemon',
    routes: ['GET /session/:id/transcript', 'GET /session/:id/turn-index', 'GET /session/:id/export'],
  },
  session_status: { whenStopped: 'store', answeredBy: 'either', routes: ['GET /session/:id/status'] },
  session_leave: {
    whenStopped: '204',
    answeredBy: 'daemon',
    routes: ['POST /session/:id/detach', 'POST /session/:id/cancel'],
  },
  session_close: { whenStopped: '204', answeredBy: 'daemon', routes: ['DELETE /session/:id'] },
  /**
   * Requests that need a live session and wake none: reads of it, input within a turn, heartbeats. The pattern takes every route
   * below `/session/:id` that no class names; routes that change the session but wake nothing on purpose are named before it.
   */
  session: {
    whenStopped: '404',
    answeredBy: 'daemon',
    routes: [
      'POST /session/:id/mid-turn-message',
      'DELETE /session/:id/pending-prompts/:promptId',
      'POST /session/:id/permission/:requestId',
      'POST /session/:id/heartbeat',
      '* /session/:id/*',
    ],
  },
  permission: { whenStopped: '404', answeredBy: 'daemon', routes: ['POST /permission/:requestId'] },
  /** Requests about one workspace, or the sessions on its disk, that only the workspace's daemon can answer. */
  workspace_qualified: {
    whenStopped: 'wake',
    answeredBy: 'daemon',
    routes: [
      'GET /workspaces/:ws/session/:id/transcript',
      'GET /workspaces/:ws/session/:id/turn-index',
      'GET /workspaces/:ws/session/:id/export',
      'PATCH /workspaces/:ws/session/:id/metadata',
      'GET /workspaces/:ws/sessions/search',
      'GET /workspaces/:ws/session-info',
      'POST /workspaces/:ws/sessions/archive',
      'POST /workspaces/:ws/sessions/unarchive',
      'POST /workspaces/:ws/sessions/delete',
      'GET /workspace/:ws/sessions/search',
      'GET /workspace/:ws/session-info',
      'GET /w/:ws/capabilities',
    ],
  },
} as const satisfies Record<string, RouteClassSpec>;

export type RouteClass = keyof typeof ROUTE_CLASSES;
