// Every row of the route-class table against a listener: what becomes of a request while nobody has what it asks for is what
// the row says.
import { afterEach, describe, expect, test } from '@jest/globals';
import {
  ROUTE_CLASSES,
  type RouteClass,
  type WhenStopped,
} from '../../../coordinator/domain/route-classes.ts';
import { routeOf } from '../../../coordinator/domain/routing.ts';
import type { SessionRow } from '../../../coordinator/store/store.ts';
import { Closers, send } from './fake-daemon.ts';
import { type Stage, stage } from './listener-kit.ts';

const closers = new Closers();
afterEach(() => closers.run());

interface Spec {
  readonly whenStopped?: WhenStopped;
  readonly answeredBy: 'coordinator' | 'daemon' | 'either';
  readonly isWork?: true;
}

interface Row {
  /** `<method> <pattern>` as the table has it, `*` replaced by a method. */
  readonly route: string;
  readonly class: RouteClass;
  readonly spec: Spec;
}

const ROWS: readonly Row[] = Object.entries(ROUTE_CLASSES).flatMap(([name, spec]) =>
  spec.routes.flatMap((route) =>
    // The admin plane has a router of its own, of which one read stands for all.
    (route.startsWith('* ') ? (name === 'admin' ? ['GET'] : ['GET', 'POST']) : ['']).map((method) => ({
      route: method === '' ? route : route.replace('*', method),
      class: name as RouteClass,
      spec,
    })),
  ),
);
const named = (rows: readonly Row[]) => rows.map((row) => [row.route, row] as const);

const isOfSession = ({ route }: Row) => route.includes('/session/:id');
/** Reads of what is on disk need the daemon and not the session. */
const needsSession = (row: Row) =>
  isOfSession(row) && !['session_history', 'workspace_qualified'].includes(row.class);

const ROW = {
  sessionId: 's-1',
  state: 'dormant',
  createdAtMs: 1,
  lastSeenAtMs: 2,
} as SessionRow;

interface World extends Stage {
  /** Paths that the daemon was asked for. */
  readonly reached: string[];
  readonly awaitedIds: string[];
}

/** The session `s-1` of workspace `b`, whose daemon does not run. */
async function world(state: 'dormant' | 'restoring'): Promise<World> {
  const reached: string[] = [];
  const awaitedIds: string[] = [];
  const on = await stage(closers, (req, res) => {
    reached.push(req.url ?? '');
    res.end(JSON.stringify({ sessionId: 's-1', clientId: 'c-1' }));
  });
  on.index.set('s-1', on.b.id);
  on.rows.set('s-1', { ...ROW, workspaceId: on.b.id });
  on.withoutDaemon.set('s-1', state);
  on.awaited = (sessionId) => {
    awaitedIds.push(sessionId);
    on.withoutDaemon.delete(sessionId);
    return Promise.resolve();
  };
  return Object.assign(on, { reached, awaitedIds });
}

/** What those routes want to be told that read their body before anything else. */
function bodyOf(row: Row, { b, dir }: Stage): object {
  switch (row.class) {
    case 'session_create':
      return { cwd: b.path };
    case 'session_batch':
      return { sessionIds: ['s-1'] };
    case 'session_catalog':
      return { workspaces: [{ workspace: b.path }] };
    case 'workspace_add':
      return { cwd: `${dir}/new` };
    case 'workspace_remove':
      return { force: true };
    default:
      return {};
  }
}

function pathOf({ route }: Row, { b }: Stage): string {
  const [, pattern = ''] = route.split(' ');
  return pattern
    .replace(':ws', b.id)
    .replace(':id', 's-1')
    .replace(':requestId', `${b.id}.q-1`)
    .replace(':promptId', 'p-1')
    .replace('*', pattern.startsWith('/admin') ? 'diagnostics' : 'anything');
}

/** The path as the daemon is asked for it. */
const inDaemon = (row: Row, on: Stage) => pathOf(row, on).replace(`/w/${on.b.id}`, '');

/** Sends the row's request, to workspace `b` where nothing else says so. */
function ask(row: Row, on: Stage) {
  const [method = ''] = row.route.split(' ');
  const select = { 'x-qwen-workspace': on.b.id };
  if (method === 'GET') return send(on.port, pathOf(row, on), { headers: select });
  const body = JSON.stringify(bodyOf(row, on));
  // Said, because Node frames no body of a DELETE by itself.
  const framing = { 'content-type': 'application/json', 'content-length': String(Buffer.byteLength(body)) };
  return send(on.port, pathOf(row, on), { method, headers: { ...select, ...framing }, body });
}

/** What the row promises: the status, who was woken, and whether the daemon answered. */
function promised(row: Row, on: World) {
  const nobody = { woken: [], wokenSessions: [], reached: [] };
  switch (row.spec.whenStopped) {
    case 'wake':
      return {
        status: 200,
        woken: [on.b.id],
        wokenSessions: needsSession(row) ? ['s-1'] : [],
        reached: [inDaemon(row, on)],
      };
    case 'store':
      return { ...nobody, status: 200 };
    case '204':
      return { ...nobody, status: 204 };
    case '404':
      return { ...nobody, status: 404 };
    default:
      return { ...nobody, status: row.class === 'workspace_add' ? 201 : 200 };
  }
}

describe('while the daemon is stopped and the session sleeps', () => {
  test.each(named(ROWS))('%s', async (_route, row) => {
    const on = await world('dormant');
    expect(routeOf(row.route.split(' ')[0] ?? '', pathOf(row, on), undefined)).toMatchObject({
      class: row.class,
    });
    const { status, body } = await ask(row, on);
    const { woken, wokenSessions, reached } = on;
    expect({ status, woken: [...new Set(woken)], wokenSessions, reached }).toEqual(promised(row, on));
    expect(on.closedWithoutDaemon).toEqual(row.class === 'session_close' ? ['s-1'] : []);
    if (row.spec.whenStopped === '404' && isOfSession(row))
      expect(JSON.parse(body)).toMatchObject({ code: 'session_not_found', dormant: true });
  });
});

describe('while the session comes back by itself', () => {
  test.each(named(ROWS.filter(needsSession)))('%s', async (_route, row) => {
    const on = await world('restoring');
    const { status } = await ask(row, on);
    const { whenStopped } = row.spec;
    expect({ wokenSessions: on.wokenSessions, awaited: on.awaitedIds, reached: on.reached.length }).toEqual({
      wokenSessions: whenStopped === 'wake' ? ['s-1'] : [],
      awaited: whenStopped === 'store' || whenStopped === '404' ? ['s-1'] : [],
      reached: whenStopped === '204' ? 0 : 1,
    });
    expect(status).toBe(whenStopped === '204' ? 204 : 200);
  });
});

describe('while the workspace is drained', () => {
  test.each(named(ROWS))('%s', async (_route, row) => {
    const on = await world('dormant');
    on.drainReasonOf = () => 'maintenance';
    const { status, body } = await ask(row, on);
    if (row.spec.isWork === undefined) {
      expect(status).toBe(promised(row, on).status);
      return;
    }
    expect([status, JSON.parse(body)]).toEqual([
      503,
      expect.objectContaining({ code: 'workspace_draining' }),
    ]);
    expect([on.woken, on.wokenSessions, on.reached]).toEqual([[], [], []]);
  });
});

describe('while the daemon runs and has the session', () => {
  const answeredByDaemon = ROWS.filter(({ spec }) => spec.answeredBy !== 'coordinator');
  test.each(named(answeredByDaemon))('%s goes to it', async (_route, row) => {
    const on = await world('dormant');
    on.withoutDaemon.clear();
    on.ready.set(on.b.id, { ...on.daemon.endpoint, workspaceId: on.b.id, incarnation: `${on.b.id}-1` });
    expect((await ask(row, on)).status).toBe(200);
    expect(on.reached).toEqual([inDaemon(row, on)]);
    expect(on.wokenSessions).toEqual([]);
  });
});
