// Which versions of Node are supported: the same as in package.json's `engines`.

/**
 * Oldest supported minor version of each listed major version; of others no version older than the newest listed one is. From
 * 22.14 and 23.6 on Node has version 10 of the Node-API, on which the SQLite driver is built.
 */
const OLDEST_MINOR: Readonly<Record<number, number>> = { 20: 19, 22: 14, 23: 6 };
const NEWEST_LISTED_MAJOR = 23;

export const SUPPORTED_NODE = 'Node 20.19 or newer 20, or 22.14 and newer';

/** @param version as in `process.versions.node`. */
export function isSupportedNode(version: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  return major > NEWEST_LISTED_MAJOR || minor >= (OLDEST_MINOR[major] ?? Number.POSITIVE_INFINITY);
}
