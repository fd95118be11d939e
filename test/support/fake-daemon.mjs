// A scripted daemon for tests of the launcher. Its first argument is a JSON script:
//   answer:      'ready' (default) | 'refuse' | 'garbage' | 'flood' | 'never' | 'exit' | 'other-incarnation'
//   identity:    'own' (default) | 'other' | 'other-then-mute' | 'mute'
//   ignoreTerm:  stays on SIGTERM
//   agentScript: a shell script that is run as the agent
//   agent:       starts an "agent" (a session of its own) with children that got away in every known way
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { Socket } from 'node:net';

const AGENT = `
  echo child $$
  sleep 600 & echo child $!
  setsid sleep 600 & echo child $!
  env -i sleep 600 & echo child $!
  (setsid sh -c 'echo child $$; exec sleep 600' &)
  sleep 0.1
  echo agent is up
  wait`;

const script = JSON.parse(process.argv[2] ?? '{}');
const { answer = 'ready', identity = 'own', ignoreTerm = false, agent = false, agentScript = AGENT } = script;
const startTime = Number(readFileSync('/proc/self/stat', 'utf8').split(') ').at(-1).split(' ')[19]);

process.on('SIGTERM', () => {
  console.log('got SIGTERM');
  if (!ignoreTerm) process.exit(0);
});

if (answer === 'exit') {
  console.error('cannot find my workspace');
  process.exit(3);
}

const pipe = new Socket({ fd: 3, readable: true, writable: true });
pipe.on('error', (error) => console.log(`handshake: ${error.code}`));
let received = '';
pipe.on('data', (chunk) => {
  received += chunk;
  if (received.includes('\n')) serve(JSON.parse(received));
});

function serve(request) {
  const { incarnation, socket, secret } = request;
  const own = { contract: 1, incarnation, pid: process.pid, startTime, version: 'fake' };
  const say = (line) => pipe.end(`${line}\n`);
  if (answer === 'never') return setInterval(() => undefined, 1000);
  if (answer === 'garbage') return say('hello, is this the daemon?');
  if (answer === 'flood') return say('x'.repeat(200_000));
  if (answer === 'refuse') {
    say(JSON.stringify({ ready: false, error: 'another daemon (pid 7) holds this workspace' }));
    return process.exit(1);
  }
  let questions = 0;
  const server = createServer((req, res) => {
    questions += 1;
    if (identity === 'mute' || (identity === 'other-then-mute' && questions > 1)) return;
    const isAllowed = req.url === '/control/identity' && req.headers.authorization === `Bearer ${secret}`;
    const body = {
      ...own,
      ending: false,
      ...(identity.startsWith('other') ? { incarnation: 'somebody-else' } : {}),
    };
    res.writeHead(isAllowed ? 200 : 401).end(JSON.stringify(isAllowed ? body : {}));
  });
  server.listen(socket, () => {
    console.log('listening');
    if (agent || script.agentScript !== undefined)
      spawn('sh', ['-c', agentScript], { detached: true, stdio: 'inherit' });
    const named = answer === 'other-incarnation' ? 'not-what-was-asked-for' : incarnation;
    say(JSON.stringify({ ready: true, socket, ...own, incarnation: named }));
  });
}
