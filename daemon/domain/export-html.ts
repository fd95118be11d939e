// A transcript as one HTML page without scripts and without resources from elsewhere. Its texts come from people and models,
// so every text is escaped, and the page's Content-Security-Policy forbids any script that an escape might have missed.
import { escapeHtml } from '../contract/escape-html.ts';
import { type ExportEntry, type ExportHeader, headingOf } from './export-entries.ts';

const STYLE = `
:root { color-scheme: light dark; }
body { max-width: 52rem; margin: 2rem auto; padding: 0 1rem; font: 1rem/1.5 system-ui, sans-serif; }
header { border-bottom: 1px solid #8886; margin-bottom: 1rem; }
section { margin: 1rem 0; padding: .5rem 1rem; border-left: 4px solid #8886; border-radius: 4px; }
section.user { border-color: #2563eb; background: #2563eb14; }
section.agent { border-color: #16a34a; }
section.error { border-color: #dc2626; background: #dc262614; }
h2 { font-size: .85rem; margin: 0 0 .25rem; opacity: .75; overflow-wrap: anywhere; }
pre { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; font: inherit; }
.tool pre, .thought pre, .plan pre { font: .85rem/1.45 ui-monospace, monospace; }
summary { cursor: pointer; font-size: .85rem; opacity: .75; overflow-wrap: anywhere; }
`;

/** Kinds of entries that the page shows unfolded; the others unfold on a click. */
const OPEN: ReadonlySet<ExportEntry['kind']> = new Set(['user', 'agent', 'plan', 'error']);

/** Renders the entries as an HTML page. */
export function htmlDocument(header: ExportHeader, entries: readonly ExportEntry[]): string {
  const partial = header.isPartial ? '<p><em>Parts of this transcript are missing.</em></p>\n' : '';
  return `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>${escapeHtml(header.title)}</title>
<style>${STYLE}</style>
</head>
<body>
<header>
<h1>${escapeHtml(header.title)}</h1>
<p>Session ${escapeHtml(header.sessionId)} in ${escapeHtml(header.workspaceCwd)}</p>
${partial}</header>
<main>
${entries.map(section).join('\n')}
</main>
</body>
</html>
`;
}

function section(entry: ExportEntry): string {
  const heading = escapeHtml(headingOf(entry));
  const text = entry.text === '' ? '' : `<pre>${escapeHtml(entry.text)}</pre>`;
  const body = OPEN.has(entry.kind)
    ? `<h2>${heading}</h2>${text}`
    : `<details><summary>${heading}</summary>${text}</details>`;
  return `<section class="${entry.kind}">${body}</section>`;
}
