// A client that costs little: keep-alive JSON calls and event streams over node:http. Times are in milliseconds.
import http from 'node:http';

/** Calls and streams against one base URL. */
export function createClient(baseUrl, token) {
  const base = new URL(baseUrl);
  const agent = new http.Agent({ keepAlive: true, maxSockets: 256 });
  const auth = token === undefined ? {} : { authorization: `Bearer ${token}` };
  const at = (method, path, headers) => ({
    host: base.hostname,
    port: base.port,
    path: base.pathname.replace(/\/$/, '') + path,
    method,
    headers: { ...auth, ...headers },
  });

  function call(method, path, body) {
    const bytes = body === undefined ? undefined : Buffer.from(JSON.stringify(body));
    const headers =
      bytes === undefined ? {} : { 'content-type': 'application/json', 'content-length': bytes.length };
    return new Promise((resolve, reject) => {
      const req = http.request({ ...at(method, path, headers), agent }, (res) => {
        let text = '';
        res.setEncoding('utf8');
        res.on('data', (chunk) => {
          text += chunk;
        });
        res.on('end', () => {
          if (res.statusCode >= 300) reject(new Error(`${method} ${path}: ${res.statusCode} ${text}`));
          else resolve(text === '' ? {} : JSON.parse(text));
        });
      });
      req.on('error', reject);
      req.end(bytes);
    });
  }

  /** Opens an event stream; `onFrame` gets each frame's text and its arrival time, or `onText` what comes, as it comes. */
  function stream(sessionId, { headers = {}, query = '', onFrame, onText }) {
    return new Promise((resolve, reject) => {
      const req = http.request(
        { ...at('GET', `/session/${sessionId}/events${query}`, headers), agent: false },
        (res) => {
          if (res.statusCode !== 200) {
            reject(new Error(`stream: ${res.statusCode}`));
            return;
          }
          let text = '';
          res.setEncoding('utf8');
          if (onText !== undefined) res.on('data', onText);
          else
            res.on('data', (chunk) => {
              const now = performance.timeOrigin + performance.now();
              text += chunk;
              let start = 0;
              for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n', start)) {
                onFrame(text.slice(start, end), now);
                start = end + 2;
              }
              text = text.slice(start);
            });
          res.on('error', () => undefined);
          const ended = new Promise((done) => res.on('close', done));
          resolve({ res, ended, close: () => req.destroy() });
        },
      );
      req.on('error', () => undefined);
      req.end();
    });
  }

  return { call, stream, close: () => agent.destroy() };
}

/** Median, 99th percentile and largest of a list, rounded to hundredths. */
export function summary(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (share) => round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]);
  return { n: sorted.length, p50: at(0.5), p99: at(0.99), max: round(sorted.at(-1)) };
}

export function round(value) {
  return value === undefined ? undefined : Math.round(value * 100) / 100;
}

/** Durations of `count` runs of `work`, one after the other. */
export async function timed(count, work) {
  const durations = [];
  for (let i = 0; i < count; i++) {
    const start = performance.now();
    await work(i);
    durations.push(performance.now() - start);
  }
  return durations;
}
