// One step of the schema, as each file of this directory has one.

export interface Migration {
  /** Counts up by one from 1. */
  readonly version: number;
  readonly name: string;
  readonly sql: string;
}
