// What `import fc from 'fast-check'` gives a test (jest.config.js maps it here): the same inputs in every run, so that a
// run that fails fails again. A suite may give a seed of its own. By its path, since the name leads here.
import fc from '../../node_modules/fast-check/lib/fast-check.js';

fc.configureGlobal({ seed: 20_261_120 });

export default fc;
