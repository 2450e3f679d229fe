"""The shape of the code as checks: each takes a file's path and text and returns what it found.

Rules of this file
------------------
A check is a function `(path, text) -> list[Finding]`, where `path` is relative to the root of the checkout, with
slashes. It decides by itself which trees it holds for. Exceptions are data at the top, each with its reason, so that a
new one is seen in review. Checks look at the syntax tree, so prose and strings that mention a banned word are no
finding. `check_imported` and `function_lengths_p90` look at all files at once, since a file alone cannot answer.

The idea is TigerBeetle's `tidy.zig`; the limits are those of STYLE: no function over 60 lines, nine in ten within 24,
no module of product code over 400.
"""

import ast
import io
import re
import tokenize
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

PRODUCT = ("saga/", "services/", "migrations/")
SHOWN_TO_USERS = ("saga/", "examples/")
MAX_FUNCTION_LINES = 60
MAX_FUNCTION_LINES_P90 = 24
MAX_MODULE_LINES = 400

BANNED_WORDS_IN_NAMES = {"manager", "handler", "helper", "helpers", "processor", "impl"}
BANNED_CLASS_PREFIXES = {"base", "abstract"}
BANNED_MODULES = {"utils", "util", "common", "helpers", "misc"}
IMPOSED_NAMES = {"load_dialect_impl": "SQLAlchemy's TypeDecorator asks for a method of this name"}
BANNED_IMPORTS = {"unittest.mock", "mock", "pytest_mock", "pickle", "cloudpickle", "dill", "marshal"}
BANNED_CALLS = {"eval", "exec"}
UNFINISHED = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|X" + r"XX)\b")
EMPTY_ADJECTIVES = re.compile(
    r"\b(robust|seamless(ly)?|powerful|production-ready|blazing(ly)?|battle-tested|enterprise-grade|cutting-edge)\b",
    re.IGNORECASE,
)

AMBIENT = {
    "datetime.datetime.now": "clock",
    "datetime.datetime.utcnow": "clock",
    "datetime.datetime.today": "clock",
    "datetime.date.today": "clock",
    "time.time": "clock",
    "time.time_ns": "clock",
    "time.monotonic": "clock",
    "time.monotonic_ns": "clock",
    "time.sleep": "sleep",
    "uuid.uuid1": "chance",
    "uuid.uuid4": "chance",
    "os.urandom": "chance",
    "os.environ": "environment",
    "os.environb": "environment",
    "os.getenv": "environment",
}
"""What a module may know of the world without being told, and the kind of it. `random.*` and `secrets.*` are chance."""

AMBIENT_ALLOWED: dict[str, tuple[frozenset[str], str]] = {
    "saga/clock.py": (frozenset({"clock", "sleep"}), "the only now and the only sleep"),
    "saga/settings.py": (frozenset({"environment"}), "where the environment is read"),
    "saga/ids.py": (frozenset({"clock", "chance"}), "uuid7 is made of milliseconds and of noise"),
    "saga/runtime/failpoints.py": (frozenset({"environment"}), "a kill switch for tests must not be a setting"),
    "saga/surfaces/embedded.py": (frozenset({"environment"}), "steps that read settings live in this process"),
    "services/skeleton/clock.py": (frozenset({"clock"}), "the services know only the barrier of the engine"),
}

BROAD_EXCEPT_ALLOWED: dict[tuple[str, str], str] = {
    ("saga/words.py", "_guarded"): "the user's `__str__` or `__repr__` is called",
    ("saga/runtime/prepare.py", "prepare"): "the user's step function is called, and its request model is serialised",
    ("saga/core/fingerprint.py", "_schema"): "the user's types make their part of the schema",
    ("saga/runtime/readback.py", "written"): "the user's model writes a value, reads it and compares it",
    ("saga/runtime/executor.py", "Executor.perform"): "a participant's answer is read by the user's model",
    ("saga/runtime/functions.py", "run_function"): "the user's function step is called",
    ("saga/runtime/functions.py", "_raised"): "the user's exception is looked at, and his classifier called",
    ("saga/runtime/loop.py", "attempted"): "receivers of Celery's signals stand around an attempt",
    ("saga/surfaces/finding.py", "_import"): "the user's module is imported",
    ("saga/surfaces/inputs.py", "read_by"): "the validators of the user's model are called",
    ("saga/surfaces/cli/completing.py", "references"): "a shell asks in the middle of a line: no candidate, no report",
    ("saga/runtime/engine.py", "row_of"): "the user's projection is called",
    ("saga/store/refusing.py", "keeping_decisions"): "a table of the user's is written, with whatever triggers it has",
    ("saga/store/refusing.py", "_apart"): "the same, for one saga",
    ("saga/runtime/starting.py", "entity_of"): "the user's function is called",
    ("saga/runtime/starting.py", "Starter._answering"): "guard of an endless loop: every caller gets an answer",
    ("saga/runtime/loop.py", "messages_for"): "one bad row never stops the scan",
    ("saga/runtime/driver.py", "Driver._leaving_alone"): "one saga that cannot be worked on never stops the others",
    ("saga/runtime/driver.py", "Driver._process"): "claims are given back, then it is raised again",
    ("saga/runtime/worker.py", "Worker._rescue"): "guard of an endless loop: recovery is repeated for ever",
    ("saga/runtime/lease.py", "Lease._renew"): "guard of an endless loop: the lease is renewed for ever",
    (
        "saga/runtime/celery/attaching.py",
        "Attachment._begin_patiently",
    ): "guard of an endless loop: a child finds nothing else",
    ("saga/runtime/task.py", "TaskWorker._rescue"): "guard of an endless loop: recovery is repeated for ever",
    ("saga/runtime/task.py", "TaskWorker._help"): "guard of a rescue: the saga stays due",
    ("saga/runtime/celery/attempts.py", "Announcer._run"): "guard of an endless loop: events are best effort",
    ("saga/runtime/celery/publisher.py", "Publisher._run"): "guard of an endless loop: hints are best effort",
    (
        "saga/surfaces/following.py",
        "Follower._look",
    ): "guard of an endless loop: one bad row never ends the looks of others",
}
"""(module, function) -> why: where user code is called, or the guard of an endless loop."""

ENTRY_POINTS = {
    "saga.surfaces.cli": "the console script",
    "saga.barrier": "for participants",
    "saga.testing.participant": "for tests of participants",
}

CANVAS = {"chain", "group", "chord", "chunks", "xmap", "xstarmap"}
CELERY_KEYWORDS = {"countdown": "the due instant is in the journal", "eta": "the due instant is in the journal"}
CELERY_METHODS = {"retry": "there is one retry brain, the machine", "revoke": "a cancel is an event of the saga"}


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    path: str
    line: int
    rule: str
    detail: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.rule}: {self.detail}"


Check = Callable[[str, str], list[Finding]]
FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


@lru_cache(maxsize=1024)
def _tree(text: str) -> ast.Module:
    return ast.parse(text)


def _functions(tree: ast.Module) -> Iterator[FunctionNode]:
    return (node for node in ast.walk(tree) if isinstance(node, FunctionNode))


def function_lines(node: FunctionNode) -> int:
    """Lines from the first statement after the docstring to the last."""
    body = node.body[1:] if ast.get_docstring(node, clean=False) is not None else node.body
    return (body[-1].end_lineno or body[-1].lineno) - body[0].lineno + 1 if body else 0


def check_function_length(path: str, text: str) -> list[Finding]:
    return [
        Finding(path, node.lineno, "function-length", f"{node.name} has {lines} lines, at most {MAX_FUNCTION_LINES}")
        for node in _functions(_tree(text))
        if (lines := function_lines(node)) > MAX_FUNCTION_LINES
    ]


def check_module_length(path: str, text: str) -> list[Finding]:
    lines = len(text.splitlines())
    if not path.startswith(PRODUCT) or lines <= MAX_MODULE_LINES:
        return []
    return [Finding(path, 1, "module-length", f"{lines} lines, at most {MAX_MODULE_LINES}")]


def check_module_docstring(path: str, text: str) -> list[Finding]:
    if not path.startswith(PRODUCT) or not text.strip() or ast.get_docstring(_tree(text)):
        return []
    return [Finding(path, 1, "module-docstring", "say in one sentence what the module answers for")]


def _words(name: str) -> list[str]:
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)]


def check_names(path: str, text: str) -> list[Finding]:
    module = path.rsplit("/", 1)[-1].removesuffix(".py")
    found = []
    if module in BANNED_MODULES or BANNED_WORDS_IN_NAMES & set(_words(module)):
        found.append(Finding(path, 1, "name", f"module {module} says nothing; name what it holds"))
    for node in ast.walk(_tree(text)):
        if not isinstance(node, FunctionNode | ast.ClassDef) or node.name in IMPOSED_NAMES:
            continue
        words = _words(node.name)
        vague = BANNED_WORDS_IN_NAMES & set(words)
        if isinstance(node, ast.ClassDef) and words and words[0] in BANNED_CLASS_PREFIXES:
            vague = vague | {words[0]}
        if vague:
            found.append(Finding(path, node.lineno, "name", f"{node.name}: {', '.join(sorted(vague))} says nothing"))
    return found


def _aliases(tree: ast.Module) -> dict[str, str]:
    """Local name -> dotted name, from every import of the file."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                names[alias.asname or alias.name.split(".")[0]] = (
                    alias.name if alias.asname else alias.name.split(".")[0]
                )
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return names


def _dotted(node: ast.expr, aliases: Mapping[str, str]) -> str:
    if isinstance(node, ast.Name):
        return aliases.get(node.id, "")
    if isinstance(node, ast.Attribute):
        owner = _dotted(node.value, aliases)
        return f"{owner}.{node.attr}" if owner else ""
    return ""


def _imports(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of everything imported: of `from a import b` both `a` and `a.b`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.lineno, node.module
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def check_banned_imports(path: str, text: str) -> list[Finding]:
    found = {
        Finding(path, line, "import", f"{banned} is banned")
        for line, name in _imports(_tree(text))
        for banned in BANNED_IMPORTS
        if name == banned or name.startswith(f"{banned}.")
    }
    return sorted(found)


def check_banned_calls(path: str, text: str) -> list[Finding]:
    found = []
    for node in ast.walk(_tree(text)):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
        if isinstance(node.func, ast.Name) and name in BANNED_CALLS:
            found.append(Finding(path, node.lineno, "call", f"{name}() is banned"))
        if path.startswith("tests/") and name == "sleep":
            found.append(Finding(path, node.lineno, "call", "a test waits on a condition: tests.waiting.wait_until"))
        if path.startswith("tests/") and ast.unparse(node.func) == "monkeypatch.setattr":
            found.append(Finding(path, node.lineno, "call", "no test replaces a part of the code under test"))
    return found


EAGER_ALLOWED = {"tests/unit/runtime/test_demands.py": "an app has it on, and a step's task refuses it"}


def check_eager_mode(path: str, text: str) -> list[Finding]:
    if path in EAGER_ALLOWED:
        return []
    found = [
        Finding(path, line, "eager", f"{name}: eager mode tests another program than the one that runs")
        for line, name in _settings(_tree(text))
        if name in {"task_always_eager", "CELERY_TASK_ALWAYS_EAGER", "CELERY_ALWAYS_EAGER"}
    ]
    return sorted(found)


def _settings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """(line, name) of what is set: keywords, attributes, keys of a dict or a subscript."""
    for line, name, _ in _settings_with_values(tree):
        yield line, name


def _settings_with_values(tree: ast.Module) -> Iterator[tuple[int, str, ast.expr]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield from ((kw.value.lineno, kw.arg, kw.value) for kw in node.keywords if kw.arg)
        elif isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and isinstance(key.value, str):
                    yield key.lineno, key.value, value
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Attribute):
                    yield node.lineno, target.attr, node.value
                elif isinstance(target, ast.Subscript) and isinstance(target.slice, ast.Constant):
                    yield node.lineno, str(target.slice.value), node.value


def check_skips(path: str, text: str) -> list[Finding]:
    """A skip for want of a server is `Peer.is_missing`, which fails where SAGA_TEST_REQUIRE names the server."""
    if not path.startswith("tests/") or path == "tests/services_available.py":
        return []
    return [
        Finding(
            path, node.lineno, "skip", "a server that is missing is Peer.is_missing: SAGA_TEST_REQUIRE makes it fail"
        )
        for node in ast.walk(_tree(text))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.skip" and "MISSING" in ast.unparse(node)
    ]


def check_unfinished(path: str, text: str) -> list[Finding]:
    comments = (
        token for token in tokenize.generate_tokens(io.StringIO(text).readline) if token.type == tokenize.COMMENT
    )
    return [
        Finding(path, token.start[0], "unfinished", token.string.strip())
        for token in comments
        if UNFINISHED.search(token.string)
    ]


def check_ambient(path: str, text: str) -> list[Finding]:
    if not path.startswith((*PRODUCT, "examples/")):
        return []
    allowed = AMBIENT_ALLOWED.get(path, (frozenset(), ""))[0]
    tree = _tree(text)
    aliases = _aliases(tree)
    found = set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.Name | ast.Attribute):
            continue
        name = _dotted(node, aliases)
        kind = AMBIENT.get(name, "chance" if _is_chance(name) else "")
        if kind and kind not in allowed:
            found.add(Finding(path, node.lineno, "ambient", f"{name} ({kind}) belongs in its one module"))
    return sorted(found)


def _is_chance(name: str) -> bool:
    """`random.Random(seed)` is repeatable and so no chance; the functions of the modules are."""
    return name.startswith(("random.", "secrets.")) and not name.startswith("random.Random")


Owned = tuple[str, ast.AST]


def _with_owner(tree: ast.Module) -> Iterator[Owned]:
    """(qualified name of the enclosing function or class, node) for every node of the file."""

    def walk(owner: str, node: ast.AST) -> Iterator[Owned]:
        for child in ast.iter_child_nodes(node):
            yield owner, child
            inner = f"{owner}.{child.name}".lstrip(".") if isinstance(child, FunctionNode | ast.ClassDef) else owner
            yield from walk(inner, child)

    return walk("", tree)


def check_broad_except(path: str, text: str) -> list[Finding]:
    """One that cleans up and ends in a bare `raise` hides nothing, and is no finding."""
    if not path.startswith((*PRODUCT, "examples/")):
        return []
    found = []
    for owner, node in _with_owner(_tree(text)):
        if not isinstance(node, ast.ExceptHandler):
            continue
        caught = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
        broad = any(kind is None or ast.unparse(kind) in {"Exception", "BaseException"} for kind in caught)
        last = node.body[-1]
        if isinstance(last, ast.Raise) and last.exc is None:
            continue
        if broad and (path, owner) not in BROAD_EXCEPT_ALLOWED:
            found.append(Finding(path, node.lineno, "broad-except", f"in {owner or 'the module'}: name what is caught"))
    return found


def check_celery(path: str, text: str) -> list[Finding]:
    """What the journal makes needless in Celery, and what RabbitMQ or Redis then do otherwise than one thinks."""
    if not path.startswith(SHOWN_TO_USERS):
        return []
    tree = _tree(text)
    return sorted(
        Finding(path, line, "celery", detail) for line, detail in [*_celery_calls(tree), *_celery_setup(tree)]
    )


def _celery_calls(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        if isinstance(node.func, ast.Attribute) and (why := CELERY_METHODS.get(node.func.attr)):
            yield node.lineno, f".{node.func.attr}(): {why}"
        for keyword in node.keywords:
            if keyword.arg and (why := CELERY_KEYWORDS.get(keyword.arg)):
                yield node.lineno, f"{keyword.arg}=: {why}"


def _celery_setup(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for line, name in _imports(tree):
        if name.startswith("celery.") and (name.split(".")[-1] in CANVAS or name == "celery.canvas"):
            yield line, f"{name}: no canvas, the machine knows the order"
    for line, name, value in _settings_with_values(tree):
        if name == "result_backend" and not (isinstance(value, ast.Constant) and value.value is None):
            yield line, "result_backend: results are journalled"


def check_status_assignment(path: str, text: str) -> list[Finding]:
    if not path.startswith("saga/"):
        return []
    found = []
    for owner, node in _with_owner(_tree(text)):
        if not (isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and node.attr == "status"):
            continue
        if owner.split(".")[-1] not in {"evolve", "__init__"}:
            found.append(Finding(path, node.lineno, "status", f"in {owner}: a status changes in evolve"))
    return found


def check_scoped_stores(path: str, text: str) -> list[Finding]:
    """Without a scope a store has the sagas of everybody and looks at no binding, which is for tools and tests."""
    if not path.startswith("saga/"):
        return []
    tree = _tree(text)
    aliases = _aliases(tree)
    return [
        Finding(path, node.lineno, "scope", "open_store(url, scope): whose sagas does this process see?")
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and _dotted(node.func, aliases).endswith("open_store")
        and len(node.args) < 2
        and all(keyword.arg != "scope" for keyword in node.keywords)
    ]


def check_test_docstrings(path: str, text: str) -> list[Finding]:
    if not path.startswith("tests/"):
        return []
    return [
        Finding(path, node.lineno, "test-docstring", f"{node.name}: which truth does it prove?")
        for node in _functions(_tree(text))
        if node.name.startswith("test_") and not ast.get_docstring(node)
    ]


def check_prose(path: str, text: str) -> list[Finding]:
    """For documents: a word that claims and says nothing."""
    return [
        Finding(path, number, "adjective", match.group())
        for number, line in enumerate(text.splitlines(), start=1)
        for match in EMPTY_ADJECTIVES.finditer(line)
    ]


CHECKS: tuple[Check, ...] = (
    check_function_length,
    check_module_length,
    check_module_docstring,
    check_names,
    check_banned_imports,
    check_banned_calls,
    check_eager_mode,
    check_skips,
    check_unfinished,
    check_ambient,
    check_broad_except,
    check_celery,
    check_status_assignment,
    check_scoped_stores,
    check_test_docstrings,
)


def module_name(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def check_imported(texts: Mapping[str, str]) -> list[Finding]:
    """Modules of `saga/` that no product code names, by import or as a string like `saga.surfaces.api:app`."""
    named = set(ENTRY_POINTS)
    for path, text in texts.items():
        if not path.startswith((*PRODUCT, "examples/")):
            continue
        own = module_name(path)
        strings = (n.value for n in ast.walk(_tree(text)) if isinstance(n, ast.Constant) and isinstance(n.value, str))
        named |= {name for _, name in _imports(_tree(text)) if name != own}
        named |= {string.split(":")[0] for string in strings if string.startswith("saga.")}
    return [
        Finding(path, 1, "unused-module", f"{module_name(path)} is imported by nobody and is no entry point")
        for path in sorted(texts)
        if path.startswith("saga/")
        and not path.endswith(("/__init__.py", "/__main__.py"))
        and module_name(path) not in named
    ]


def function_lengths_p90(texts: Mapping[str, str]) -> int:
    """Lines of the function that nine in ten of the product's functions do not exceed."""
    lengths = sorted(
        function_lines(node)
        for path, text in texts.items()
        if path.startswith(PRODUCT)
        for node in _functions(_tree(text))
    )
    return lengths[int(0.9 * (len(lengths) - 1))] if lengths else 0
