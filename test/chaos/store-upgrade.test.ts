// The next release finds the database and the daemons of the one before launch handles, whose coordinator was killed.
import { existsSync, statSync, symlinkSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from '@jest/globals';
import { openSqlite } from '../../coordinator/store/driver.ts';
import { runCommand } from '../support/command-line.ts';
import { toSchema5 } from '../support/earlier-schema.ts';
import { eventually } from '../support/eventually.ts';
import { coordinatorProcess, endFleets, type Server, startCoordinator } from '../support/fleet-process.ts';
import { Scratch } from '../support/scratch.ts';
import { SmallDisk, whyNoSmallDisk } from '../support/small-disk.ts';
import { streamFrom } from '../support/sse-stream.ts';
import { rowsOf } from '../support/state-database.ts';
import { call, newSession, sendPrompt } from '../support/wire-client.ts';

const closers: (() => void)[] = [];
afterEach(endFleets);
afterEach(() => {
  for (const close of closers.splice(0)) close();
});

const databaseOf = (server: Server) => join(server.stateDir, 'coordinator.db');
const copyOf = (server: Server) => `${databaseOf(server)}.before-v6`;

/** A daemon with a session, whose coordinator was killed and had schema 5. */
async function earlierRelease(scratch?: Scratch) {
  const server = await startCoordinator(scratch === undefined ? { workspaces: 1 } : { scratch });
  const session = await newSession(server.baseUrl, server.workspace);
  const [before] = await server.diagnostics();
  await server.kill();
  toSchema5(databaseOf(server));
  return { server, session, before };
}

async function expectServing(
  server: Server,
  { sessionId, clientId }: { sessionId: string; clientId: string },
) {
  await eventually('the session', async () => {
    const answer = await call(server.baseUrl, 'GET', `/session/${sessionId}/status`);
    return answer.status === 200;
  });
  const admission = await sendPrompt(server.baseUrl, sessionId, 'N:3', clientId);
  const stream = await streamFrom(server.baseUrl, sessionId, admission);
  expect((await stream.settled(admission.promptId)).data).toMatchObject({ stopReason: 'end_turn' });
}

test('its daemon is taken over with its session, and the database was copied before', async () => {
  const { server, session, before } = await earlierRelease();
  const doctor = await runCommand(server.scratch, ['doctor', '--state-dir', server.stateDir]);
  expect(doctor.stdout).toMatch(new RegExp(`1 run without a coordinator \\(pids ${before?.pid}\\)`));
  const next = await startCoordinator({ scratch: server.scratch });
  await expectServing(next, session);
  const [after] = await next.diagnostics();
  expect(after).toMatchObject({ pid: before?.pid, incarnation: before?.incarnation, starts: 1 });
  expect(rowsOf(server.stateDir, 'PRAGMA user_version')).toEqual([{ user_version: 6 }]);
  expect(statSync(copyOf(server)).mode & 0o777).toBe(0o600);
  const earlier = openSqlite(copyOf(server), { readonly: true });
  closers.push(() => earlier.close());
  expect(earlier.prepare(`SELECT pid FROM daemons WHERE state = 'ready'`).pluck().get()).toBe(before?.pid);
});

test('its daemon is ended by a sweep', async () => {
  const { server, before } = await earlierRelease();
  const swept = await runCommand(server.scratch, ['sweep', '--state-dir', server.stateDir]);
  expect(`${swept.stderr}${swept.stdout}`).toContain(`ended: ${before?.incarnation}`);
  expect(server.scratch.processes()).toEqual([]);
});

const whyNot = whyNoSmallDisk();
const describeDisk = whyNot === undefined ? describe : describe.skip;
describeDisk(
  `on a disk without room for the copy${whyNot === undefined ? '' : ` (skipped: ${whyNot})`}`,
  () => {
    test('the start is refused with what to do, and goes on where it was once there is room', async () => {
      const disk = new SmallDisk(8);
      closers.push(() => disk.remove());
      const scratch = new Scratch(1);
      symlinkSync(disk.path, scratch.stateDir);
      const { server, session, before } = await earlierRelease(scratch);
      disk.fill();
      const filler = join(disk.path, 'filler');
      // Enough for lock and notes, not for the copy.
      truncateSync(filler, statSync(filler).size - 64 * 1024);
      const refused = coordinatorProcess({ scratch });
      expect(await refused.ended()).toMatchObject({ code: 2 });
      expect(refused.stderr).toMatch(
        /needs schema version 6, and could not be copied to .*before-v6.*bytes free/,
      );
      expect(existsSync(copyOf(server))).toBe(false);
      expect(rowsOf(server.stateDir, 'PRAGMA user_version')).toEqual([{ user_version: 5 }]);
      disk.free();
      const next = await startCoordinator({ scratch });
      await expectServing(next, session);
      expect(await next.diagnostics()).toMatchObject([{ pid: before?.pid }]);
    });
  },
);
