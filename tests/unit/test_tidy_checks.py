"""The checks of `tests/tidy.py` fire on what they forbid and are quiet on what they allow."""

from textwrap import dedent

import pytest

from tests import tidy

LONG = "def f() -> None:\n" + "    x = 1\n" * 61
LONG_DOCSTRING = 'def f() -> None:\n    """\n' + "    prose\n" * 80 + '    """\n    x = 1\n'

FIRES: list[tuple[tidy.Check, str, str]] = [
    (tidy.check_function_length, "saga/a.py", LONG),
    (tidy.check_function_length, "tests/a.py", LONG),
    (tidy.check_module_length, "saga/a.py", "x = 1\n" * 401),
    (tidy.check_module_docstring, "services/a.py", "x = 1\n"),
    (tidy.check_names, "saga/a.py", "class OrderManager: ..."),
    (tidy.check_names, "saga/a.py", "class BaseStore: ..."),
    (tidy.check_names, "saga/a.py", "class AbstractStore: ..."),
    (tidy.check_names, "saga/a.py", "class StoreImpl: ..."),
    (tidy.check_names, "saga/a.py", "def event_processor() -> None: ..."),
    (tidy.check_names, "saga/utils.py", ""),
    (tidy.check_names, "tests/helpers.py", ""),
    (tidy.check_names, "saga/order_handler.py", ""),
    (tidy.check_banned_imports, "tests/a.py", "from unittest import mock"),
    (tidy.check_banned_imports, "tests/a.py", "from unittest.mock import patch"),
    (tidy.check_banned_imports, "tests/a.py", "import unittest.mock"),
    (tidy.check_banned_imports, "saga/a.py", "import pickle"),
    (tidy.check_banned_calls, "saga/a.py", "eval('1')"),
    (tidy.check_banned_calls, "saga/a.py", "exec('1')"),
    (tidy.check_banned_calls, "tests/a.py", "import time\ntime.sleep(1)"),
    (tidy.check_banned_calls, "tests/a.py", "from time import sleep\nsleep(1)"),
    (tidy.check_banned_calls, "tests/a.py", "monkeypatch.setattr(store, 'append', None)"),
    (tidy.check_scoped_stores, "saga/a.py", "from saga.store.opening import open_store\nopen_store(url, pool_size=1)"),
    (tidy.check_eager_mode, "tests/a.py", "app.conf.update(task_always_eager=True)"),
    (tidy.check_eager_mode, "tests/a.py", "app.conf.task_always_eager = True"),
    (tidy.check_eager_mode, "tests/a.py", "app.conf['task_always_eager'] = True"),
    (tidy.check_eager_mode, "tests/a.py", "settings = {'task_always_eager': True}"),
    (tidy.check_skips, "tests/a.py", "pytest.skip(f'{servers.MISSING}postgres: none')"),
    (tidy.check_unfinished, "saga/a.py", "x = 1  # " + "TO" + "DO: more"),
    (tidy.check_unfinished, "tests/a.py", "# " + "FIX" + "ME"),
    (tidy.check_ambient, "saga/a.py", "from datetime import datetime, UTC\ndatetime.now(UTC)"),
    (tidy.check_ambient, "saga/a.py", "import datetime as dt\ndt.datetime.utcnow()"),
    (tidy.check_ambient, "saga/a.py", "import time\ntime.time()"),
    (tidy.check_ambient, "saga/a.py", "from time import sleep as nap\nnap(1)"),
    (tidy.check_ambient, "saga/a.py", "import random\nrandom.random()"),
    (tidy.check_ambient, "saga/a.py", "from random import choice\nchoice([1])"),
    (tidy.check_ambient, "saga/a.py", "import secrets\nsecrets.token_hex()"),
    (tidy.check_ambient, "saga/a.py", "from uuid import uuid4\nfield(default_factory=uuid4)"),
    (tidy.check_ambient, "services/a.py", "import os\nos.environ['X']"),
    (tidy.check_ambient, "services/a.py", "from os import getenv\ngetenv('X')"),
    (tidy.check_ambient, "saga/ids.py", "import time\ntime.sleep(1)"),
    (tidy.check_broad_except, "saga/a.py", "def f():\n    try: g()\n    except Exception: pass"),
    (tidy.check_broad_except, "saga/a.py", "def f():\n    try: g()\n    except: pass"),
    (tidy.check_broad_except, "saga/a.py", "def f():\n    try: g()\n    except (OSError, BaseException): pass"),
    (tidy.check_broad_except, "saga/a.py", "try: g()\nexcept Exception as e:\n    raise X from e"),
    (tidy.check_celery, "saga/a.py", "from celery import chain"),
    (tidy.check_celery, "saga/a.py", "from celery.canvas import Signature"),
    (tidy.check_celery, "saga/a.py", "self.retry()"),
    (tidy.check_celery, "examples/a.py", "task.apply_async(countdown=3)"),
    (tidy.check_celery, "saga/a.py", "task.apply_async(eta=when)"),
    (tidy.check_celery, "saga/a.py", "app.control.revoke('id')"),
    (tidy.check_celery, "saga/a.py", "app.conf.result_backend = 'rpc://'"),
    (tidy.check_celery, "saga/a.py", "app.conf.update(result_backend='rpc://')"),
    (tidy.check_status_assignment, "saga/a.py", "def cancel(s):\n    s.status = 'x'"),
    (tidy.check_status_assignment, "saga/a.py", "def cancel(s):\n    s.a, s.status = 1, 'x'"),
    (tidy.check_test_docstrings, "tests/a.py", "def test_it(): assert True"),
    (tidy.check_prose, "README.md", "A " + "ro" + "bust engine"),
]

QUIET: list[tuple[tidy.Check, str, str]] = [
    (tidy.check_function_length, "saga/a.py", LONG_DOCSTRING),
    (tidy.check_module_length, "tests/a.py", "x = 1\n" * 401),
    (tidy.check_module_docstring, "services/a.py", '"""Answers for a."""\nx = 1\n'),
    (tidy.check_module_docstring, "services/__init__.py", ""),
    (tidy.check_names, "saga/database.py", "class Implication: ...\ndef base_url() -> str: ...\nclass Handled: ..."),
    (tidy.check_banned_imports, "tests/a.py", "from unittest import TestCase\nimport copy"),
    (tidy.check_banned_calls, "saga/a.py", "clock.sleep(1)\nmodel.evaluate()"),
    (tidy.check_banned_calls, "tests/a.py", "wait_until(is_done)\nmonkeypatch.setenv('A', 'b')"),
    (
        tidy.check_scoped_stores,
        "saga/a.py",
        "from saga.store.opening import open_store\nopen_store(url, scope, pool_size=1)",
    ),
    (tidy.check_scoped_stores, "tests/a.py", "open_store(url)"),
    (tidy.check_eager_mode, "tests/a.py", "names = ['task_always_eager']  # task_always_eager is banned"),
    (tidy.check_skips, "tests/a.py", "pytest.skip('no openssl')\nservers.POSTGRES.is_missing('none')"),
    (tidy.check_unfinished, "saga/a.py", "x = '" + "TO" + "DO'  # a string is no promise"),
    (tidy.check_ambient, "saga/a.py", "import time\ntime.strftime('%Y')\nclock.now()"),
    (tidy.check_ambient, "saga/a.py", "import random\nrandom.Random(7).random()"),
    (tidy.check_ambient, "saga/clock.py", "import time\ntime.sleep(1)"),
    (tidy.check_ambient, "tests/a.py", "import os\nos.environ['X']"),
    (tidy.check_broad_except, "saga/a.py", "def f():\n    try: g()\n    except (OSError, ValueError): pass"),
    (tidy.check_broad_except, "saga/a.py", "try: g()\nexcept BaseException:\n    close()\n    raise"),
    (tidy.check_broad_except, "tests/a.py", "try: g()\nexcept Exception: pass"),
    (
        tidy.check_celery,
        "saga/a.py",
        "from celery import Celery\nfrom itertools import chain\napp.conf.result_backend = None",
    ),
    (tidy.check_celery, "benchmarks/a.py", "from celery import chain"),
    (tidy.check_status_assignment, "saga/a.py", "def evolve(s):\n    s.status = 'x'"),
    (tidy.check_status_assignment, "saga/a.py", "def f(s):\n    return s.status"),
    (tidy.check_test_docstrings, "tests/a.py", 'def test_it():\n    """A truth."""'),
    (tidy.check_prose, "README.md", "An engine"),
]


def _named(cases: list[tuple[tidy.Check, str, str]]) -> list[str]:
    return [f"{check.__name__.removeprefix('check_')}-{number}" for number, (check, _, _) in enumerate(cases)]


@pytest.mark.parametrize(("check", "path", "text"), FIRES, ids=_named(FIRES))
def test_fires(check: tidy.Check, path: str, text: str) -> None:
    """The check finds the bad example, and says in which file."""
    findings = check(path, dedent(text))
    assert findings
    assert {finding.path for finding in findings} == {path}


@pytest.mark.parametrize(("check", "path", "text"), QUIET, ids=_named(QUIET))
def test_is_quiet(check: tidy.Check, path: str, text: str) -> None:
    """The check leaves the good example alone."""
    assert check(path, dedent(text)) == []


def test_each_check_has_both_examples() -> None:
    """A check that was added without a bad and a good example fails here."""
    checks = {*tidy.CHECKS, tidy.check_prose}
    assert {check for check, _, _ in FIRES} == checks
    assert {check for check, _, _ in QUIET} == checks


def test_a_module_that_nobody_imports_is_found() -> None:
    """Neither the module itself nor a test counts as a user of a module."""
    texts = {"saga/a.py": "import saga.a", "tests/test_a.py": "import saga.a"}
    assert [finding.path for finding in tidy.check_imported(texts)] == ["saga/a.py"]


@pytest.mark.parametrize(
    "user", ["import saga.core.a", "from saga.core import a", "from saga.core.a import x", "run('saga.core.a:app')"]
)
def test_a_module_that_is_used_is_not_found(user: str) -> None:
    """Every way in which product code names a module counts as use."""
    assert tidy.check_imported({"saga/core/a.py": "x = 1", "services/b.py": user}) == []


def test_the_90th_percentile_is_that_of_product_functions() -> None:
    """Nine functions of two lines and one of five: the tail's one function in ten does not move the figure."""
    short = "".join(f"def f{n}():\n    a = 1\n    return a\n" for n in range(10))
    tail = "def g():\n" + "    a = 1\n" * 50
    assert tidy.function_lengths_p90({"saga/a.py": short + tail, "tests/b.py": tail * 9}) == 2
    assert tidy.function_lengths_p90({"saga/a.py": tail}) == 50
    assert tidy.function_lengths_p90({}) == 0
