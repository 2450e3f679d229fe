"""Given / when / then for the machine: a story tells events to `decide` and keeps the journal that comes of them.

    story = Story(abc())
    story.does("a").start("b").rejects("b", "out_of_stock")
    assert story.plan == ["a"]
    story.undoes("a")
    assert story.status == "compensated"

A node is named by its step (`"a"`: the action) or in full (`"a:c"`: the compensation). Time stands still except in
`passes`. With every event the story checks what must hold always: `decide` is pure, the state is the fold of the journal,
and while the saga neither ended nor waits for a person somebody is due to look.
"""

from datetime import UTC, datetime, timedelta
from typing import Any, Self

from saga.core import transitions as t
from saga.core.definition import Saga
from saga.core.events import CancelAsked, Ended, Event, HoldAsked, LetGo, PrepareFailed, StartAsked, Woken
from saga.core.fold import NodeState, SagaState, accepted, replay
from saga.core.keys import logical_key, wire_key
from saga.core.machine import decide, due_at, ready
from saga.core.outcomes import EffectChange, Outcome, OutcomeCode, Payload, Request
from saga.core.states import ENDED, HaltReason, NodePhase

START_AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
TIMEOUT_S = 10.0


def change(quantity: int = 1, sign: int = 1, kind: str = "stock", unit: str = "sku-1") -> EffectChange:
    """One reported movement."""
    return EffectChange(kind, unit, quantity, sign)


def full(name: str) -> str:
    """The node id: a bare step name means its action."""
    return name if ":" in name else f"{name}:a"


class Story:
    """One saga, its journal so far, and what may be asked of them."""

    def __init__(self, definition: Saga[Any], *, saga_id: str = "s-1") -> None:
        self.definition = definition
        self.now = START_AT
        deadline_at = START_AT + timedelta(seconds=definition.deadline_s) if definition.deadline_s else None
        first = t.SagaAccepted(
            START_AT,
            saga_id,
            definition.name,
            definition.version,
            definition.fingerprint,
            "test",
            "shop",
            "order-1",
            1,
            Payload('{"order_id":"order-1"}'),
            deadline_at,
        )
        self.journal: list[t.Transition] = [first]
        self.last: tuple[t.Transition, ...] = (first,)
        self.ends_of_decisions = [1]
        self.state: SagaState = accepted(first)

    def tell(self, event: Event) -> Self:
        """One event; the transitions that it caused are in `last`."""
        decision = decide(self.definition, self.state, event)
        assert decision == decide(self.definition, self.state, event), "decide is not pure"
        self.last = decision.transitions
        self.journal.extend(decision.transitions)
        self.ends_of_decisions.append(len(self.journal))
        self.state = decision.state
        assert replay(self.journal) == self.state, "the state is not the fold of the journal"
        assert decision.commands == ready(self.definition, self.state, event.at), "commands are not what is ready"
        self._check_due()
        return self

    def _check_due(self) -> None:
        waits_for_person = self.state.halt is not None and not self.state.halt.heals_itself
        if self.state.status in ENDED:
            assert self.due is None, "an ended saga is due"
        elif not waits_for_person:
            assert self.due is not None, "nobody is due to look at a saga that has not ended"

    def start(self, *names: str, worker: str = "w1", alone: bool = False) -> Self:
        """A process starts one attempt of each node; each must be startable."""
        for name in names:
            node = full(name)
            before = self.epoch(name)
            key = logical_key(self.definition.name, "order-1", 1, node)
            self.tell(
                StartAsked(
                    self.now,
                    node,
                    worker,
                    self.now + timedelta(seconds=TIMEOUT_S),
                    key,
                    wire_key("test", "shop", key),
                    Request("POST", f"/{node}", Payload("{}")),
                    alone,
                )
            )
            assert self.epoch(name) == before + 1, f"{node} was not started; ready are {self.may_start}"
        return self

    def ends(self, name: str, code: OutcomeCode, detail: str = "", *, epoch: int | None = None, **fields: Any) -> Self:
        """The open attempt (or that of `epoch`) comes to an outcome."""
        at_epoch = self.epoch(name) if epoch is None else epoch
        return self.tell(Ended(self.now, full(name), at_epoch, Outcome(code, detail, **fields)))

    def succeeds(self, *names: str, effects: tuple[EffectChange, ...] | None = None, epoch: int | None = None) -> Self:
        for name in names:
            result = Payload('{"done":true}')
            self.ends(name, OutcomeCode.SUCCEEDED, epoch=epoch, result=result, effects=effects)
        return self

    def rejects(self, name: str, code: str = "declined", *, epoch: int | None = None) -> Self:
        return self.ends(name, OutcomeCode.REJECTED, code, epoch=epoch)

    def loses_answer(self, name: str) -> Self:
        """Sent, and nobody knows."""
        return self.ends(name, OutcomeCode.UNKNOWN, "read time-out")

    def answers(self, name: str, detail: str) -> Self:
        """Answered, definitely, with something that the connector does not list."""
        return self.ends(name, OutcomeCode.UNKNOWN, detail, is_answer=True)

    def does(self, *names: str, effects: tuple[EffectChange, ...] | None = None) -> Self:
        """Starts and succeeds, one after another."""
        for name in names:
            self.start(name).succeeds(name, effects=effects)
        return self

    def undoes(self, *names: str, effects: tuple[EffectChange, ...] | None = None) -> Self:
        """The compensations of these steps start and succeed, one after another."""
        return self.does(*(f"{name}:c" for name in names), effects=effects)

    def breaks(self, name: str, detail: str = "KeyError: 'sku'") -> Self:
        """The step's own code fails before anything is sent."""
        return self.tell(PrepareFailed(self.now, full(name), detail))

    def cancel(self) -> Self:
        return self.tell(CancelAsked(self.now, "clerk", "customer changed their mind"))

    def holds(self, why: HaltReason = HaltReason.RESTORED, *, since: datetime | None = None) -> Self:
        """Its journal may not be whole: nothing is to move."""
        return self.tell(HoldAsked(self.now, why, "restored to yesterday", since=since or self.now))

    def let_go(self, **books: Any) -> Self:
        """A person answers for what the journal may lack."""
        return self.tell(LetGo(self.now, "clerk: compared with the ledgers", **books))

    def dies(self, worker: str = "w1") -> Self:
        """The process is gone and somebody noticed."""
        return self.tell(Woken(self.now, frozenset({worker})))

    def passes(self, seconds: float) -> Self:
        """Time goes by and somebody looks."""
        self.now += timedelta(seconds=seconds)
        return self.tell(Woken(self.now))

    def tell_nothing(self) -> Self:
        """Somebody looks and no time has passed."""
        return self.passes(0)

    def waits_for(self, name: str) -> Self:
        """Time goes by until the node may be tried again."""
        next_at = self.node(name).next_at
        assert next_at is not None, f"{name} does not wait: {self.node(name).phase}"
        self.now = max(self.now, next_at)
        return self.tell(Woken(self.now))

    def try_again(self, name: str, code: OutcomeCode, detail: str = "") -> Self:
        """Waits out the backoff, starts, ends with `code`."""
        if self.node(name).phase is NodePhase.BACKOFF:
            self.waits_for(name)
        return self.start(name).ends(name, code, detail)

    def node(self, name: str) -> NodeState:
        return self.state.node(full(name))

    def phase(self, name: str) -> NodePhase:
        return self.node(name).phase

    def epoch(self, name: str) -> int:
        return self.node(name).epoch

    @property
    def status(self) -> str:
        return self.state.status.value

    @property
    def halted(self) -> HaltReason | None:
        return self.state.halt.reason if self.state.halt else None

    @property
    def plan(self) -> list[str] | None:
        """Steps of the frozen plan, first to last; one that must be settled first says so."""
        if self.state.plan is None:
            return None
        return [it.step if it.mode == "compensate" else f"{it.step} ({it.mode})" for it in self.state.plan]

    @property
    def entries(self) -> dict[str, str]:
        """How far each entry of the plan is."""
        return {it.step: it.state.value for it in self.state.plan or ()}

    @property
    def may_start(self) -> list[str]:
        """Nodes that may be attempted now; the compensation of x is `x:c`, its action `x`."""
        commands = ready(self.definition, self.state, self.now)
        return [command.node.removesuffix(":a") for command in commands]

    @property
    def alone(self) -> list[str]:
        """Those of `may_start` that must run alone in their process."""
        commands = ready(self.definition, self.state, self.now)
        return [command.node.removesuffix(":a") for command in commands if command.alone]

    @property
    def due(self) -> datetime | None:
        return due_at(self.definition, self.state, self.now)

    @property
    def last_kinds(self) -> list[str]:
        return [transition.kind for transition in self.last]

    def attempted(self) -> list[str]:
        """Every node that was ever started, in order, once per attempt."""
        started = [it for it in self.journal if isinstance(it, t.AttemptStarted)]
        return [it.node.removesuffix(":a") for it in started]

    def count(self, kind: str) -> int:
        """How many transitions of that kind the journal holds."""
        return sum(transition.kind == kind for transition in self.journal)
