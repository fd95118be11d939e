// The API description that both processes serve at GET /openapi.json: read once, then kept in memory. A daemon outlives
// an upgrade of the package, so it must not need the package's files later.
import { readFile } from 'node:fs/promises';
import { failPlain } from './errors.ts';

export const API_DOCUMENT_PATH = '/openapi.json';

export class ApiDocument {
  readonly #path: string;
  #bytes: Promise<Buffer> | undefined;

  /** @param path of the package's openapi.json, which the first call of `bytes` reads. */
  constructor(path: string) {
    this.#path = path;
  }

  /**
   * The document as JSON. Callers share one read; after a failed read the next call tries again.
   * @throws ApiError 503 when the file cannot be read.
   */
  bytes(): Promise<Buffer> {
    this.#bytes ??= this.#read();
    return this.#bytes;
  }

  async #read(): Promise<Buffer> {
    try {
      return await readFile(this.#path);
    } catch (error) {
      this.#bytes = undefined;
      const code = (error as NodeJS.ErrnoException).code ?? 'unknown error';
      throw failPlain(
        503,
        `The API description cannot be read (${code}): the installation lacks its openapi.json. Install the package again.`,
      );
    }
  }
}
