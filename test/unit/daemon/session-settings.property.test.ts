// Whatever clients, agent and clock do to model and mode in whatever order: once the agent falls silent the bus tells where
// it is, every publication is counted, and no change waits for ever.
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { AgentCallError } from '../../../daemon/agent/agent.ts';
import { APPROVAL_MODES, type ApprovalMode } from '../../../daemon/contract/wire.ts';
import type { FakeCall } from '../../support/fake-channel.ts';
import { pass, settled } from '../../support/manual-clock.ts';
import { CONTEXT, contextOf, SET_MODE, SettingsParts } from '../../support/session-settings-parts.ts';

const RUNS = 300 * Number(process.env.QWEN_TEST_SCALE ?? 1);
const MODELS = ['m1', 'm2', 'm3(openai)'] as const;
const SET_MODEL = 'session/set_model';

interface Agent {
  readonly hasContext: boolean;
  /** Notifies of changes that the bridge asked for, too. */
  readonly isChatty: boolean;
  /** Sends older clients' mode frames itself. */
  readonly sendsFrames: boolean;
}

type Step =
  | { readonly kind: 'switch' | 'change'; readonly setting: 'model' | 'mode'; readonly pick: number }
  | { readonly kind: 'land' | 'answer' | 'refuse' | 'read' | 'failRead'; readonly pick: number }
  | { readonly kind: 'pass'; readonly ms: number }
  | { readonly kind: 'settle' };

const setting = fc.constantFrom('model' as const, 'mode' as const);
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constantFrom('switch' as const, 'change' as const),
      setting,
      pick: fc.nat(9),
    }),
  },
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constantFrom('land', 'answer', 'refuse', 'read', 'failRead'),
      pick: fc.nat(9),
    }) as fc.Arbitrary<Step>,
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('pass' as const), ms: fc.nat(1200) }) },
  { weight: 3, arbitrary: fc.constant<Step>({ kind: 'settle' }) },
);

/** The settings of a session, and an agent that keeps the truth. */
class Run {
  readonly parts: SettingsParts;
  readonly agent: Agent;
  readonly landed = new Set<FakeCall>();
  readonly asked: { isSettled: boolean }[] = [];
  model: string = 'm1';
  mode: ApprovalMode = 'default';

  constructor(agent: Agent) {
    this.agent = agent;
    this.parts = new SettingsParts({ hasContext: agent.hasContext });
  }

  get changes(): FakeCall[] {
    const { channel } = this.parts;
    return [...channel.open(SET_MODEL), ...channel.open(SET_MODE)];
  }

  async take(taken: Step): Promise<void> {
    switch (taken.kind) {
      case 'switch':
        return this.ask(taken.setting, taken.pick);
      case 'change':
        return this.changeInAgent(taken.setting, taken.pick);
      case 'land':
        // Without reads only an answer tells when a change landed: the two are one step of such an agent.
        return this.agent.hasContext ? this.land(picked(this.changes, taken.pick)) : undefined;
      case 'answer':
        this.answer(picked(this.changes, taken.pick));
        // Of an agent that cannot be asked, the bridge's own change is the truth until its answer has been taken.
        return this.agent.hasContext ? undefined : settled();
      case 'refuse':
        return this.refuse(picked(this.changes, taken.pick));
      case 'read':
        return this.read(picked(this.parts.channel.open(CONTEXT), taken.pick));
      case 'failRead':
        return picked(this.parts.channel.open(CONTEXT), taken.pick)?.fail(new AgentCallError(-32000, 'no'));
      case 'pass':
        return pass(this.parts.clock, taken.ms, 100);
      case 'settle':
        return settled();
    }
  }

  ask(which: 'model' | 'mode', pick: number): void {
    const { settings } = this.parts;
    const entry = { isSettled: false };
    this.asked.push(entry);
    const change: Promise<unknown> =
      which === 'model'
        ? settings.switchModel(at(MODELS, pick), 'c-1')
        : settings.switchMode({ mode: at(APPROVAL_MODES, pick), isPersisted: false }, 'c-1');
    const done = () => {
      entry.isSettled = true;
    };
    change.then(done, done);
  }

  changeInAgent(which: 'model' | 'mode', pick: number): void {
    if (which === 'model') this.model = at(MODELS, pick);
    else this.mode = at(APPROVAL_MODES, pick);
    this.notify(which);
  }

  notify(which: 'model' | 'mode'): void {
    if (which === 'model') {
      this.parts.notifyModel(this.model);
      return;
    }
    if (this.agent.sendsFrames) this.parts.frame(this.mode);
    this.parts.notifyMode(this.mode, { legacyFrameSent: this.agent.sendsFrames });
  }

  land(call: FakeCall | undefined): void {
    if (call === undefined || this.landed.has(call)) return;
    this.landed.add(call);
    const isModel = call.method === SET_MODEL;
    if (isModel) this.model = call.params.modelId as string;
    else this.mode = call.params.mode as ApprovalMode;
    if (this.agent.isChatty) this.notify(isModel ? 'model' : 'mode');
  }

  answer(call: FakeCall | undefined): void {
    if (call === undefined) return;
    const previous = this.mode;
    this.land(call);
    call.answer(call.method === SET_MODEL ? {} : { previous, current: call.params.mode });
  }

  refuse(call: FakeCall | undefined): void {
    if (call !== undefined && !this.landed.has(call)) call.fail(new AgentCallError(-32602, 'refused'));
  }

  read(call: FakeCall | undefined): void {
    call?.answer(contextOf(this.model, this.mode));
  }

  /** Everything that is open is answered, and what that leads to. */
  async fallSilent(): Promise<void> {
    for (let round = 0; round < 200; round += 1) {
      await settled();
      const open = [...this.changes, ...this.parts.channel.open(CONTEXT)];
      if (open.length === 0) return;
      for (const call of this.changes) this.answer(call);
      for (const call of this.parts.channel.open(CONTEXT)) this.read(call);
    }
  }

  told(type: string, field: string, before: string): unknown {
    const last = this.parts.events.filter((event) => event.type === type).at(-1);
    return last === undefined ? before : (last.data as Record<string, unknown>)[field];
  }

  hasGivenUp(which: string): boolean {
    return this.parts.decisions.some((decision) => decision.startsWith(`${which} failed`));
  }
}

function picked<T>(list: readonly T[], pick: number): T | undefined {
  return list[pick % Math.max(1, list.length)];
}

function at<T>(list: readonly T[], pick: number): T {
  return list[pick % list.length] as T;
}

test('the bus converges to where the agent is, and leaves nothing waiting', async () => {
  const agents = fc.record({ hasContext: fc.boolean(), isChatty: fc.boolean(), sendsFrames: fc.boolean() });
  let converged = 0;
  await fc.assert(
    fc.asyncProperty(agents, fc.array(step, { maxLength: 40 }), async (agent, steps) => {
      const run = new Run(agent);
      for (const taken of steps) await run.take(taken);
      await run.fallSilent();
      const { parts } = run;
      expect(run.asked.filter(({ isSettled }) => !isSettled)).toEqual([]);
      if (!run.hasGivenUp('model')) {
        expect(run.told('model_switched', 'modelId', 'm1')).toBe(run.model);
        converged += 1;
      }
      if (!run.hasGivenUp('mode')) {
        expect(run.told('approval_mode_changed', 'next', 'default')).toBe(run.mode);
        expect(parts.settings.snapshot()).toMatchObject({ currentApprovalMode: run.mode });
      }
      const frames = parts.story
        .filter((word) => word.startsWith('frame:'))
        .map((word) => word.split(':')[1]);
      if (!agent.sendsFrames && !run.hasGivenUp('mode')) expect(frames.at(-1) ?? 'default').toBe(run.mode);
      if (!agent.sendsFrames) expect(frames.filter((mode, index) => mode === frames[index - 1])).toEqual([]);
    }),
    { numRuns: RUNS },
  );
  expect(converged).toBeGreaterThan(RUNS / 2);
});
