// Daemons that are held in their handshake until a test lets them go, by held-daemon.mjs.
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { eventually } from './eventually.ts';
import { binaryPath } from './fleet-process.ts';
import type { Scratch } from './scratch.ts';

const SCRIPT = fileURLToPath(new URL('./paused-daemon.mjs', import.meta.url));

/** `unread`: it has read nothing yet. `unanswered`: it listens, and has not said so. */
export type HoldingPoint = 'unread' | 'unanswered';

export class Hold {
  readonly #file: string;
  readonly #point: HoldingPoint;

  /** From now on every daemon that `flags` starts is held. */
  constructor(scratch: Scratch, point: HoldingPoint) {
    this.#file = join(scratch.dir, 'hold');
    this.#point = point;
    writeFileSync(this.#file, '');
  }

  /** Flags of a coordinator whose daemons are held. */
  get flags(): readonly string[] {
    const command = [process.execPath, SCRIPT, this.#file, this.#point, binaryPath('daemon')];
    return ['--daemon-command', command.join(' ')];
  }

  /** Waits until a daemon has come to the point; it stays there. */
  async reached(): Promise<void> {
    await eventually(`an ${this.#point} handshake`, () => existsSync(`${this.#file}.reached`));
  }

  /** Lets every daemon go, and those that come later pass. */
  release(): void {
    rmSync(this.#file, { force: true });
  }
}
