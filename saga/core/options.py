"""What an option of a step, a saga, a connector or a retry policy may be; refused where it is written, with what to write.

Rules of this file: a table of rules for each of them, and one function that holds a value to its table. A rule is whether a
value may stand there, and the sentence that says what may. What two options are worth together is for those who own them.
"""

import inspect
import re
from collections.abc import Callable, Mapping
from functools import partial, partialmethod, singledispatchmethod
from types import MappingProxyType, MethodType
from typing import Any

from saga.errors import DefinitionError
from saga.words import shown

LONGEST_S = 315_360_000.0
DURATION = "it is a number of seconds above 0, and below ten years"
QUEUE = re.compile(r"[A-Za-z0-9_.-]{1,200}")
HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
ROLLBACK = ".rollback"
"""What the queue of a step's compensation is called behind the queue of its action."""

Rule = tuple[Callable[[object], bool], str]


def hold(where: str, owner: object, rules: Mapping[str, Rule]) -> None:
    """Raises `DefinitionError` for the first option of `owner` that breaks its rule."""
    for name, (is_sound, says) in rules.items():
        value = getattr(owner, name)
        if not is_sound(value):
            raise DefinitionError(f"{where}: {name}={shown(value)}; {says}")


def is_number(value: object) -> bool:
    """Whether it is a number; `True` is none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_duration(value: object) -> bool:
    """Whether an instant so many seconds from now is one that every database can hold."""
    return is_number(value) and 0 < value < LONGEST_S  # type: ignore[operator]


def is_wait(value: object) -> bool:
    """Whether it is a duration that may be nothing."""
    return is_number(value) and 0 <= value < LONGEST_S  # type: ignore[operator]


def is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def is_flag(value: object) -> bool:
    return isinstance(value, bool)


def is_queue(value: object) -> bool:
    """Whether a queue may be called so; the queue of a compensation is called after that of its action."""
    return isinstance(value, str) and QUEUE.fullmatch(value) is not None and not value.endswith(ROLLBACK)


def is_identifier(value: object) -> bool:
    return isinstance(value, str) and value.isidentifier()


def is_header(value: object) -> bool:
    return isinstance(value, str) and HEADER.fullmatch(value) is not None


def are_exceptions(value: object) -> bool:
    """Whether it is a tuple of classes of exceptions, as `except` takes it."""
    return isinstance(value, tuple) and all(isinstance(it, type) and issubclass(it, Exception) for it in value)


def are_statuses(value: object) -> bool:
    return isinstance(value, tuple) and all(is_count(it) for it in value)


def why_unrun(function: object) -> str:
    """Why a call of it does not run its body, or not each time; empty for a plain function."""
    function = _unwrapped(function)
    if isinstance(function, type):
        return "a class makes an object when it is called, and nothing is done"
    if _keeps_answers(function):
        return "a function that keeps its answers (functools.cache) does not run a second time"
    return "" if answers_at_once(function) else "nothing of an async function or a generator runs when it is called"


def answers_at_once(function: object) -> bool:
    """Whether it can be called, and the call gives what its body returns: it is neither async nor a generator, in no disguise."""
    if not callable(function):
        return False
    function = _unwrapped(function)
    if _keeps_answers(function):
        function = _unwrapped(getattr(function, "__wrapped__", function))
    called = _unwrapped(inspect.getattr_static(type(function), "__call__", None))  # of an object that is called
    kinds = (inspect.iscoroutinefunction, inspect.isasyncgenfunction, inspect.isgeneratorfunction)
    return not any(is_kind(it) for is_kind in kinds for it in (function, called, *_dispatched(function)))


def _unwrapped(function: Any) -> Any:
    """What Python calls in the end."""
    while True:
        if isinstance(function, partial | partialmethod):
            function = function.func
        elif isinstance(function, staticmethod | classmethod | MethodType):
            function = function.__func__
        else:
            return function


def _keeps_answers(function: object) -> bool:
    """An object that has any attribute one asks for, as those of `unittest.mock`, has this one by no class and no dictionary."""
    return inspect.getattr_static(function, "cache_info", None) is not None


def _dispatched(function: object) -> list[object]:
    """The functions among which `functools.singledispatch` chooses by the class of what it is called with."""
    method = getattr(inspect.getattr_static(function, "register", None), "__self__", None)
    dispatcher = method.dispatcher if isinstance(method, singledispatchmethod) else function
    registry = inspect.getattr_static(dispatcher, "registry", None)
    return [_unwrapped(it) for it in registry.values()] if isinstance(registry, MappingProxyType) else []


def one_of(*values: str) -> Rule:
    return lambda value: value in values, f"it is one of {', '.join(values)}"


def a(kind: type | tuple[type, ...], says: str) -> Rule:
    return lambda value: isinstance(value, kind), says


def perhaps(rule: Rule) -> Rule:
    """The same, or None."""
    return lambda value: value is None or rule[0](value), rule[1]


A_DURATION: Rule = (is_duration, DURATION)
A_WAIT: Rule = (is_wait, "it is a number of seconds, 0 or more, and below ten years")
A_FLAG: Rule = (is_flag, "it is True or False")
A_QUEUE: Rule = (is_queue, f"letters, digits, '_', '-' and '.', not ending with {ROLLBACK!r}")
A_NAME: Rule = (is_identifier, "letters, digits and '_', and no digit at the beginning")
AT_ONCE = "it is neither async nor a generator"
A_FUNCTION: Rule = (callable, "it is a function or an operation")
EXCEPTIONS: Rule = (are_exceptions, "it is a tuple of classes of exceptions: write rejects=(OutOfStock,)")
