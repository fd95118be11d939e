// Reads how many processes the host's OOM killer ended. For a daemon's end a hint only: the kernel's count names no process.
import { readFileSync } from 'node:fs';

/** Number of processes that the kernel killed for want of memory since boot; null where it does not count (no /proc). */
export function readHostOomKills(): number | null {
  try {
    const count = /^oom_kill (\d+)$/m.exec(readFileSync('/proc/vmstat', 'utf8'))?.[1];
    return count === undefined ? null : Number(count);
  } catch {
    // This system has no /proc.
    return null;
  }
}
