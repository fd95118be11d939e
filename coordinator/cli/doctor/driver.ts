// The check of `doctor` for the SQLite driver, without which the coordinator's database cannot be opened.
import { DriverUnavailable, requireDriver } from '../../store/driver.ts';
import type { Finding } from './finding.ts';

export function driverCheck(): Finding {
  const check = 'sqlite driver';
  try {
    const { name, version } = requireDriver();
    return { check, level: 'ok', text: `${name} ${version}` };
  } catch (error) {
    if (!(error instanceof DriverUnavailable)) throw error;
    return { check, level: 'fail', text: error.problem, remedy: error.command };
  }
}
