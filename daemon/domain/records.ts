// Looking into values that came as JSON.

export type JsonRecord = Readonly<Record<string, unknown>>;

/** Whether a JSON value is an object, not an array or null. */
export function isRecord(value: unknown): value is JsonRecord {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The value itself when it is an object, else an empty one. */
export function asRecord(value: unknown): JsonRecord {
  return isRecord(value) ? value : {};
}
