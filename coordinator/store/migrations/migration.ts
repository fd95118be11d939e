// The type of a migration: one step of the schema. Every other file of this directory exports one.

export interface Migration {
  /** Schema version after this migration; counts up by one from 1. */
  readonly version: number;
  readonly name: string;
  readonly sql: string;
}
