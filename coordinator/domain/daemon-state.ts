// A daemon's life: states, events, and the one table that says what follows.
export type State = 'stopped' | 'starting' | 'ready' | 'draining' | 'stopping' | 'backoff' | 'failed';
