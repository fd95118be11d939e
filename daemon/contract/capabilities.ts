// The capability tags of this build, for `GET /capabilities`. A tag is listed only while every route and behaviour behind it
// works.

/** Tags that every daemon and every coordinator lists; tags that depend on settings are added by each process. */
export const CORE_FEATURES: readonly string[] = [
  'health',
  'capabilities',
  'session_create',
  'session_id_override',
  'session_scope_override',
  'session_source_metadata',
  'session_load',
  'session_resume',
  'unstable_session_resume',
  'session_list',
  'session_metadata',
  'session_set_model',
  'session_approval_mode_control',
  'session_context',
  'session_context_usage',
  'session_supported_commands',
  'session_stats',
  'session_tasks',
  'session_agents',
  'session_lsp',
  'session_hooks',
  'session_resources',
  'session_language',
  'session_recap',
  'session_btw',
  'session_rewind',
  'session_branch',
  'session_prompt',
  'non_blocking_prompt',
  'session_cancel',
  'session_events',
  'slow_client_warning',
  'typed_event_schema',
  'client_identity',
  'client_heartbeat',
  'session_permission_vote',
  'permission_vote',
  'permission_mediation',
  'session_status',
  'session_close',
  'session_info',
  'session_catalog_batch',
  'session_archive',
  'session_transcript',
  'session_transcript_pagination',
  'session_turn_navigation',
  'session_export',
  'workspace_persisted_transcript',
  'workspace_session_export',
  'workspace_session_live_state',
  'workspace_session_metadata',
];

/** Versions of the HTTP protocol that this build speaks, as `GET /capabilities` shows them. */
export const PROTOCOL_VERSIONS = { current: 'v1', supported: ['v1'] } as const;

/** Most workspaces of a server, the primary one included: enforced by the coordinator, and shown in `GET /capabilities`. */
export const MAX_REGISTERED_WORKSPACES = 256;
