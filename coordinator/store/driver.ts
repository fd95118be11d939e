// The SQLite driver for the Node that runs us. No one version fits all: 13 needs the Node-API of Node 22, and with 12 a Node
// from 24.19 on aborts when it collects a statement (its ObjectWrap asks for an environment that a collection may not have).
import { createRequire } from 'node:module';
import type SqliteConnection from 'better-sqlite3';

export type { Database as Sqlite, Statement } from 'better-sqlite3';

const NEWER_FROM_NODE = 22;

const isNewer = Number(process.versions.node.split('.')[0]) >= NEWER_FROM_NODE;
const load = createRequire(import.meta.url);

/** What `better-sqlite3` exports. */
export const Connection: typeof SqliteConnection = load(isNewer ? 'better-sqlite3' : 'better-sqlite3-12');
