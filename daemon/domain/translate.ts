// Translates the agent's extension notifications into events for the session's bus, by one table of methods. A notification
// whose method is not in the table is ignored.
import { definedFields, isRecord } from '../contract/json-record.ts';

export interface BusEvent {
  readonly type: string;
  readonly data: Readonly<Record<string, unknown>>;
}

type Params = Readonly<Record<string, unknown>>;
/** Returns undefined when a required field is missing or of the wrong type, because clients would drop such an event. */
type Translator = (params: Params) => readonly BusEvent[] | undefined;

/** Longest suggestion that clients accept, in UTF-16 units. */
const MAX_SUGGESTION_CHARS = 500;

const TRANSLATORS: Readonly<Record<string, Translator>> = {
  'qwen/notify/session/title-update': ({ sessionId, title, titleSource }) =>
    isText(title)
      ? [
          {
            type: 'session_metadata_updated',
            data: { sessionId, displayName: title, ...definedFields({ titleSource }) },
          },
        ]
      : undefined,
  'qwen/notify/session/prompt-suggestion': ({ sessionId, suggestion, promptId }) =>
    isText(suggestion) && isText(promptId)
      ? [
          {
            type: 'followup_suggestion',
            data: { sessionId, suggestion: suggestion.slice(0, MAX_SUGGESTION_CHARS), promptId },
          },
        ]
      : undefined,
  'qwen/notify/session/recording-degraded': ({ sessionId, reason }) =>
    isText(reason) ? [{ type: 'session_recording_degraded', data: { sessionId, reason } }] : undefined,
  'qwen/notify/session/mcp-budget-event': mcpBudget,
  'qwen/notify/session/artifact-event': ({ sessionId, artifacts }) =>
    Array.isArray(artifacts)
      ? artifacts
          .filter(isArtifactChange)
          .map((change) => ({ type: 'artifact_changed', data: { sessionId, change } }))
      : undefined,
  'qwen/notify/session/terminal-sequence': ({ v: _v, sessionId: _sessionId, ...payload }) => [
    { type: 'terminal_sequence', data: payload },
  ],
  'qwen/notify/session/sources-changed': ({ sessionId, revision }) =>
    revision === undefined ? undefined : [{ type: 'source_changed', data: { sessionId, revision } }],
  '_qwencode/end_turn': ({ sessionId, reason, turnId }) =>
    isText(reason)
      ? [
          {
            type: 'background_notification_turn_complete',
            data: { sessionId, reason, ...definedFields({ turnId }) },
          },
        ]
      : undefined,
};

/**
 * Translates one notification into events for the bus.
 * @returns an empty list when clients are to be shown nothing; undefined when the method is unknown or a field is unusable,
 * which the caller logs.
 */
export function translate(method: string, params: Params): readonly BusEvent[] | undefined {
  return Object.hasOwn(TRANSLATORS, method) ? TRANSLATORS[method]?.(params) : undefined;
}

/**
 * Whether clients accept the value as the change of an artifact. Artifacts without an id are meant for an artifact store, which
 * the daemon does not have.
 */
function isArtifactChange(value: unknown): boolean {
  if (!isRecord(value) || !isText(value.artifactId) || !isText(value.action)) return false;
  return value.reason === undefined || isText(value.reason);
}

function mcpBudget({ v: _v, sessionId: _sessionId, kind, ...data }: Params): readonly BusEvent[] | undefined {
  if (kind === 'budget_warning') return [{ type: 'mcp_budget_warning', data }];
  if (kind === 'refused_batch') return [{ type: 'mcp_child_refused_batch', data }];
  return undefined;
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value !== '';
}
