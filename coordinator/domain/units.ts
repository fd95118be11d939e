// Formats times and sizes for a person. Pure; in UTC, so that two operators read the same.

/** A time as `2026-11-20 15:14:13Z`. */
export function clockOf(atMs: number): string {
  return `${new Date(atMs).toISOString().slice(0, 19).replace('T', ' ')}Z`;
}

/** A time relative to `nowMs`: `4 min ago`, `in 12 s`, `now`. */
export function agoOf(atMs: number, nowMs: number): string {
  const span = nowMs - atMs;
  if (Math.abs(span) < 1000) return 'now';
  return span > 0 ? `${spanOf(span)} ago` : `in ${spanOf(-span)}`;
}

/** A duration in at most its two largest units: `350 ms`, `12 s`, `4 min 3 s`, `2 h 5 min`, `3 d 4 h`. */
export function spanOf(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const s = Math.round(ms / 1000);
  if (s < 60) return `${s} s`;
  const min = Math.floor(s / 60);
  if (min < 60) return two(min, 'min', s % 60, 's');
  const h = Math.floor(min / 60);
  return h < 24 ? two(h, 'h', min % 60, 'min') : two(Math.floor(h / 24), 'd', h % 24, 'h');
}

/** A size as `512 kB`, `64 MB` or `1.9 GB`, in decimal units. */
export function bytesOf(bytes: number): string {
  if (bytes >= 1e9) return `${(bytes / 1e9).toFixed(1)} GB`;
  return bytes >= 1e6 ? `${Math.round(bytes / 1e6)} MB` : `${Math.round(bytes / 1e3)} kB`;
}

function two(large: number, largeUnit: string, small: number, smallUnit: string): string {
  return small === 0 ? `${large} ${largeUnit}` : `${large} ${largeUnit} ${small} ${smallUnit}`;
}
