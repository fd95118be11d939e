// The daemon itself, held at one point of its handshake for as long as a file is there:
//   node held-daemon.mjs <file> <point> <the daemon's main module> <its arguments>
// `unread`: before it has read a byte of its handshake. `unanswered`: it listens, and only its ready line is not out yet.
// That it has come to the point is told by a file beside the first one, named after it with `.reached`.
import { existsSync, writeFileSync } from 'node:fs';
import { Socket } from 'node:net';
import { pathToFileURL } from 'node:url';

const PERIOD_MS = 10;

// What is left is what the daemon would have been started with.
const [file, point, main] = process.argv.splice(2, 3);

async function released() {
  if (!existsSync(file)) return;
  writeFileSync(`${file}.reached`, '');
  while (existsSync(file)) await new Promise((resolve) => setTimeout(resolve, PERIOD_MS));
}

const { end } = Socket.prototype;
if (point === 'unanswered')
  Socket.prototype.end = function held(...args) {
    if (!String(args[0]).startsWith('{"ready":true')) return end.apply(this, args);
    void released().then(() => end.apply(this, args));
    return this;
  };
else await released();

await import(pathToFileURL(main).href);
