// Reads a JSON request body under a byte cap, the way the reference server does: what is no JSON object counts as {}.
import type { IncomingMessage } from 'node:http';
import { type ApiError, failPlain } from './errors.ts';

/** Top-level keys that are dropped silently, so that no body can reach a prototype. */
const RESERVED_KEYS = new Set(['__proto__', 'constructor', 'prototype']);

export type JsonObject = Record<string, unknown>;

/** The 413 of a JSON body over the cap; the text names the protocol's bound in whole MB. */
export function bodyTooLarge(maxBytes: number): ApiError {
  const size = maxBytes >= 1024 * 1024 ? `${Math.floor(maxBytes / (1024 * 1024))} MB` : `${maxBytes} bytes`;
  return failPlain(413, `Request body too large (max ${size})`);
}

/**
 * Reads and parses the body of `req`.
 * @returns the object; `{}` for an absent body, another content type, or JSON that is no object.
 * @throws ApiError 413 over `maxBytes`, 400 for malformed JSON. Rejects when the client goes away.
 */
export async function readJsonBody(req: IncomingMessage, maxBytes: number): Promise<JsonObject> {
  if (!/^application\/(?:[\w.+-]+\+)?json\b/i.test(req.headers['content-type'] ?? '')) {
    req.resume();
    return {};
  }
  return parseJsonObject(await readBody(req, maxBytes));
}

/** Reads the whole body. @throws ApiError 413 over `maxBytes`; the rest of the body is then left unread. */
export async function readBody(req: IncomingMessage, maxBytes: number): Promise<Buffer> {
  const declared = Number(req.headers['content-length'] ?? 0);
  if (declared > maxBytes) throw bodyTooLarge(maxBytes);
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of req as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > maxBytes) throw bodyTooLarge(maxBytes);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** @throws ApiError 400 for malformed JSON. */
export function parseJsonObject(bytes: Buffer): JsonObject {
  if (bytes.length === 0) return {};
  let parsed: unknown;
  try {
    parsed = JSON.parse(bytes.toString('utf8'));
  } catch {
    throw failPlain(400, 'Invalid JSON in request body');
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) return {};
  const entries = Object.entries(parsed).filter(([key]) => !RESERVED_KEYS.has(key));
  return Object.fromEntries(entries);
}
