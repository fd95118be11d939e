// What the whole host's OOM killer did: no more than a hint, because the kernel's count names no process.
import { readFileSync } from 'node:fs';

/** Processes that were killed for want of memory since boot; null where the kernel does not count (no /proc). */
export function readHostOomKills(): number | null {
  try {
    const count = /^oom_kill (\d+)$/m.exec(readFileSync('/proc/vmstat', 'utf8'))?.[1];
    return count === undefined ? null : Number(count);
  } catch {
    // This system has no /proc.
    return null;
  }
}
