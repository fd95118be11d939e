// Reads the JSON body of a request under a byte cap, as the reference server does: JSON that is no object counts as {}.
import type { IncomingMessage } from 'node:http';
import { type ApiError, failPlain } from './errors.ts';
import { isRecord } from './json-record.ts';

/** Top-level keys that are dropped without an error, so that no body can change a prototype. */
const RESERVED_KEYS = new Set(['__proto__', 'constructor', 'prototype']);

export type JsonObject = Record<string, unknown>;

/** The error 413 for a body over the cap of `maxBytes`; the message names the cap, from 1 MB on in whole MB. */
export function bodyTooLarge(maxBytes: number): ApiError {
  const size = maxBytes >= 1024 * 1024 ? `${Math.floor(maxBytes / (1024 * 1024))} MB` : `${maxBytes} bytes`;
  return failPlain(413, `Request body too large (max ${size})`);
}

/**
 * Reads and parses the body of `req`.
 * @returns the object; `{}` for an absent body, another content type, or JSON that is not an object.
 * @throws ApiError 413 over `maxBytes`, 400 for malformed JSON. Rejects when the client goes away.
 */
export async function readJsonBody(req: IncomingMessage, maxBytes: number): Promise<JsonObject> {
  if (!/^application\/(?:[\w.+-]+\+)?json\b/i.test(req.headers['content-type'] ?? '')) {
    req.resume();
    return {};
  }
  return parseJsonObject(await readBody(req, maxBytes));
}

/**
 * Reads the whole body. Of a body over the cap the rest is read and discarded, so that the client can read the answer; the
 * listener's request timeout bounds the time for that.
 * @throws ApiError 413 over `maxBytes`. Rejects when the client goes away before the end.
 */
export function readBody(req: IncomingMessage, maxBytes: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = Number(req.headers['content-length'] ?? 0) > maxBytes ? maxBytes + 1 : 0;
    const refuse = () => {
      chunks.length = 0;
      req.removeAllListeners('data').resume();
      reject(bodyTooLarge(maxBytes));
    };
    req.once('error', reject);
    req.once('close', () => reject(new Error('the client left before its request was complete')));
    if (size > maxBytes) {
      refuse();
      return;
    }
    req.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (size > maxBytes) refuse();
      else chunks.push(chunk);
    });
    req.once('end', () => resolve(Buffer.concat(chunks)));
  });
}

/** Parses a JSON object; `{}` for no bytes and for JSON that is no object. @throws ApiError 400 for malformed JSON. */
export function parseJsonObject(bytes: Buffer): JsonObject {
  if (bytes.length === 0) return {};
  let parsed: unknown;
  try {
    parsed = JSON.parse(bytes.toString('utf8'));
  } catch {
    throw failPlain(400, 'Invalid JSON in request body');
  }
  if (!isRecord(parsed)) return {};
  const entries = Object.entries(parsed).filter(([key]) => !RESERVED_KEYS.has(key));
  return Object.fromEntries(entries);
}
