import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { ROUTE_CLASSES, type RouteClass } from '../../../coordinator/domain/route-classes.ts';
import { type RoutedRequest, routeOf } from '../../../coordinator/domain/routing.ts';

function route(method: string, url: string, preferred?: string): RoutedRequest {
  const found = routeOf(method, url, preferred);
  if (typeof found === 'string') throw new Error(`${method} ${url} is ${found}`);
  return found;
}

describe('the table of routes', () => {
  test.each<[string, string, RouteClass]>([
    ['GET', '/health', 'health'],
    ['GET', '/health?deep=1', 'health'],
    ['GET', '/health/', 'health'],
    ['HEAD', '/health', 'health'],
    ['GET', '/capabilities', 'capabilities'],
    ['GET', '/openapi.json', 'openapi'],
    ['POST', '/session', 'session_create'],
    ['POST', '/session/', 'session_create'],
    ['POST', '/workspaces', 'workspace_add'],
    ['DELETE', '/workspaces/0123456789abcdef', 'workspace_remove'],
    ['GET', '/admin/diagnostics', 'admin'],
    ['POST', '/admin/stop', 'admin'],
    ['GET', '/workspace/%2Fa/sessions', 'session_list'],
    ['GET', '/workspaces/%2Fa/sessions', 'session_list'],
    ['GET', '/workspaces/%2Fa/sessions/live-state', 'session_live_state'],
    ['GET', '/workspaces/%2Fa/sessions/search?q=x', 'workspace_qualified'],
    ['GET', '/workspace/%2Fa/sessions/search?q=x', 'workspace_qualified'],
    ['GET', '/workspace/%2Fa/session-info', 'workspace_qualified'],
    ['GET', '/workspaces/%2Fa/session/s%2F1/export?format=md', 'workspace_qualified'],
    ['PATCH', '/workspaces/%2Fa/session/s1/metadata', 'workspace_qualified'],
    ['POST', '/workspaces/%2Fa/sessions/archive', 'workspace_qualified'],
    ['DELETE', '/session/s1', 'session_close'],
    ['POST', '/session/s1/prompt', 'session_prompt'],
    ['POST', '/session/s1/load', 'session_load'],
    ['POST', '/session/s1/model', 'session_gesture'],
    ['GET', '/session/s1/status', 'session_status'],
    ['POST', '/session/s1/cancel', 'session_leave'],
    ['GET', '/session/s1/transcript', 'session_history'],
    ['GET', '/session/s1/events', 'session'],
    ['POST', '/session/s1/heartbeat', 'session'],
    ['GET', '/session/s1/permission/r1', 'session'],
    ['POST', '/permission/r1', 'permission'],
    ['POST', '/session/s1/generate', 'session'],
    ['GET', '/session/s1/rewind/snapshots', 'session'],
    ['POST', '/sessions/delete', 'session_batch'],
    ['POST', '/w/0123456789abcdef/sessions/archive', 'session_batch'],
    ['POST', '/sessions/catalog', 'session_catalog'],
    ['GET', '/w/0123456789abcdef/health', 'health'],
    ['GET', '/w/0123456789abcdef/capabilities', 'workspace_qualified'],
    ['GET', '/w/0123456789abcdef/openapi.json', 'openapi'],
    ['POST', '/w/0123456789abcdef/session', 'session_create'],
    ['GET', '/w/0123456789abcdef/workspaces/%2Fa/session-info', 'workspace_qualified'],
  ])('%s %s is of class %s', (method, url, expected) => {
    expect(route(method, url).class).toBe(expected);
  });

  test.each([
    ['GET', '/'],
    ['GET', '/session'],
    ['GET', '/workspaces'],
    ['PATCH', '/workspaces/0123456789abcdef'],
    ['GET', '/permission/r1'],
    ['GET', '/file?path=a'],
    ['GET', '/file/bytes'],
    ['GET', '/stat'],
    ['GET', '/list'],
    ['GET', '/glob'],
    ['GET', '/workspace/tools'],
    ['POST', '/workspace/generate'],
    ['GET', '/workspaces/%2Fa/file'],
    ['GET', '/workspaces/%2Fa/session/s1'],
    ['GET', '/workspaces/%2Fa/session/s1/events'],
    ['DELETE', '/workspaces/%2Fa/sessions'],
    ['GET', '/workspaces/%2Fa/:ws'],
    ['POST', '/sessions/other'],
    ['GET', '/sessions/archive'],
    ['POST', '/sessions/archive/s1'],
    ['GET', '/w/0123456789abcdef/workspace/tools'],
    ['GET', '/control/feed'],
    ['GET', '//control/feed'],
    ['GET', '/w/0123456789abcdef/control/feed'],
    ['GET', '/w/0123456789abcdef/admin/diagnostics'],
    ['POST', '/w/0123456789abcdef/workspaces'],
    ['GET', '/w/0123456789abcdef/w/0123456789abcdef/health'],
    ['GET', '/w'],
    ['GET', '/%68ealth'],
    ['GET', '/HEALTH'],
  ])('%s %s is no route', (method, url) => {
    expect(routeOf(method, url, undefined)).toBe('unknown');
  });

  test.each([
    '/session/%zz/status',
    '/workspaces/%E0%A4%A/sessions',
    '/w/%/session',
    'http://host/health',
    '*',
    '',
  ])('the target "%s" is malformed', (url) => {
    expect(routeOf('GET', url, undefined)).toBe('malformed');
  });

  test('a malformed workspace header is malformed as well', () => {
    expect(routeOf('POST', '/session', '%zz')).toBe('malformed');
  });

  test('only classes that act for a client wake a daemon', () => {
    const waking = Object.entries(ROUTE_CLASSES).filter(
      ([, spec]) => 'whenStopped' in spec && spec.whenStopped === 'wake',
    );
    expect(waking.map(([name]) => name).sort()).toEqual([
      'session_batch',
      'session_create',
      'session_gesture',
      'session_history',
      'session_load',
      'session_prompt',
      'workspace_qualified',
    ]);
  });

  test('every pattern that the table prints is routed to its class', () => {
    for (const [name, spec] of Object.entries(ROUTE_CLASSES))
      for (const printed of spec.routes) {
        const [method = '', pattern = ''] = printed.split(' ');
        const url = pattern.replace(':ws', '%2Fa').replace(/:\w+/, 'x1').replace('*', 'some');
        // What wakes a daemon is named in full.
        if ('whenStopped' in spec && spec.whenStopped === 'wake') expect(printed).not.toContain('*');
        expect([printed, route(method === '*' ? 'PUT' : method, url).class]).toEqual([printed, name]);
      }
  });
});

describe('what a route selects', () => {
  test('a session route is selected by its id alone, whatever the header says', () => {
    expect(route('GET', '/session/a%2Fb/status', '0123456789abcdef').select).toEqual({
      by: 'session',
      sessionId: 'a/b',
    });
  });

  test('a permission question names the workspace of the daemon that minted it', () => {
    const minted = '0123456789abcdef.5f2b6c1e-8a53-4d43-9b8e-6c3d9a2f1b10';
    expect(route('POST', `/permission/${minted}`).select).toEqual({
      by: 'request',
      requestId: minted,
      workspaceId: '0123456789abcdef',
    });
    expect(route('POST', '/permission/5f2b6c1e').select).toMatchObject({ workspaceId: undefined });
  });

  test('a route that names no workspace goes by prefix, then header, then to the primary', () => {
    expect(route('POST', '/session').select).toEqual({ by: 'primary' });
    expect(route('POST', '/session', '%2Fh').select).toMatchObject({ by: 'selector', text: '/h' });
    expect(route('POST', '/w/%2Fp/session', '%2Fh').select).toMatchObject({ by: 'selector', text: '/p' });
    expect(route('POST', '/sessions/delete', '%2Fh').select).toMatchObject({ by: 'selector', text: '/h' });
  });

  test('a prefix is stripped from the path and fences what is selected explicitly', () => {
    const qualified = route('GET', '/w/%2Fp/workspaces/%2Fq/sessions?cursor=%2F');
    expect(qualified).toMatchObject({
      path: '/workspaces/%2Fq/sessions?cursor=%2F',
      within: '/p',
      select: { by: 'selector', text: '/q' },
    });
    expect(route('GET', '/w/%2Fp/session/s1/status')).toMatchObject({
      path: '/session/s1/status',
      within: '/p',
      select: { by: 'session', sessionId: 's1' },
    });
  });

  test.each<[string, string, RoutedRequest['relay']]>([
    ['GET', '/session/s1/events?maxQueued=16', 'events'],
    ['POST', '/session/s1/events', 'plain'],
    ['GET', '/session/events', 'plain'],
    ['GET', '/w/%2Fp/session/s1/events', 'events'],
  ])('%s %s is relayed as %s', (method, url, relay) => {
    expect(route(method, url).relay).toBe(relay);
  });
});

describe('percent-encoding', () => {
  const text = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 40 });

  test('any selector survives the trip through a path segment', () => {
    fc.assert(
      fc.property(text, (selector) => {
        const url = `/workspaces/${encodeURIComponent(selector)}/sessions`;
        expect(route('GET', url).select).toMatchObject({ by: 'selector', text: selector });
      }),
    );
  });

  test('no segment is decoded twice', () => {
    fc.assert(
      fc.property(text, (id) => {
        const once = encodeURIComponent(id);
        const found = route('GET', `/session/${encodeURIComponent(once)}/status`);
        expect(found.select).toEqual({ by: 'session', sessionId: once });
      }),
    );
  });

  test('the path for the daemon is the text that was sent, less the prefix', () => {
    fc.assert(
      fc.property(text, text, (workspace, rest) => {
        const tail = `/session/${encodeURIComponent(rest)}/status?q=${encodeURIComponent(rest)}`;
        expect(route('GET', tail).path).toBe(tail);
        expect(route('GET', `/w/${encodeURIComponent(workspace)}${tail}`).path).toBe(tail);
      }),
    );
  });

  test('any request target gets a verdict, none throws', () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 60 }), (tail) => {
        expect(['string', 'object']).toContain(typeof routeOf('GET', `/${tail}`, undefined));
      }),
    );
  });
});
