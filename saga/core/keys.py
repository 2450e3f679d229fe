"""Idempotency keys: stable over attempts, deploys and restored backups, and never shared by two shops.

The *logical* key `<definition>:<entity>:<run>:<step>:<a|c>:<generation>` is what people read in the journal. The *wire*
key is base32 of a hash over (environment, tenant, logical key), cut to what the participant takes: some providers take
32 characters, and a staging system must never share a key with production. The generation rises only with a new business
intent, never per attempt.
"""

from base64 import b32encode
from hashlib import sha256

from saga.core.fold import SagaState
from saga.core.states import Direction
from saga.core.steps import Step

GENERATION = 1


def logical_key(definition: str, entity: str, run: int, node: str) -> str:
    """The key of a node such as `capture_payment:a`."""
    return f"{definition}:{entity}:{run}:{node}:{GENERATION}"


def wire_key(environment: str, tenant: str, logical: str, key_max: int = 32) -> str:
    """The key as it is sent: `a-z2-7`, at most `key_max` characters, at least 100 bits of the hash."""
    digest = sha256("\x1f".join((environment, tenant, logical)).encode()).digest()
    return b32encode(digest).decode().lower().rstrip("=")[: min(key_max, 32)]


def keys_of(state: SagaState, step: Step, direction: Direction) -> tuple[str, str]:
    """The logical key of a step in one direction of this saga, and the wire key."""
    connector = step.connector_in(direction)
    logical = logical_key(state.definition, state.entity, state.run, f"{step.name}:{direction}")
    return logical, wire_key(state.environment, state.tenant, logical, connector.key_max if connector else 32)
