// Where a request goes, from its method, its raw URL and one header: pure, no look-ups. A path is split as it came;
// only what selects a workspace or a session is percent-decoded, and that exactly once.
import { ROUTE_CLASSES, type RouteClass } from './route-classes.ts';

export type Selection =
  /** A workspace id or an absolute path; `isSingular` for the route whose refusals carry no code. */
  | { readonly by: 'selector'; readonly text: string; readonly isSingular: boolean }
  | { readonly by: 'session'; readonly sessionId: string }
  /** The daemon that minted the permission question; `workspaceId` only in ids of daemons under a coordinator. */
  | { readonly by: 'request'; readonly requestId: string; readonly workspaceId: string | undefined }
  | { readonly by: 'primary' };

/** How an answer is relayed: whole, as a session's event stream, or as a generation stream. */
export type Relay = 'plain' | 'events' | 'stream';

export interface Route {
  readonly class: RouteClass;
  readonly select: Selection;
  /** Selector of a `/w/:ws` prefix: whatever is selected must be that workspace. */
  readonly within: string | undefined;
  /** Path and query as they came, less a `/w/:ws` prefix. */
  readonly path: string;
  readonly relay: Relay;
}

/** `malformed`: broken percent-encoding or no origin-form target. `unknown`: no route. */
export type Routing = Route | 'malformed' | 'unknown';

/** A request's path, cut once: `raw` segments as they came, `text` percent-decoded once. */
interface Cut {
  readonly method: string;
  readonly path: string;
  readonly raw: readonly string[];
  readonly text: readonly string[];
  readonly within: string | undefined;
  readonly preferred: string | undefined;
}

/**
 * The route of a request.
 * @param rawUrl the request target as it was on the wire.
 * @param preferred the `X-Qwen-Workspace` header, percent-encoded like a path segment; counts where nothing else selects.
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

/** One trailing slash means nothing, as in the reference server; an empty segment elsewhere is kept and matches nothing. */
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

/** What the coordinator says of itself, by its one path segment. */
const SELF_DESCRIPTIONS: ReadonlyMap<string, RouteClass> = new Map([
  ['health', 'health'],
  ['capabilities', 'capabilities'],
  ['openapi.json', 'openapi'],
]);

/** Routes about the fleet itself; none of them exists under a `/w/:ws` prefix. */
function ownRoute(cut: Cut): Route | undefined {
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
      return qualifiedRoute(cut);
    case 'workspace':
      return workspaceRoute(cut);
    case 'session':
      return sessionRoute(cut);
    case 'permission':
      return permissionRoute(cut);
    case 'file':
      return routed(cut, 'workspace', fallback(cut));
    case 'stat':
    case 'list':
    case 'glob':
      return cut.raw.length === 1 ? routed(cut, 'workspace', fallback(cut)) : 'unknown';
    case 'sessions':
      return cut.raw.length > 1 ? routed(cut, batchClass(cut), fallback(cut)) : 'unknown';
    default:
      return 'unknown';
  }
}

function qualifiedRoute(cut: Cut): Routing {
  if (cut.raw.length < 3) return 'unknown';
  const read = cut.method === 'GET' ? cut.raw.slice(2).join('/') : '';
  return routed(cut, QUALIFIED_READS.get(read) ?? 'workspace_qualified', selector(cut, 1, false));
}

/** Reads below `/workspaces/:ws` that are in a class of their own, by the rest of their path. */
const QUALIFIED_READS: ReadonlyMap<string, RouteClass> = new Map([
  ['sessions', 'session_list'],
  ['sessions/live-state', 'session_live_state'],
]);

/** Reads below `/workspace/:ws` that name a workspace; whatever else is there is of the fallback's. */
const SINGULAR_READS: ReadonlyMap<string, RouteClass> = new Map([
  ['sessions', 'session_list'],
  ['sessions/search', 'workspace_qualified'],
  ['session-info', 'workspace_qualified'],
]);

function workspaceRoute(cut: Cut): Routing {
  if (cut.raw.length < 2) return 'unknown';
  const read = cut.method === 'GET' ? SINGULAR_READS.get(cut.raw.slice(2).join('/')) : undefined;
  if (read !== undefined) return routed(cut, read, selector(cut, 1, true));
  const isGeneration = cut.method === 'POST' && cut.raw.length === 2 && cut.raw[1] === 'generate';
  return routed(cut, 'workspace', fallback(cut), isGeneration ? 'stream' : 'plain');
}

function sessionRoute(cut: Cut): Routing {
  const [, sessionId] = cut.text;
  if (sessionId === undefined)
    return cut.method === 'POST' ? routed(cut, 'session_create', fallback(cut)) : 'unknown';
  const action = cut.raw.length <= 3 ? `${cut.method} ${cut.raw[2] ?? ''}` : '';
  const relay = action === 'GET events' ? 'events' : action === 'POST generate' ? 'stream' : 'plain';
  return routed(cut, SESSION_ACTIONS.get(action) ?? 'session', { by: 'session', sessionId }, relay);
}

/** `METHOD action` -> class, read off the table's patterns; an action that is in none of them is `session`. */
const SESSION_ACTIONS: ReadonlyMap<string, RouteClass> = new Map(
  Object.entries(ROUTE_CLASSES).flatMap(([name, { routes }]) =>
    routes.flatMap((pattern) => {
      const match = /^([A-Z]+) \/session\/:id(?:\/([\w-]+))?$/.exec(pattern);
      return match === null ? [] : [[`${match[1]} ${match[2] ?? ''}`, name as RouteClass] as const];
    }),
  ),
);

function batchClass(cut: Cut): RouteClass {
  const action = cut.method === 'POST' && cut.raw.length === 2 ? cut.raw[1] : undefined;
  if (action === 'catalog') return 'session_catalog';
  const isBatch = action === 'archive' || action === 'unarchive' || action === 'delete';
  return isBatch ? 'session_batch' : 'workspace';
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

/** The workspace of a route that names none: the prefix's, the header's, the primary one. */
function fallback(cut: Cut): Selection {
  const text = cut.within ?? cut.preferred;
  return text === undefined ? { by: 'primary' } : { by: 'selector', text, isSingular: false };
}

function routed(cut: Cut, routeClass: RouteClass, select: Selection, relay: Relay = 'plain'): Route {
  return { class: routeClass, select, within: cut.within, path: cut.path, relay };
}
