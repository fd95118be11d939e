// The collaborators of the supervisor: the composition root provides them, tests provide fakes.
import type { Clock } from '../../../daemon/contract/clock.ts';
import type { BridgeSettings } from '../../../daemon/contract/handshake.ts';
import type { Log } from '../../../daemon/contract/log.ts';
import type { Launcher } from '../../launch/launcher.ts';
import type { Store } from '../../store/store.ts';
import type { DaemonLink } from '../daemon/link.ts';
import type { EventJournal } from '../records/event-journal.ts';
import type { SessionRecorder } from '../records/session-recorder.ts';
import type { RestorableWorkspaces } from '../restorable-workspaces.ts';
import type { SuperviseSettings } from '../settings.ts';

export interface SupervisorDeps {
  readonly store: Store;
  readonly launcher: Launcher;
  readonly link: DaemonLink;
  readonly records: {
    readonly recorder: SessionRecorder;
    readonly journal: EventJournal;
    /** Gets every workspace whose sessions moved to `restoring`; the restorer subscribes. */
    readonly restorable: Pick<RestorableWorkspaces, 'add'>;
  };
  /** The agent and its limits, for the handshake of every daemon. */
  readonly bridge: BridgeSettings;
  readonly settings: SuperviseSettings;
  readonly clock: Clock;
  readonly log: Log;
  /** Returns a random number in [0, 1), for the jitter of restarts. */
  readonly random: () => number;
}
