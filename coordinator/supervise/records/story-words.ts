// Renders one event of `why` as sentences. Pure. An event of an unknown kind is rendered as its name and its detail.
import type { FeedBeat } from '../../../daemon/contract/feed.ts';
import { agoOf, bytesOf, clockOf, spanOf } from '../../domain/units.ts';
import type { EventRow } from '../../store/store.ts';

/** A rendered event: its sentence, then its details, one line each. */
export type Sentences = readonly [string, ...string[]];

/** Number of a dead daemon's last log lines in its rendered event; the event row has more. */
const LINES_SHOWN = 8;

type Detail = EventRow['detail'];
type Renderer = (detail: Detail, nowMs: number, event: EventRow) => Sentences;

const RENDERERS: Readonly<Record<string, Renderer>> = {
  workspace_added: ({ path, origin }) => [`the workspace ${path} was registered (${origin})`],
  workspace_changed: ({ origin, displayName }) => [
    `its registration changed: ${origin}${displayName == null ? '' : `, shown as "${displayName}"`}`,
  ],
  workspace_set: (change) => [`its settings changed: ${settingWords(change).join(', ')}`],
  workspace_removed: () => ['the workspace was removed'],
  workspace_held: ({ why, pid }) => [`held, nothing is started: ${why}${inBrackets(pid)}`],
  workspace_released: () => ['no longer held'],
  daemon_starting: () => ['start decided and recorded'],
  daemon_spawned: ({ pid }) => [pid == null ? 'spawned' : `spawned as pid ${pid}`],
  daemon_ready: ({ version }) => [`listening, version ${version}`],
  daemon_adopted: ({ pid, misfit }) => [
    `taken over, running, from an earlier coordinator${inBrackets(pid)}`,
    ...(misfit === undefined ? [] : [`${textOf(misfit)}: it will be replaced once its turns have ended`]),
  ],
  daemon_rolled_back: ({ why, command }) => [
    `rolled back to "${textOf(command)}", because its replacement did not start: ${textOf(why)}`,
  ],
  daemon_recovered: ({ pid }) => [
    `found running but missing from the database; recovered from its note${inBrackets(pid)}`,
  ],
  daemon_evicted: (detail, nowMs, event) => [textOf(detail.why), ...nextOf(detail, nowMs, event.atMs)],
  restore_failed: ({ why, becomes }, _nowMs, { sessionId }) => [
    `session ${sessionId} could not be restored: ${textOf(why)}`,
    becomes === 'closed' ? 'then: it is closed' : 'then: it sleeps until a client wants it',
  ],
  daemon_died: (detail, nowMs, event) => death(detail, nowMs, event.atMs),
  daemon_stopped: (detail, nowMs, event) => [
    `stopped: ${wordsOfCause(detail)}${sessionsOf(detail)}`,
    ...nextOf(detail, nowMs, event.atMs),
  ],
  daemon_ended: (detail) => [`ended: ${wordsOfCause(detail)}${sessionsOf(detail)}`],
  start_failed: (detail, nowMs, event) => [
    `could not be started: ${wordsOfCause(detail)}`,
    ...nextOf(detail, nowMs, event.atMs),
  ],
  agent_exited: ({ code, signal, sessions }) => [
    `its agent exited unasked (${howOf(code, signal)})${Number(sessions) > 0 ? `, and ${count(sessions, 'session')} with it` : ''}`,
  ],
  request_refused: (detail, nowMs) => [refusal(detail, nowMs)],
};

/** The pid in brackets; empty where the event has none, because not every launcher knows pids. */
function inBrackets(pid: unknown): string {
  return pid == null ? '' : ` (pid ${pid})`;
}

/** Renders an event. Ages are relative to `nowMs` (epoch ms). */
export function renderEvent(event: EventRow, nowMs: number): Sentences {
  return (RENDERERS[event.kind] ?? byName)(event.detail, nowMs, event);
}

const byName: Renderer = (detail, _nowMs, { kind }) => {
  const facts = Object.entries(detail).map(([name, value]) => `${name} ${textOf(value)}`);
  return [[kind.replaceAll('_', ' '), facts.join(', ')].filter((part) => part !== '').join(': ')];
};

/** Why a daemon ended, in a few words. @param detail of the event of the daemon's end. */
export function wordsOfCause(detail: Detail): string {
  const { cause, code, signal, isUnasked } = detail;
  if (isUnasked !== true) return textOf(cause ?? 'unknown');
  if (signal === 'SIGKILL') return 'killed by SIGKILL, not sent by the coordinator';
  if (typeof signal === 'string')
    return `killed by ${signal}, a crash or a signal not sent by the coordinator`;
  return code === null ? textOf(cause ?? 'unknown') : `it exited unasked with code ${code}`;
}

function death(detail: Detail, nowMs: number, atMs: number): Sentences {
  const { isUnasked, wasReady, code, signal, lastLines } = detail;
  const verb = wasReady === false ? 'failed to start' : isUnasked === false ? 'was given up on' : 'died';
  const how =
    isUnasked === false && (code ?? signal) != null ? ` (it ended with ${howOf(code, signal)})` : '';
  const said = (Array.isArray(lastLines) ? lastLines : []).slice(-LINES_SHOWN);
  return [
    `${verb}: ${wordsOfCause(detail)}${how}${sessionsOf(detail)}`,
    ...memory(detail),
    ...(said.length === 0 ? [] : ['its last output:', ...said.map((line) => `| ${line}`)]),
    ...nextOf(detail, nowMs, atMs),
  ];
}

function memory({ oomKills, hostOomKills, peakBytes, beats, signal }: Detail): readonly string[] {
  const lines: string[] = [];
  if (Number(oomKills) > 0)
    lines.push(`out of memory: the kernel killed ${count(oomKills, 'process', 'processes')} of its cgroup`);
  else if (Number(hostOomKills) > 0)
    lines.push(
      `possibly out of memory: the host's OOM killer fired ${count(hostOomKills, 'time')} meanwhile; victims unknown`,
    );
  else if (signal === 'SIGKILL' && hostOomKills === 0)
    lines.push('not out of memory: the host counted no OOM kill while it ran');
  if (typeof peakBytes === 'number') lines.push(`its whole tree used at most ${bytesOf(peakBytes)}`);
  return [...lines, ...trend(Array.isArray(beats) ? (beats as readonly FeedBeat[]) : [])];
}

function trend(beats: readonly FeedBeat[]): readonly string[] {
  const [first, last] = [beats[0], beats.at(-1)];
  if (first === undefined || last === undefined) return [];
  const from = (key: 'rssBytes' | 'agentRssBytes') =>
    first[key] === last[key] ? bytesOf(last[key]) : `${bytesOf(first[key])} to ${bytesOf(last[key])}`;
  return [
    `memory over its last ${spanOf(last.atMs - first.atMs)}: daemon ${from('rssBytes')}, agent ${from('agentRssBytes')}; ` +
      `at the last beat ${count(last.activePrompts, 'prompt')} running, ${count(last.sessions, 'session')}`,
  ];
}

function nextOf({ next }: Detail, nowMs: number, atMs: number): readonly string[] {
  if (typeof next !== 'object' || next === null) return [];
  const { state, afterMs, deaths, intensity, periodMs } = next as Record<string, unknown>;
  const until = atMs + Number(afterMs ?? 0);
  const policy =
    deaths === undefined
      ? ''
      : ` (death ${deaths} within ${spanOf(Number(periodMs))}; up to ${intensity} are retried)`;
  if (state === 'backoff')
    return [
      `then: restarted after ${spanOf(Number(afterMs))} if a request is waiting, else on demand${policy}`,
    ];
  if (state === 'failed')
    return [
      `then: not restarted until ${clockOf(until)} (${agoOf(until, nowMs)}), unless an operator restarts it${policy}`,
    ];
  return state === 'stopped' ? ['then: nothing until a request needs it'] : [];
}

function refusal(
  { status, code, message, count: times, firstAtMs, lastAtMs }: Detail,
  nowMs: number,
): string {
  const what = `${status}${code == null ? '' : ` ${code}`}: ${message}`;
  if (times === 1) return `a request was refused with ${what}`;
  const span = Number(lastAtMs) - Number(firstAtMs);
  return `${times} more requests within ${spanOf(span)} were refused, the last ${agoOf(Number(lastAtMs), nowMs)}, with ${what}`;
}

function sessionsOf({ sessions }: Detail): string {
  return Number(sessions) > 0 ? `, with ${count(sessions, 'session')} open` : '';
}

function howOf(code: unknown, signal: unknown): string {
  if (typeof signal === 'string') return `signal ${signal}`;
  return code == null ? 'an unknown exit code' : `exit code ${code}`;
}

function count(value: unknown, one: string, many = `${one}s`): string {
  return `${value} ${value === 1 ? one : many}`;
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}

function settingWords({ holdReason, idleTimeoutMs, isPinned }: Detail): readonly string[] {
  return [
    ...(holdReason === undefined
      ? []
      : [holdReason === null ? 'accepts work again' : `drained (${holdReason})`]),
    ...(idleTimeoutMs === undefined
      ? []
      : [`idle timeout ${idleTimeoutMs === null ? 'as configured' : `${idleTimeoutMs} ms`}`]),
    ...(isPinned === undefined ? [] : [isPinned === true ? 'pinned' : 'not pinned']),
  ];
}
