"""What a connector declares and nothing reads is said to be unused."""

import ast
import re
from dataclasses import fields
from pathlib import Path

from saga.core.connector import Connector

ROOT = Path(__file__).parents[2]
UNUSED = re.compile(r"Declared, not used yet: ([^.]*)\.")


def test_a_fact_that_nothing_reads_is_named_as_unused() -> None:
    """In the docstring and in docs/guarantees.md: whoever sets such an option must not believe that it protects him. One that is
    read by now is named there no more."""
    trees = (ast.parse(path.read_text()) for path in (ROOT / "saga").rglob("*.py"))
    read = {node.attr for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    unread = {it.name for it in fields(Connector)} - read
    for text in (str(Connector.__doc__), (ROOT / "docs" / "guarantees.md").read_text()):
        said = UNUSED.search(text)
        assert set(re.findall(r"`(\w+)`", said[1] if said else "")) == unread
