import { describe, expect, test } from '@jest/globals';
import { bearerOf, type Reach, reachFrom, storedReach } from '../../../coordinator/upstream/address.ts';

const tls = { ca: 'PEM of the authority', own: { cert: 'PEM', key: 'PEM of a private key' } };

describe('an address in the store', () => {
  test.each<Reach>([
    { address: { kind: 'unix', path: '/run/a.sock' }, secret: 'only-between-us' },
    { address: { kind: 'tcp', host: 'node-7', port: 8443 }, secret: 'only-between-us' },
    { address: { kind: 'tcp', host: 'node-7', port: 8443, tls }, secret: 'only-between-us' },
  ])('comes back as it was: %j', (reach) => {
    expect(reachFrom(storedReach(reach))).toEqual(reach);
    expect(bearerOf(storedReach(reach).secret)).toBe(reach.secret);
  });

  test('carries no credential: all of them are in the column that backups blank', () => {
    const { address, secret } = storedReach({
      address: { kind: 'tcp', host: 'node-7', port: 8443, tls },
      secret: 'only-between-us',
    });
    expect(address).toBe('{"kind":"tcp","host":"node-7","port":8443,"tls":true}');
    for (const credential of ['only-between-us', tls.ca, tls.own.key]) expect(secret).toContain(credential);
  });

  test('is refused by name where it is of a kind that is not known, or has lost its TLS material', () => {
    expect(() => reachFrom({ address: '{"kind":"vsock","cid":3}', secret: 's' })).toThrow(
      'the stored address {"kind":"vsock","cid":3} is none that this release knows',
    );
    expect(() => reachFrom({ address: '/run/a.sock', secret: 's' })).toThrow('cannot be read');
    expect(() => reachFrom({ address: 'null', secret: 's' })).toThrow(
      'the stored address "null" cannot be read',
    );
    expect(() =>
      reachFrom({ address: '{"kind":"tcp","host":"h","port":1,"tls":true}', secret: 'blank' }),
    ).toThrow('the TLS material for h:1 is missing');
  });

  test.each(['{only-between-us', '{"secret":only-between-us}', '{"bearer":"only-between-us"}'])(
    'whose secret cannot be read (%s) is refused without a word of it',
    (secret) => {
      const messages = [() => bearerOf(secret), () => reachFrom({ address: '{}', secret })].map((read) => {
        try {
          return `read: ${JSON.stringify(read())}`;
        } catch (error) {
          return (error as Error).message;
        }
      });
      expect(messages).toEqual(Array(2).fill('the stored secret cannot be read'));
    },
  );
});
