// One conversation of the demo agent: its settings and the turn that is running, if any.
export const MODELS = [
  { modelId: 'demo-small', name: 'Demo Small', description: 'Answers from a script' },
  { modelId: 'demo-large', name: 'Demo Large', description: 'Answers from the same script' },
] as const;

export const MODES = [
  { id: 'plan', name: 'Plan', description: 'Talks about edits, makes none' },
  { id: 'default', name: 'Default', description: 'Asks before an edit' },
  { id: 'auto-edit', name: 'Auto Edit', description: 'Edits without asking' },
  { id: 'yolo', name: 'YOLO', description: 'Does everything without asking' },
] as const;

export interface DemoSession {
  readonly id: string;
  readonly cwd: string;
  modelId: string;
  modeId: string;
  /** Whether the user has answered a permission question of this session with "Always allow". */
  editsAllowed: boolean;
  /** Aborting it cancels the running turn; undefined between turns. */
  turn: AbortController | undefined;
}

/** Makes a session with the default settings, in which no turn runs. */
export function newDemoSession(id: string, cwd: string): DemoSession {
  return {
    id,
    cwd,
    modelId: MODELS[0].modelId,
    modeId: 'default',
    editsAllowed: false,
    turn: undefined,
  };
}

/** The session's model and mode with the choices, for the answers to `session/new`, `session/load` and `session/resume`. */
export function settingsOf(session: DemoSession) {
  return {
    models: { availableModels: [...MODELS], currentModelId: session.modelId },
    modes: { availableModes: [...MODES], currentModeId: session.modeId },
  };
}
