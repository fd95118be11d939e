import { describe, expect, test } from '@jest/globals';
import { type AccessPolicy, checkOrigin, isHealthExempt } from '../../../daemon/contract/access.ts';
import { REQUEST_ID_HEADER } from '../../../daemon/contract/control.ts';
import {
  CLIENT_ID_HEADER,
  EPOCH_HEADER,
  STREAM_ID_HEADER,
  WORKSPACE_HEADER,
} from '../../../daemon/contract/wire.ts';

const POLICY: AccessPolicy = {
  listener: 'tcp',
  boundHost: '127.0.0.1',
  port: 4170,
  token: 'right',
  requireAuth: false,
  allowedOrigins: ['https://app.example'],
};

describe('a page of an allowed origin', () => {
  const { corsHeaders } = checkOrigin(POLICY, 'https://app.example');
  const listed = (name: string) => (corsHeaders[name] ?? '').toLowerCase().split(', ');

  test.each([CLIENT_ID_HEADER, EPOCH_HEADER, WORKSPACE_HEADER, REQUEST_ID_HEADER])('may send %s', (name) => {
    expect(listed('Access-Control-Allow-Headers')).toContain(name);
  });

  test.each([
    EPOCH_HEADER,
    STREAM_ID_HEADER,
    REQUEST_ID_HEADER,
    'retry-after',
    'x-ratelimit-limit',
    'x-ratelimit-remaining',
    'x-ratelimit-reset',
  ])('may read %s', (name) => {
    expect(listed('Access-Control-Expose-Headers')).toContain(name);
  });
});

describe('/health without a bearer', () => {
  test.each([
    ['GET', '/health'],
    ['HEAD', '/health'],
    ['GET', '/health/'],
    ['GET', '/health?deep=1'],
    ['GET', '/health/?deep=1'],
  ])('passes in each form that its route answers: %s %s', (method, url) => {
    expect(isHealthExempt(POLICY, { method, url })).toBe(true);
    expect(isHealthExempt({ ...POLICY, requireAuth: true }, { method, url })).toBe(false);
    expect(isHealthExempt({ ...POLICY, boundHost: '0.0.0.0' }, { method, url })).toBe(false);
  });

  test.each([
    ['POST', '/health'],
    ['GET', '/healthy'],
    ['GET', '/health//'],
    ['GET', '/health/x'],
    ['GET', '//health'],
    ['GET', '/'],
  ])('passes in no other: %s %s', (method, url) => {
    expect(isHealthExempt(POLICY, { method, url })).toBe(false);
  });
});
