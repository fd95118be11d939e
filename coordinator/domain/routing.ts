// Finds the route of a request from its method, its raw URL and one header: pure, no look-ups. A path is split as it came; only
// the parts that select a workspace or a session are percent-decoded, exactly once.
import { ROUTE_CLASSES, type RouteClass } from './route-classes.ts';

/** How a request selects its workspace. */
export type Selection =
  /** By a workspace id or an absolute path. `isSingular`: on the older `/workspace/:ws` routes, whose refusals carry no code. */
  | { readonly by: 'selector'; readonly text: string; readonly isSingular: boolean }
  | { readonly by: 'session'; readonly sessionId: string }
  /** By a permission question: daemons under a coordinator put their workspace's id into the ids of their questions. */
  | { readonly by: 'request'; readonly requestId: string; readonly workspaceId: string | undefined }
  /** Not at all, so the primary workspace is meant. */
  | { readonly by: 'primary' };

/** How the daemon's answer is relayed: byte for byte, or in whole frames as a session's event stream. */
export type Relay = 'plain' | 'events';

/** What a request asks for, as far as its method, target and header say. */
export interface RoutedRequest {
  readonly class: RouteClass;
  readonly select: Selection;
  /** Selector of a `/w/:ws` prefix, in whose workspace everything else that the request selects must be. */
  readonly within: string | undefined;
  /** Path and query as they came, without a `/w/:ws` prefix. */
  readonly path: string;
  readonly relay: Relay;
}

/** `malformed`: broken percent-encoding, or a request target that is no path. `unknown`: a path that no route serves. */
export type Routing = RoutedRequest | 'malformed' | 'unknown';

/** A request's path, cut into segments: `raw` as they came, `text` percent-decoded once. */
interface Cut {
  readonly method: string;
  readonly path: string;
  readonly raw: readonly string[];
  readonly text: readonly string[];
  readonly within: string | undefined;
  /** The decoded `X-Qwen-Workspace` header. */
  readonly preferred: string | undefined;
}

/**
 * The route of a request.
 * @param rawUrl the request target as it was on the wire.
 * @param preferred the `X-Qwen-Workspace` header, percent-encoded like a path segment; counts only when nothing else selects a
 *   workspace.
 */
export function routeOf(method: string, rawUrl: string, preferred: string | undefined): Routing {
  if (!rawUrl.startsWith('/')) return 'malformed';
  const queryAt = rawUrl.indexOf('?');
  const raw = segmentsOf(queryAt === -1 ? rawUrl : rawUrl.slice(0, queryAt));
  const text = decodedOnce(raw);
  const header = preferred === undefined || preferred === '' ? [] : decodedOnce([preferred]);
  if (text === undefined || header === undefined) return 'malformed';
  const cut: Cut = {
    method: method === 'HEAD' ? 'GET' : method,
    path: rawUrl,
    raw,
    text,
    within: undefined,
    preferred: header[0],
  };
  return raw[0] === 'w' && raw.length > 1 ? prefixedRoute(cut) : (ownRoute(cut) ?? commonRoute(cut));
}

/**
 * The segments of a path. One trailing slash is dropped, as in the reference server; an empty segment elsewhere is kept and
 * matches no route.
 */
function segmentsOf(path: string): string[] {
  const segments = path.slice(1).split('/');
  if (segments.length > 1 && segments.at(-1) === '') segments.pop();
  return segments;
}

function decodedOnce(segments: readonly string[]): string[] | undefined {
  try {
    return segments.map((segment) => (segment.includes('%') ? decodeURIComponent(segment) : segment));
  } catch {
    // decodeURIComponent throws only URIError, for an encoding that is not UTF-8.
    return undefined;
  }
}

function prefixedRoute(cut: Cut): Routing {
  const prefixLength = 3 + (cut.raw[1] ?? '').length;
  const inner: Cut = {
    ...cut,
    path: cut.path.slice(prefixLength),
    raw: cut.raw.slice(2),
    text: cut.text.slice(2),
    within: cut.text[1],
  };
  if (inner.method === 'GET' && inner.raw.length === 1) {
    if (inner.raw[0] === 'health') return routed(inner, 'health', fallback(inner));
    if (inner.raw[0] === 'openapi.json') return routed(inner, 'openapi', fallback(inner));
    if (inner.raw[0] === 'capabilities') return routed(inner, 'workspace_qualified', fallback(inner));
  }
  return commonRoute(inner);
}

/** The routes by which the coordinator describes itself, by their only path segment. */
const SELF_DESCRIPTIONS: ReadonlyMap<string, RouteClass> = new Map([
  ['health', 'health'],
  ['capabilities', 'capabilities'],
  ['openapi.json', 'openapi'],
]);

/** A route about the coordinator or its registered workspaces, which does not exist under a `/w/:ws` prefix; else undefined. */
function ownRoute(cut: Cut): RoutedRequest | undefined {
  const [first] = cut.raw;
  if (first === 'admin') return routed(cut, 'admin', { by: 'primary' });
  const described =
    cut.raw.length === 1 && cut.method === 'GET' ? SELF_DESCRIPTIONS.get(first ?? '') : undefined;
  if (described !== undefined) return routed(cut, described, { by: 'primary' });
  if (first !== 'workspaces') return undefined;
  if (cut.raw.length === 1 && cut.method === 'POST') return routed(cut, 'workspace_add', { by: 'primary' });
  if (cut.raw.length === 2 && cut.method === 'DELETE')
    return routed(cut, 'workspace_remove', selector(cut, 1, false));
  return undefined;
}

function commonRoute(cut: Cut): Routing {
  switch (cut.raw[0]) {
    case 'workspaces':
    case 'workspace':
      return qualifiedRoute(cut);
    case 'session':
      return sessionRoute(cut);
    case 'permission':
      return permissionRoute(cut);
    case 'sessions':
      return sessionsRoute(cut);
    default:
      return 'unknown';
  }
}

/** The class of every route in `ROUTE_CLASSES`, by `METHOD /path`. */
const NAMED: ReadonlyMap<string, RouteClass> = new Map(
  Object.entries(ROUTE_CLASSES).flatMap(([name, { routes }]) =>
    routes.map((pattern) => [pattern, name as RouteClass] as const),
  ),
);

/** A route below `/workspaces/:ws`, or below the older `/workspace/:ws`, whose refusals carry no code. */
function qualifiedRoute(cut: Cut): Routing {
  const [first, , ...rest] = cut.raw;
  const named = rest[0] === 'session' && rest.length > 1 ? rest.with(1, ':id') : rest;
  const found = NAMED.get(`${cut.method} /${first}/:ws/${named.join('/')}`);
  return found === undefined ? 'unknown' : routed(cut, found, selector(cut, 1, first === 'workspace'));
}

/**
 * A route below `/session`. A path below `/session/:id` that no class names gets the class `session`: the session's daemon
 * answers if it runs, and is not started.
 */
function sessionRoute(cut: Cut): Routing {
  const [, sessionId] = cut.text;
  if (sessionId === undefined)
    return cut.method === 'POST' ? routed(cut, 'session_create', fallback(cut)) : 'unknown';
  const action = cut.raw.slice(2).join('/');
  const found = NAMED.get(`${cut.method} /session/:id${action === '' ? '' : `/${action}`}`);
  const relay = cut.method === 'GET' && action === 'events' ? 'events' : 'plain';
  return routed(cut, found ?? 'session', { by: 'session', sessionId }, relay);
}

/** A route below `/sessions`, about sessions of several workspaces at once. */
function sessionsRoute(cut: Cut): Routing {
  const found = NAMED.get(`${cut.method} /${cut.raw.join('/')}`);
  return found === undefined ? 'unknown' : routed(cut, found, fallback(cut));
}

function permissionRoute(cut: Cut): Routing {
  const [, requestId] = cut.text;
  if (requestId === undefined || cut.raw.length !== 2 || cut.method !== 'POST') return 'unknown';
  const workspaceId = /^([0-9a-f]{16})\./.exec(requestId)?.[1];
  return routed(cut, 'permission', { by: 'request', requestId, workspaceId });
}

function selector(cut: Cut, at: number, isSingular: boolean): Selection {
  return { by: 'selector', text: cut.text[at] ?? '', isSingular };
}

/** The selection of a route that names no workspace: by the `/w/:ws` prefix, else by the header, else the primary workspace. */
function fallback(cut: Cut): Selection {
  const text = cut.within ?? cut.preferred;
  return text === undefined ? { by: 'primary' } : { by: 'selector', text, isSingular: false };
}

function routed(cut: Cut, routeClass: RouteClass, select: Selection, relay: Relay = 'plain'): RoutedRequest {
  return { class: routeClass, select, within: cut.within, path: cut.path, relay };
}
