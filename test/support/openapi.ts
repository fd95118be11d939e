// docs/openapi.yaml as the judge of answers: finds the operation of a request, and validates status, headers and body.
import { readFileSync } from 'node:fs';
import type { IncomingHttpHeaders } from 'node:http';
import { fileURLToPath } from 'node:url';
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import formats from 'ajv-formats';
import { parse } from 'yaml';

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
 * @param body the parsed JSON; the text of an event stream; undefined or empty where there is none.
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
  const media = content[headers?.['content-type']?.split(';', 1)[0] ?? ''] ?? Object.values(content)[0];
  if (media === undefined) {
    if (body !== undefined && body !== '') throw wrong(name, status, 'a body is not documented', body);
    return;
  }
  const validate = validatorOf(media.schema);
  if (!validate(body)) throw wrong(name, status, ajv.errorsText(validate.errors, { dataVar: 'body' }), body);
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
  const given = headers['content-type']?.split(';', 1)[0];
  const documented = Object.keys(response.content ?? {});
  if (given === undefined ? documented.length > 0 : !documented.includes(given))
    throw new Error(`${where}: the media type is ${given}, documented is ${documented.join(', ') || 'none'}`);
  for (const [name, header] of Object.entries(response.headers ?? {}))
    if (resolved(header).required === true && headers[name.toLowerCase()] === undefined)
      throw new Error(`${where}: the header ${name} is missing`);
}

function wrong(name: string, status: number, what: string, body: unknown): Error {
  return new Error(`${name} ${status}: ${what}: ${JSON.stringify(body)}`);
}
