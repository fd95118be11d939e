// Handlers for the history of one session: transcript, turn index, export. Reading the history does not make the session live.
import { sessionKey } from '../../contract/wire.ts';
import { exportOf, parseExportFormat } from '../../domain/export.ts';
import { parseTranscriptQuery } from '../../domain/transcript-page-query.ts';
import { parseTurnIndexQuery } from '../../domain/turn-index.ts';
import { type Call, type Handler, ok } from '../call.ts';
import type { RouteContext } from '../route-context.ts';

type HistoryNeeds = Pick<RouteContext, 'transcripts'>;

/** `GET /session/:id/transcript`: one page of the session's transcript. */
export function transcript({ transcripts }: HistoryNeeds): Handler {
  return async (call) => ok(await transcripts.page(idOf(call), parseTranscriptQuery(call.query)));
}

/** `GET /session/:id/turn-index`: the list of the session's turns. */
export function turnIndex({ transcripts }: HistoryNeeds): Handler {
  return async (call) => ok(await transcripts.turnIndex(idOf(call), parseTurnIndexQuery(call.query)));
}

/** `GET /session/:id/export`: the transcript as a download, so that no browser shows the document as a page of this server. */
export function exportSession({ transcripts }: HistoryNeeds): Handler {
  return async (call) => {
    const format = parseExportFormat(call.query.get('format'));
    const { view, ...session } = await transcripts.whole(idOf(call));
    const { content, contentType, filename } = exportOf(view, session, format);
    return {
      status: 200,
      body: content,
      headers: {
        'Content-Type': contentType,
        'Content-Disposition': `attachment; filename="${filename}"`,
        'X-Content-Type-Options': 'nosniff',
      },
    };
  };
}

function idOf({ params }: Call): string {
  return sessionKey(params.id ?? '');
}
