// The handshake between a coordinator and a daemon that it has spawned: one JSON line each way on descriptor 3.
import { isRecord, type JsonRecord } from './json-record.ts';
import { type Limits, limitsFrom } from './limits.ts';

/** Version of what coordinator and daemon exchange: handshake, feed, control routes, headers that only a coordinator sets. */
export const CONTRACT_VERSION = 1;

/** File descriptor, in the daemon, of the two-way pipe on which the handshake is exchanged. */
export const HANDSHAKE_FD = 3;

/** Variable with the incarnation id in the environment of daemon and agent, by which strays are found in /proc. */
export const INCARNATION_ENV = 'QWEN_COORDINATOR_INCARNATION';

/** Settings of a daemon that its coordinator chooses; a stand-alone daemon takes the same settings from its flags. */
export interface BridgeSettings {
  /** Agent profile name or command line, as the `--agent` flag takes it. */
  readonly agent: string;
  readonly logLevel: string;
  readonly permissionPolicy: string;
  /** Votes that decide under the consensus policy; null: a majority. */
  readonly consensusQuorum: number | null;
  readonly rateLimit: boolean;
  readonly limits: Limits;
}

/** The line that the coordinator writes. */
export interface HandshakeRequest extends BridgeSettings {
  readonly contract: number;
  /** `<16-hex workspace id>-<n>`, unique for ever within a state directory. */
  readonly incarnation: string;
  /** Canonical workspace path. */
  readonly workspace: string;
  /** Unix socket path to listen on. */
  readonly socket: string;
  /** Bearer of all requests to this incarnation. */
  readonly secret: string;
  /** Directory for what the daemon keeps on disk (agent transcripts, recordings). */
  readonly stateDir: string;
}

/** The line that the daemon writes once it listens. */
export interface ReadyLine {
  readonly ready: true;
  readonly contract: number;
  readonly pid: number;
  /** Start of the daemon's process: field 22 of /proc/pid/stat (clock ticks since boot), 0 where there is no /proc. */
  readonly startTime: number;
  readonly socket: string;
  readonly incarnation: string;
  readonly version: string;
}

/** The line that the daemon writes when it cannot start: the reason, as text that a person can act on. */
export interface RefusedLine {
  readonly ready: false;
  readonly error: string;
}

export type HandshakeAnswer = ReadyLine | RefusedLine;

/**
 * Parses the coordinator's line of the handshake.
 * @throws Error naming the field that is missing or malformed.
 */
export function parseHandshakeRequest(line: string): HandshakeRequest {
  const raw = record(JSON.parse(line), 'handshake');
  return {
    contract: number(raw, 'contract'),
    incarnation: string(raw, 'incarnation'),
    workspace: string(raw, 'workspace'),
    socket: string(raw, 'socket'),
    secret: string(raw, 'secret'),
    agent: string(raw, 'agent'),
    stateDir: string(raw, 'stateDir'),
    logLevel: string(raw, 'logLevel'),
    permissionPolicy: string(raw, 'permissionPolicy'),
    consensusQuorum: raw.consensusQuorum === null ? null : number(raw, 'consensusQuorum'),
    rateLimit: raw.rateLimit === true,
    limits: limitsFrom(record(raw.limits, 'limits')),
  };
}

/**
 * Parses the daemon's line of the handshake.
 * @throws Error naming the field that is missing or malformed.
 */
export function parseHandshakeAnswer(line: string): HandshakeAnswer {
  const raw = record(JSON.parse(line), 'handshake answer');
  if (raw.ready !== true) return { ready: false, error: string(raw, 'error') };
  return {
    ready: true,
    contract: number(raw, 'contract'),
    pid: number(raw, 'pid'),
    startTime: number(raw, 'startTime'),
    socket: string(raw, 'socket'),
    incarnation: string(raw, 'incarnation'),
    version: string(raw, 'version'),
  };
}

function record(value: unknown, name: string): JsonRecord {
  if (!isRecord(value)) throw new Error(`${name} is not an object`);
  return value;
}

function string(raw: JsonRecord, name: string): string {
  const value = raw[name];
  if (typeof value !== 'string' || value === '') throw new Error(`handshake field "${name}" is not a string`);
  return value;
}

function number(raw: JsonRecord, name: string): number {
  const value = raw[name];
  if (typeof value !== 'number' || !Number.isFinite(value))
    throw new Error(`handshake field "${name}" is not a number`);
  return value;
}
