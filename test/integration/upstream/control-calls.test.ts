import { expect, test } from '@jest/globals';
import { restoreOn } from '../../../coordinator/upstream/control-calls.ts';
import type { RestoreRequest } from '../../../daemon/contract/control.ts';

const ENDPOINT = {
  workspaceId: 'w',
  incarnation: 'w-1',
  address: { kind: 'unix', path: '/s' } as const,
  secret: 'x',
};
const REQUEST: RestoreRequest = {
  sessionId: 's',
  idFloor: 0,
  clients: [],
  isDefault: false,
  createdAtMs: 0,
  lostPrompts: [],
};

const answering = (status: number, headers: Record<string, string>, body: object) => ({
  call: () => Promise.resolve({ status, headers, rawHeaders: [], body: Buffer.from(JSON.stringify(body)) }),
});

test('a daemon’s refusal keeps its status, code, context and Retry-After', async () => {
  const body = { error: 'too many', code: 'session_limit_exceeded', limit: 2 };
  const client = answering(503, { 'retry-after': '7' }, body);
  await expect(restoreOn(client, ENDPOINT, REQUEST, AbortSignal.timeout(1000))).rejects.toMatchObject({
    status: 503,
    code: 'session_limit_exceeded',
    message: 'too many',
    context: { limit: 2 },
    retryAfterS: 7,
  });
});

test('a refusal without Retry-After leaves the hint to the table', async () => {
  const client = answering(409, {}, { error: 'busy', code: 'restore_in_progress' });
  await expect(restoreOn(client, ENDPOINT, REQUEST, AbortSignal.timeout(1000))).rejects.toMatchObject({
    status: 409,
    retryAfterS: undefined,
  });
});
