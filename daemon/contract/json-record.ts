// Inspects parsed JSON of unknown form: whether a value is an object, its objects and fields, and how deep it is.

/** A JSON object whose fields have not been checked. */
export type JsonRecord = Readonly<Record<string, unknown>>;

/** Whether a JSON value is an object, not an array or null. */
export function isRecord(value: unknown): value is JsonRecord {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The objects of a JSON array, in order; none for a value that is no array. */
export function recordsIn(value: unknown): readonly JsonRecord[] {
  return Array.isArray(value) ? value.filter(isRecord) : [];
}

/** The object without its fields that are undefined or null. */
export function definedFields(record: JsonRecord): JsonRecord {
  return Object.fromEntries(
    Object.entries(record).filter(([, value]) => value !== undefined && value !== null),
  );
}

/** Whether a JSON value has more than `maxDepth` levels of arrays and objects. Stops at the first value that is deeper. */
export function isDeeperThan(value: unknown, maxDepth: number): boolean {
  if (typeof value !== 'object' || value === null) return false;
  return maxDepth === 0 || Object.values(value).some((child) => isDeeperThan(child, maxDepth - 1));
}

/** The value itself when it is a JSON object, else an empty object. */
export function asRecord(value: unknown): JsonRecord {
  return isRecord(value) ? value : {};
}
