// The check of `doctor` for the SQLite driver, without which the coordinator's database cannot be opened.
import { DriverUnavailable, DriverWouldCrash, requireDriver } from '../../store/driver.ts';
import type { Finding } from './finding.ts';

export function driverCheck(): Finding {
  const check = 'sqlite driver';
  try {
    const { name, version } = requireDriver();
    return { check, level: 'ok', text: `${name} ${version}` };
  } catch (error) {
    // The check of Node says what to install instead.
    if (error instanceof DriverWouldCrash)
      return { check, level: 'fail', text: 'does not work in this Node' };
    if (!(error instanceof DriverUnavailable)) throw error;
    return { check, level: 'fail', text: error.problem, remedy: error.command };
  }
}
