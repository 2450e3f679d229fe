"""What is checked when a saga is built: each error names the step and says what to write instead."""

import math
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel

from saga.core.binding import StepContext
from saga.core.connector import Call, Connector
from saga.core.definition import Kind, Saga, Tree, compensatable, parallel, pivot, readonly, retriable, sequence
from saga.core.retry import COMPENSATION_RETRY, RetryPolicy
from saga.core.states import Direction
from saga.core.steps import Step
from saga.errors import DefinitionError
from tests.unit.core.shop import Done, Order, abc, barrier, provider, saga_of, step

reserve = barrier.post("/reserve", Order, Done)
release = barrier.undo("/release", of=reserve)
authorize = barrier.post("/authorize", Order, Done)
void = barrier.undo("/void", of=authorize)


def work(order: Order) -> Done:
    return Done(done=bool(order))


class Held(BaseModel):
    """What another step answers."""

    ref: str


def refused(*steps: Tree, says: str, **options: Any) -> None:
    with pytest.raises(DefinitionError, match=says):
        saga_of(*steps, **options)


def test_order_is_depth_first_and_after_is_what_must_be_done() -> None:
    """`after` is the direct predecessors, `ancestors` all of them; a join waits for the exits of every branch."""
    built = saga_of(step("a"), parallel(sequence(step("b"), step("c")), step("d")), step("e"))
    assert [it.name for it in built.order] == ["a", "b", "c", "d", "e"]
    assert {it.name: set(it.after) for it in built.order} == {
        "a": set(),
        "b": {"a"},
        "c": {"b"},
        "d": {"a"},
        "e": {"c", "d"},
    }
    assert built.by_name["e"].ancestors == frozenset("abcd")
    assert built.by_name["d"].ancestors == frozenset("a")


def test_nodes_and_the_pivot_are_found_by_name() -> None:
    """A node id is the step and its direction; the pivot is one step or none."""
    built = saga_of(step("a"), step("p", Kind.PIVOT), step("r", Kind.RETRIABLE))
    assert built.node("a:c") == (built.by_name["a"], Direction.COMPENSATION)
    assert built.pivot is built.by_name["p"]
    assert [it.name for it in built.order if built.after_pivot(it)] == ["r"]
    assert abc().pivot is None
    assert not abc().after_pivot(abc().by_name["c"])


@pytest.mark.parametrize(
    ("option", "says"),
    [
        (
            {"name": "not a name"},
            "saga 'not a name': name='not a name'; letters, digits and '_', and no digit at the beginning, as in 'place_order'",
        ),
        ({"name": 5}, "saga 5: name=5; letters, digits and '_'"),
        ({"version": 0}, "saga 'shop': version=0; it is a whole number, 1 or more"),
        ({"version": True}, "saga 'shop': version=True; it is a whole number, 1 or more"),
        ({"version": "1"}, "saga 'shop': version='1'; it is a whole number, 1 or more"),
        ({"steps": []}, r"saga 'shop': steps=\[\]; it is a list of one step or more"),
        ({"steps": None}, "saga 'shop': steps=None; it is a list of one step or more"),
        ({"steps": step("a")}, "saga 'shop': steps=Step.*; it is a list of one step or more"),
        ({"entity": "order_id"}, "saga 'shop': entity='order_id'; it is a function of the input"),
        ({"parallel_compensation": "yes"}, "saga 'shop': parallel_compensation='yes'; it is True or False"),
        ({"on_change": "orders"}, "saga 'shop': on_change='orders'; it is a Projection"),
        ({"deadline_s": "60"}, "saga 'shop': deadline_s='60'; it is a number of seconds above 0"),
        ({"deadline_s": True}, "saga 'shop': deadline_s=True; it is a number of seconds above 0"),
    ],
)
def test_an_option_of_a_saga_that_nobody_can_mean_is_refused(option: dict[str, Any], says: str) -> None:
    """Names become Celery task names and parts of keys; version counts from 1; the message says what may stand there."""
    given = {"name": "shop", "version": 1, "entity": lambda order: order.order_id, "steps": [step("a")]}
    with pytest.raises(DefinitionError, match=says):
        Saga(input=Order, **{**given, **option})


def test_names_are_unique() -> None:
    """In whatever branch they stand."""
    refused(step("a"), parallel(step("b"), step("a")), says=r"two steps are called a: give one of them name='\.\.\.'")


def test_an_operation_needs_a_name() -> None:
    """It has none of its own; neither has a lambda. The example is made of what the person wrote."""
    says = r"the compensatable step of barrier /reserve has no name .*: compensatable\(\.\.\., name='reserve'\)"
    with pytest.raises(DefinitionError, match=says):
        compensatable(reserve, compensation=release)
    says = r"the readonly step of provider /v1/look-up-2 has no name of its own; .*name='look_up_2'"
    with pytest.raises(DefinitionError, match=says):
        readonly(provider.query("/v1/look-up-2", Order, Done))
    with pytest.raises(DefinitionError, match=r"step of provider /v1/orders/7 has no name .*name='my_step'"):
        readonly(provider.query("/v1/orders/7", Order, Done))
    with pytest.raises(
        DefinitionError, match=r"step of <function .*<lambda>> has no name of its own; .*name='my_step'"
    ):
        readonly(lambda: Done())  # noqa: PLW0108


def test_a_parallel_of_one_is_refused() -> None:
    """One branch is no parallel."""
    refused(parallel(step("a")), says=r"parallel\(\.\.\.\) needs two branches or more; write the one step without it")


def test_a_compensatable_without_compensation_is_refused() -> None:
    """The message names the alternatives."""
    bare = compensatable(work, compensation=None, keys="serialise")  # type: ignore[call-overload, arg-type, unused-ignore]
    refused(
        bare, says=r"work: compensatable\(\.\.\.\) without compensation; name its undo, or say what it is: readonly"
    )


def test_two_pivots_are_refused() -> None:
    """There is one point of no return; both are named."""
    refused(step("p", Kind.PIVOT), step("q", Kind.PIVOT), says=r"shop: two pivots \(p, q\); there is one point of no")


@pytest.mark.parametrize("beside", [step("x"), step("x", Kind.READONLY), step("x", Kind.RETRIABLE)])
def test_a_pivot_inside_parallel_is_refused(beside: Tree) -> None:
    """Beside it nobody can say whether the saga may still turn round."""
    refused(
        step("a"),
        parallel(step("p", Kind.PIVOT), beside),
        says=r"p: a pivot inside parallel\(\.\.\.\) beside x; put it behind the join",
    )


@pytest.mark.parametrize("policy", [{"compensation": release}, {"on_unknown": "compensate"}])
def test_a_pivot_with_a_compensation_policy_is_refused(policy: dict[str, Any]) -> None:
    """A pivot is never compensated."""
    the_pivot = pivot(reserve, name="p", **policy)
    refused(the_pivot, says="p: a pivot is never compensated; make it compensatable, or drop its compensation policy")


@pytest.mark.parametrize("kind", [readonly, retriable])
def test_a_compensation_that_would_never_run_is_refused(kind: Callable[..., Step]) -> None:
    """Its author believes that the step is undone."""
    refused(
        kind(reserve, name="r", compensation=release), says="r: a .* step has nothing to undo; make it compensatable"
    )


def test_a_retriable_before_the_pivot_is_refused() -> None:
    """Before the pivot only what can be undone or has no effect."""
    refused(
        step("r", Kind.RETRIABLE),
        step("p", Kind.PIVOT),
        says="r is retriable and stands before the pivot p; only compensatable and readonly may",
    )


def test_a_compensatable_after_the_pivot_is_refused() -> None:
    """After the pivot only what must succeed or has no effect."""
    refused(
        step("p", Kind.PIVOT),
        step("c"),
        says="c is compensatable and stands after the pivot p; only retriable and readonly may",
    )


def test_without_a_pivot_a_compensatable_after_a_retriable_is_refused() -> None:
    """The retriable could not be undone when the later step fails."""
    refused(
        step("r", Kind.RETRIABLE),
        step("q", Kind.READONLY),
        step("c"),
        says="shop: c is compensatable and stands after or beside the retriable r, which cannot be rolled back; put it",
    )


@pytest.mark.parametrize("kind", [Kind.COMPENSATABLE, Kind.PIVOT, Kind.READONLY])
def test_recording_a_rejection_is_for_retriable_steps(kind: Kind) -> None:
    """Everywhere else a rejection rolls back."""
    refused(
        step("x", kind, on_rejected="record"),
        says=f"x: on_rejected='record' is for retriable steps; the rejection of a {kind} rolls back",
    )


@pytest.mark.parametrize("kind", [Kind.COMPENSATABLE, Kind.PIVOT, Kind.RETRIABLE])
def test_an_effect_without_barrier_needs_a_word(kind: Kind) -> None:
    """A lost answer there cannot be settled by asking again: the message offers both ways out."""
    refused(
        step("x", kind, at=provider, on_unknown="retry"),
        says=r"x: provider\.POST /x has an effect, .* State keys='serialise' .* or write on_unknown='halt'",
    )
    saga_of(step("x", kind, at=provider, on_unknown="halt"))
    saga_of(step("x", Kind.READONLY, at=provider))


def test_a_compensation_wired_to_the_wrong_step_is_refused() -> None:
    """The message says what the step does, what the undo undoes, and which step it belongs to."""
    swapped = compensatable(reserve, compensation=void, name="reserve_stock")
    refused(
        swapped,
        compensatable(authorize, compensation=void, name="authorize"),
        says=r"reserve_stock: compensation /void undoes barrier\.POST /authorize, but the step does "
        r"barrier\.POST /reserve\. It undoes step authorize\.",
    )


def test_a_wrong_undo_that_belongs_to_no_step_is_refused_without_a_guess() -> None:
    """No step of the saga does what it undoes."""
    with pytest.raises(DefinitionError, match="but the step does barrier") as error:
        saga_of(compensatable(reserve, compensation=void, name="reserve_stock"))
    assert "It undoes step" not in str(error.value)


def test_an_undo_of_a_functions_own_work_is_refused() -> None:
    """A function step did no operation that a key could undo."""
    step_ = compensatable(work, compensation=release)  # type: ignore[arg-type]  # the type checker refuses it as well
    refused(step_, says="but the step does a function's own work")


def test_an_undo_belongs_to_the_operation_that_a_call_step_uses() -> None:
    """A function that returns a call is undone like the operation itself."""

    def reserve_stock(order: Order) -> Call[Done]:
        return reserve(order)

    built = saga_of(compensatable(reserve_stock, compensation=release)).by_name["reserve_stock"]
    assert built.operation is reserve
    assert built.operation_in(Direction.COMPENSATION) is reserve
    assert built.connector_in(Direction.COMPENSATION) is barrier


def test_a_compensation_function_may_call_an_operation_of_its_own() -> None:
    """Then that operation's connector says how it is repeated."""
    refund = provider.post("/refunds", Order, Done)

    def give_back(_done: Done, order: Order) -> Call[Done]:
        return refund(order)

    built = saga_of(compensatable(work, compensation=give_back, keys="serialise", on_unknown="halt")).by_name["work"]
    assert built.operation_in(Direction.ACTION) is None
    assert built.operation_in(Direction.COMPENSATION) is refund
    assert built.is_repeatable_in(Direction.ACTION)
    assert not built.is_repeatable_in(Direction.COMPENSATION)


def test_how_long_one_attempt_may_take() -> None:
    """The step's own word, else its connector's, else half a minute."""
    own = saga_of(step("a", timeout_s=3.0), step("b"), step("f", at=None)).by_name
    assert own["a"].wall_s_in(Direction.ACTION) == 3.0
    assert own["b"].wall_s_in(Direction.ACTION) == barrier.timeout_s
    assert own["f"].wall_s_in(Direction.ACTION) == 30.0


def test_queues_and_budgets_by_direction() -> None:
    """A compensation has a queue and a retry budget of its own."""
    once = RetryPolicy(max_attempts=1)
    built = saga_of(step("a", queue="stock", retry=once)).by_name["a"]
    assert built.queue_of(Direction.ACTION) == "stock"
    assert built.queue_of(Direction.COMPENSATION) == "stock.rollback"
    assert (built.retry_in(Direction.ACTION), built.retry_in(Direction.COMPENSATION)) == (once, COMPENSATION_RETRY)


def test_a_function_that_rejects_is_believed() -> None:
    """`Rejected` from a function is its author's word that nothing was done; a connector says so as a fact."""
    own = saga_of(step("f", at=None), step("a"), step("x", at=provider)).by_name
    assert [own[name].remembers_rejections_in(Direction.ACTION) for name in "fax"] == [True, True, False]


def test_a_definition_is_immutable_and_no_registry_knows_it() -> None:
    """Two built alike are two values with one fingerprint, and a field cannot be set."""
    one, other = abc(), abc()
    assert one is not other
    assert one.fingerprint == other.fingerprint
    with pytest.raises(AttributeError):
        one.version = 2  # type: ignore[misc]


@pytest.mark.parametrize("wrong", [dict, int, StepContext])
def test_an_input_that_is_no_json_model_is_refused(wrong: Any) -> None:
    """The input goes into the journal: it must be a JSON model, and the message says so."""
    with pytest.raises(DefinitionError, match="JSON model"):
        Saga("shop", 1, wrong, str, [retriable(_nothing)])


@pytest.mark.parametrize("wrong", [dict, int])
def test_an_operation_whose_result_is_no_json_model_is_refused(wrong: Any) -> None:
    """The same for what an operation promises."""
    with pytest.raises(DefinitionError, match="JSON model"):
        saga_of(retriable(barrier.post("/x", Order, wrong), name="x"))


def _nothing() -> None:
    """A step that asks for nothing and returns nothing."""


def test_without_a_pivot_a_compensatable_beside_a_retriable_is_refused() -> None:
    """A retriable in flight beside a step that is rejected would leave an effect that nobody undoes."""
    refused(parallel(step("c"), step("r", Kind.RETRIABLE)), says="c is compensatable and stands after or beside")


def test_a_readonly_step_must_not_have_an_effect() -> None:
    """It may run again at any time and is never undone; the message names both ways out."""
    with pytest.raises(DefinitionError, match=r"look: barrier\.POST /reserve has an effect.*barrier\.query"):
        saga_of(readonly(reserve, name="look"))


def test_a_compensation_that_cannot_be_repeated_needs_a_person_as_well() -> None:
    """A lost answer of a refund at a participant without a barrier cannot be settled by refunding again."""

    def refund(done: Done) -> Call[Done]:
        return ask_refund(Order(order_id="SO-1"))

    ask_refund = provider.post("/refunds", Order, Done)
    with pytest.raises(DefinitionError, match=r"pay: .*POST /refunds has an effect, and connector provider"):
        saga_of(compensatable(reserve, compensation=refund, name="pay"))
    saga_of(compensatable(reserve, compensation=refund, name="pay", on_unknown="halt"))


def test_a_compensation_function_takes_what_its_own_step_returned() -> None:
    """One that takes another step's result undoes the other step twice, and its own never."""

    def hold(order: Order) -> Held:
        return Held(ref=order.order_id)

    def let_go(_held: Held) -> None: ...

    def knows_nothing(_order: Order) -> None: ...

    one = compensatable(hold, compensation=let_go, keys="serialise")
    let_go_of_another: Any = let_go  # the type checker refuses it as well
    swapped = compensatable(work, compensation=let_go_of_another, keys="serialise")
    says = r"work: its compensation let_go must take what work returned, a Done, .*; it takes the result of hold"
    refused(one, swapped, says=says)
    knowing_nothing: Any = knows_nothing
    blind = compensatable(work, compensation=knowing_nothing, keys="serialise")
    refused(
        blind, says=r"work: its compensation knows_nothing must take what work returned, a Done, .*; it does not take"
    )


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ({"on_unknown": "compensat"}, r"p: on_unknown='compensat'; it is one of retry, compensate, halt"),
        ({"on_rejected": "recorded"}, r"p: on_rejected='recorded'; it is one of halt, record"),
        ({"keys": "serialize"}, r"p: keys='serialize'; it is one of serialise, replay, ignored"),
        ({"timeout_s": -3}, r"p: timeout_s=-3; it is a number of seconds above 0"),
        ({"timeout_s": math.inf}, r"p: timeout_s=inf; it is a number of seconds above 0"),
        ({"pending_s": 0}, r"p: pending_s=0; it is a number of seconds above 0"),
        ({"timeout_s": True}, r"p: timeout_s=True; it is a number of seconds above 0"),
        ({"timeout_s": math.nan}, r"p: timeout_s=nan; it is a number of seconds above 0"),
        ({"pending_s": None}, r"p: pending_s=None; it is a number of seconds above 0"),
        ({"retry": 3}, r"p: retry=3; it is a RetryPolicy, as in RetryPolicy\(max_attempts=3\)"),
        ({"compensation_retry": None}, "p: compensation_retry=None; it is a RetryPolicy, as in RetryPolicy"),
        ({"rejects": [ValueError]}, r"p: rejects=\[.*\]; it is a tuple of .* write rejects=\(OutOfStock,\)"),
        ({"rejects": ValueError}, r"p: rejects=.*; it is a tuple of classes of exceptions: write rejects="),
        ({"rejects": ("ValueError",)}, r"p: rejects=\('ValueError',\); it is a tuple of classes of exceptions"),
        ({"rejects": (KeyboardInterrupt,)}, r"p: rejects=.*; it is a tuple of classes of exceptions"),
        ({"classify": "code"}, r"p: classify='code'; it is a function that gives an Outcome for an exception, or None"),
        ({"operation": "/pay"}, r"p: operation='/pay'; it is the operation that the function calls"),
        ({"queue": None}, r"p: queue=None; letters, digits"),
        ({"queue": ""}, r"p: queue=''; letters, digits"),
        ({"queue": "a.rollback"}, r"p: queue='a.rollback'; .* not ending with '.rollback'"),
        ({"qeue": "a"}, r"p: pivot\(\.\.\.\) has no option 'qeue'; did you mean 'queue'\? It has queue, retry"),
        ({"colour": "red"}, r"p: pivot\(\.\.\.\) has no option 'colour'; it has queue, retry"),
    ],
)
def test_an_option_that_nobody_can_mean_is_refused(option: dict[str, Any], says: str) -> None:
    """Taken as it stands a typo would change what a rollback does, in silence."""
    with pytest.raises(DefinitionError, match=says):
        pivot(reserve, name="p", **option)


def test_a_misspelt_compensation_is_named() -> None:
    """Python would say that `compensation` is missing, and nothing of the word that was typed."""
    says = r"p: compensatable\(\.\.\.\) has no option 'compensaton'; did you mean 'compensation'\? It has compensation, queue"
    with pytest.raises(DefinitionError, match=says):
        compensatable(reserve, name="p", compensaton=release)  # type: ignore[call-overload, unused-ignore]


def test_a_connector_says_a_known_word_about_keys() -> None:
    """`serialize` would make every lost answer a matter for a person."""
    with pytest.raises(
        DefinitionError, match=r"connector c: keys='serialize'; it is one of serialise, replay, ignored"
    ):
        Connector("c", keys="serialize")  # type: ignore[arg-type]


def test_a_saga_has_a_step() -> None:
    """An empty sequence is none."""
    refused(sequence(), says="saga 'shop' has no step")


def test_what_is_no_step_no_version_and_no_function_is_named() -> None:
    """The mistakes of a first definition end in a sentence about that definition, and not in the machinery."""
    with pytest.raises(
        DefinitionError, match=r"provider.POST|is no step; write what kind of step it is: compensatable"
    ):
        saga_of(barrier.post("/pay", Order, Done))  # type: ignore[arg-type]
    with pytest.raises(DefinitionError, match=r"rejected=\['full'\]; it maps a status"):
        Connector("c", rejected=["full"])  # type: ignore[arg-type]
    with pytest.raises(DefinitionError, match=r"rejected=\{'409': 'full'\}; it maps a status"):
        Connector("c", rejected={"409": "full"})  # type: ignore[dict-item]


@pytest.mark.parametrize("deadline_s", [-1, 0, 1e15])
def test_a_deadline_is_a_time_that_a_database_can_hold(deadline_s: float) -> None:
    """-1 would roll back every order at once, 0 would be none in silence, 1e15 is no date."""
    with pytest.raises(
        DefinitionError, match=r"saga 's': deadline_s=.*; it is a number of seconds above 0, and below ten years"
    ):
        Saga("s", 1, Order, lambda order: order.order_id, [step("a")], deadline_s=deadline_s)


@pytest.mark.parametrize("name", [5, "", "not a name", None])
def test_a_step_is_called_by_an_identifier(name: Any) -> None:
    """What was written is shown; nothing was written when it is the operation that has no name."""
    rule = "letters, digits and '_', and no digit at the beginning"
    has = "no name of its own; give it one" if not name else f"name={name!r}; {rule}"
    with pytest.raises(
        DefinitionError, match=rf"the pivot step of barrier /reserve has {has}: pivot\(\.\.\., name='reserve'\)"
    ):
        pivot(reserve, name=name)


@pytest.mark.parametrize("maker", [pivot, retriable])
def test_a_function_with_an_effect_says_what_a_second_run_does(maker: Callable[..., Step]) -> None:
    """Neither repeated nor settled is a saga that hangs in flight or halts, and nobody was told when it was written."""
    says = rf"work: the function does its own work, .* Write {maker.__name__}\(\.\.\., keys='serialise'\) when .*StepContext"
    with pytest.raises(DefinitionError, match=says) as error:
        saga_of(maker(work))
    assert f"{maker.__name__}(..., on_unknown='halt') to have a person settle" in str(error.value)
    assert "If it has no effect, it is readonly(...)." in str(error.value)
    for keys in ("replay", "ignored"):
        refused(maker(work, keys=keys, on_unknown="retry"), says="work: the function does its own work")
    saga_of(maker(work, keys="serialise"))
    saga_of(maker(work, on_unknown="halt"))
    saga_of(readonly(work))


def test_a_compensation_that_is_a_function_says_so_as_well() -> None:
    """Also where the action is sent to a barrier participant: its keys say nothing of what the function does."""

    def undo_work(_done: Done) -> None: ...

    refused(compensatable(work, compensation=undo_work), says="work: the function does its own work")
    call = compensatable(reserve, compensation=undo_work, name="hold")
    refused(
        call, says=r"hold: its compensation is a function that does its own work, .*Write compensatable\(\.\.\., keys"
    )
    saga_of(compensatable(reserve, compensation=undo_work, name="hold", keys="serialise"))
    saga_of(compensatable(reserve, compensation=undo_work, name="hold", on_unknown="halt"))


async def _later(order: Order) -> Done:
    return work(order)


def _bit_by_bit(order: Order) -> Any:
    yield work(order)


@pytest.mark.parametrize("never", [_later, _bit_by_bit])
def test_a_step_that_would_never_run_is_refused(never: Any) -> None:
    """Calling an async function makes a coroutine: the step would have succeeded, and nothing would have been done."""
    _bit_by_bit.__annotations__["return"] = Done
    with pytest.raises(
        DefinitionError, match=r"pay.*: nothing of an async function .*; write a plain function \(def\)"
    ):
        saga_of(pivot(never, name="pay", keys="serialise"))


def test_a_compensation_that_would_never_run_at_all_is_refused() -> None:
    """The same the other way round: the hold would be called undone."""

    async def undo(_done: Done) -> None: ...

    never: Any = undo
    refused(
        compensatable(work, compensation=never, keys="serialise"), says=r"work \(compensation\): nothing of an async"
    )


def test_a_compensation_gives_nothing() -> None:
    """What it would give is for nobody, and may be work still to be done."""

    def undo(_done: Done) -> bool:
        return True

    wrong: Any = undo
    refused(
        compensatable(work, compensation=wrong, keys="serialise"),
        says=r"work \(compensation\): it gives <class 'bool'>, which nobody takes",
    )
