// docs/openapi.yaml as the judge of answers: finds the operation of a request, validates status, headers and body, and keeps
// which operations a suite has seen succeed.
import { readFileSync } from 'node:fs';
import type { IncomingHttpHeaders } from 'node:http';
import { fileURLToPath } from 'node:url';
import { expect } from '@jest/globals';
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import formats from 'ajv-formats';
import { parse } from 'yaml';
import { openStream, type SseStream } from './sse-stream.ts';
import { type Answer, type CallOptions, call } from './wire-client.ts';

type Json = Readonly<Record<string, unknown>>;

export interface Reference {
  readonly $ref: string;
}

export interface Schema extends Json {
  readonly $ref?: string;
  readonly type?: string | readonly string[];
  readonly required?: readonly string[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly items?: Schema;
}

export interface Parameter {
  readonly name: string;
  readonly in: 'path' | 'query' | 'header';
  readonly required?: boolean;
  readonly schema: Schema;
}

export interface Header {
  readonly required?: boolean;
  readonly schema: Schema;
}

export interface Response {
  readonly description: string;
  readonly headers?: Readonly<Record<string, Header | Reference>>;
  readonly content?: Readonly<Record<string, { readonly schema: Schema }>>;
}

export interface OperationSpec {
  readonly operationId: string;
  readonly tags: readonly string[];
  readonly summary: string;
  readonly parameters?: readonly (Parameter | Reference)[];
  readonly responses: Readonly<Record<string, Response | Reference>>;
}

export interface Operation extends OperationSpec {
  /** As `validateAnswer` takes it: `get /session/{id}/status`. */
  readonly name: string;
  readonly method: string;
  readonly path: string;
}

interface PathItem {
  readonly parameters?: readonly (Parameter | Reference)[];
}

export interface Description extends Json {
  readonly openapi: string;
  readonly tags: readonly { readonly name: string; readonly description: string }[];
  readonly paths: Readonly<Record<string, PathItem>>;
  readonly components: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
}

const FILE = fileURLToPath(new URL('../../docs/openapi.yaml', import.meta.url));
const METHODS = ['get', 'put', 'post', 'patch', 'delete'];

export const DESCRIPTION = parse(readFileSync(FILE, 'utf8')) as Description;

/** What a node stands for. @throws Error for a reference to nothing. */
export function resolved<T extends object>(node: T | Reference): T {
  if (!('$ref' in node)) return node;
  return resolved(at(String(node.$ref)) as T | Reference);
}

/** The node that a local reference names. @throws Error when there is none. */
export function at(reference: string): unknown {
  if (!reference.startsWith('#/')) throw new Error(`${reference} is no local reference`);
  const steps = reference.slice(2).split('/');
  return steps.reduce<unknown>((node, step) => {
    const key = decodeURIComponent(step).replaceAll('~1', '/').replaceAll('~0', '~');
    const inner = (node as Json | undefined)?.[key];
    if (inner === undefined) throw new Error(`${reference} names nothing`);
    return inner;
  }, DESCRIPTION);
}

/** Every operation, with the parameters of its path. */
export const OPERATIONS: readonly Operation[] = Object.entries(DESCRIPTION.paths).flatMap(([path, item]) =>
  Object.entries(item)
    .filter(([method]) => METHODS.includes(method))
    .map(([method, spec]) => ({
      ...(spec as OperationSpec),
      parameters: [...(item.parameters ?? []), ...((spec as OperationSpec).parameters ?? [])],
      name: `${method} ${path}`,
      method,
      path,
    })),
);

/** The operation of a request, a `/w/…` prefix and the query left aside. @throws Error when there is none. */
export function operationOf(method: string, target: string): Operation {
  const path = (target.split('?', 1)[0] ?? '').replace(/^\/w\/[^/]+/, '');
  const found = OPERATIONS.filter((operation) => operation.method === method.toLowerCase())
    // The path with the fewest parameters is the one that is meant.
    .sort((a, b) => a.path.split('{').length - b.path.split('{').length)
    .find((operation) => new RegExp(`^${operation.path.replaceAll(/\{\w+\}/g, '[^/]+')}$`).test(path));
  if (found === undefined) throw new Error(`docs/openapi.yaml has no operation for ${method} ${target}`);
  return found;
}

/** Numbers of the success statuses of an operation. */
export function successOf(operation: OperationSpec): number[] {
  return Object.keys(operation.responses)
    .map(Number)
    .filter((status) => status >= 200 && status < 300);
}

/** The schema of a response's JSON body; undefined where it has none. */
export function jsonSchemaOf(response: Response): Schema | undefined {
  return response.content?.['application/json']?.schema;
}

const ajv = new Ajv2020({ strict: false, allErrors: true });
formats.default(ajv);
ajv.addSchema({ $id: 'description', components: DESCRIPTION.components });
const validators = new Map<string, ValidateFunction>();

function validatorOf(schema: Schema): ValidateFunction {
  const text = JSON.stringify(schema).replaceAll('"$ref":"#/', '"$ref":"description#/');
  const known = validators.get(text);
  if (known !== undefined) return known;
  const made = ajv.compile(JSON.parse(text) as object);
  validators.set(text, made);
  return made;
}

/**
 * Holds an answer against the description.
 * @param name of the operation: `get /session/{id}/status`.
 * @param body the parsed JSON, or the text of any answer; undefined or empty where there is none.
 * @param headers where given, the media type and the headers that are required are checked too.
 * @throws Error saying what is undocumented or wrong.
 */
export function validateAnswer(
  name: string,
  status: number,
  body: unknown,
  headers?: IncomingHttpHeaders,
): void {
  const operation = OPERATIONS.find((candidate) => candidate.name === name);
  if (operation === undefined) throw new Error(`docs/openapi.yaml has no operation "${name}"`);
  const found = operation.responses[status];
  if (found === undefined) throw wrong(name, status, 'the status is not documented', body);
  const response = resolved(found);
  if (headers !== undefined) checkHeaders(`${name} ${status}`, response, headers);
  const content = response.content ?? {};
  const media = content[mediaTypeOf(headers) ?? ''] ?? Object.values(content)[0];
  if (media === undefined) {
    if (body !== undefined && body !== '') throw wrong(name, status, 'a body is not documented', body);
    return;
  }
  const isJsonText = media === content['application/json'] && typeof body === 'string';
  const value = isJsonText ? (JSON.parse(body) as unknown) : body;
  const validate = validatorOf(media.schema);
  if (!validate(value)) throw wrong(name, status, ajv.errorsText(validate.errors, { dataVar: 'body' }), body);
}

/** Holds an event of a stream against the description. @throws Error saying what is wrong. */
export function validateEvent(envelope: unknown): void {
  const validate = validatorOf({ $ref: '#/components/schemas/EventEnvelope' });
  if (!validate(envelope))
    throw new Error(
      `event: ${ajv.errorsText(validate.errors, { dataVar: 'event' })}: ${JSON.stringify(envelope)}`,
    );
}

function checkHeaders(where: string, response: Response, headers: IncomingHttpHeaders): void {
  const given = mediaTypeOf(headers);
  const documented = Object.keys(response.content ?? {});
  if (given === undefined ? documented.length > 0 : !documented.includes(given))
    throw new Error(`${where}: the media type is ${given}, documented is ${documented.join(', ') || 'none'}`);
  for (const [name, header] of Object.entries(response.headers ?? {}))
    if (resolved(header).required === true && headers[name.toLowerCase()] === undefined)
      throw new Error(`${where}: the header ${name} is missing`);
}

function mediaTypeOf(headers: IncomingHttpHeaders | undefined): string | undefined {
  return headers?.['content-type']?.split(';', 1)[0];
}

function wrong(name: string, status: number, what: string, body: unknown): Error {
  return new Error(`${name} ${status}: ${what}: ${JSON.stringify(body)}`);
}

/** The suites that ask real servers; each operation is one suite's, by default that of sessions. */
export type Suite = 'sessions' | 'agent' | 'history' | 'operators';

export function suiteOf({ tags, path }: Operation): Suite {
  if (path.startsWith('/admin/')) return 'operators';
  const [tag] = tags;
  return tag === 'agent' || tag === 'history' ? tag : 'sessions';
}

/** Asks one server, and keeps which operations it has seen with which status. */
export class Examiner {
  readonly base: string;
  readonly #seen = new Set<string>();

  constructor(base: string) {
    this.base = base;
  }

  /** One request whose answer has to be as described, with the expected status and code. */
  async expect(
    status: number | readonly [number, unknown],
    method: string,
    path: string,
    options: CallOptions = {},
  ): Promise<Answer> {
    const answer = await call(this.base, method, path, options);
    const [wantedStatus, wantedCode] = typeof status === 'number' ? [status, answer.json.code] : status;
    expect([method, path, answer.status, answer.json.code]).toEqual([method, path, wantedStatus, wantedCode]);
    this.judge(method, path, answer);
    return answer;
  }

  /** Holds an answer that came some other way against the description. */
  judge(method: string, path: string, answer: Answer): void {
    const { name } = operationOf(method, path);
    validateAnswer(name, answer.status, answer.text, answer.headers);
    this.#seen.add(`${name} ${answer.status}`);
  }

  /** An event stream whose head is as described; its events are validated by `finish`. */
  async stream(sessionId: string, options: Parameters<typeof openStream>[2] = {}): Promise<SseStream> {
    const stream = await openStream(this.base, sessionId, options);
    validateAnswer('get /session/{id}/events', 200, '', stream.headers);
    this.#seen.add('get /session/{id}/events 200');
    return stream;
  }

  /** Waits for the stream's end and validates what came. */
  async finish(stream: SseStream): Promise<void> {
    await stream.end;
    expect(stream.envelopes.length).toBeGreaterThan(0);
    for (const envelope of stream.envelopes) validateEvent(envelope);
  }

  /** Successes of the suite's operations that were not seen. */
  missing(suite: Suite, isFleet: boolean): string[] {
    const asked = OPERATIONS.filter((operation) => suiteOf(operation) === suite);
    return asked
      .filter(({ tags }) => isFleet || !tags.includes('coordinator'))
      .flatMap((operation) => successOf(operation).map((status) => `${operation.name} ${status}`))
      .filter((success) => !this.#seen.has(success));
  }
}
