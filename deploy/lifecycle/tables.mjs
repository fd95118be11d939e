// Makes the tables of docs/lifecycle.md about sessions, routes and numbers.
import { code, table } from './markdown.mjs';
import { ANSWERED_BY, SESSION_EVENTS, SESSION_STATES, WHEN_STOPPED, wordsFor } from './words.mjs';

/** A table of a session's next states, by event and state. @param nextState that of coordinator/domain/session.ts. */
export function sessionTable(nextState) {
  return table(
    ['what happens', ...SESSION_STATES.map((state) => `to a ${state} one`)],
    SESSION_EVENTS.map(([what, event]) => [
      what,
      ...SESSION_STATES.map((state) => {
        const next = nextState(state, event);
        return next === undefined ? '·' : code(next);
      }),
    ]),
  );
}

/** A table of the route classes. @param classes ROUTE_CLASSES of coordinator/domain/route-classes.ts. */
export function routeTable(classes) {
  return table(
    ['class', 'routes', 'while it runs', 'while nobody has it', 'refused in a drain'],
    Object.entries(classes).map(([name, { routes, answeredBy, whenStopped, isWork }]) => [
      name.replaceAll('_', ' '),
      routes.map(code).join(', '),
      wordsFor('answerer', ANSWERED_BY, answeredBy),
      whenStopped === undefined ? '—' : wordsFor('rule', WHEN_STOPPED, whenStopped),
      isWork === true ? 'yes' : '',
    ]),
  );
}

/** A table of the flags in `names`, each with its default and meaning. @throws for a name that no flag has. */
export function numberTable(names, flags) {
  return table(
    ['flag', 'default', 'meaning'],
    names.map((name) => {
      const found = flags.find(({ flag }) => flag === name);
      if (found === undefined) throw new Error(`there is no flag "${name}"`);
      return [code(`--${name}`), found.fallback, found.help];
    }),
  );
}
