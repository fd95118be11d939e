import { expect, test } from '@jest/globals';
import { EventStreams } from '../../../coordinator/http/event-streams.ts';
import { silentLog } from '../../support/fleet-fixture.ts';

test('the streams of one workspace end without those of another; a stream that has ended is not ended again', () => {
  const streams = new EventStreams(silentLog);
  const ended: string[] = [];
  const open = (name: string, workspaceId: string) => {
    const stream = {
      endPlainly() {
        streams.remove(stream);
        ended.push(name);
      },
    };
    streams.add(stream, workspaceId);
    return stream;
  };
  open('a1', 'a');
  open('b1', 'b');
  streams.remove(open('a2', 'a'));
  expect(streams.endAll('its daemon is stopping', 'a')).toBe(1);
  expect(ended).toEqual(['a1']);
  expect(streams.endAll('the coordinator is stopping')).toBe(1);
  expect(ended).toEqual(['a1', 'b1']);
  expect(streams.endAll('again')).toBe(0);
});
