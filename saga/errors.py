"""Every exception that a caller of `saga` can meet, in one hierarchy.

Rules of this file: the core speaks in values, so these are for callers and for bugs. Each error has typed attributes,
its message says what is wrong, with which id, and what to do next, and it survives pickling, because Celery pickles
what leaves a task (`args` are the constructor's arguments).
"""


class SagaError(Exception):
    """The root: `except SagaError` catches what this package raises on purpose and nothing else."""


class DefinitionError(SagaError):
    """A saga definition that cannot be run; raised while it is built, with what to write instead."""


class UsageError(SagaError):
    """A command or a setting that cannot be obeyed; the message says what to type instead."""


class IllegalTransition(SagaError):
    """A transition that the table in `saga.core.states` does not hold: a bug or a corrupt journal, never a race."""

    def __init__(self, saga_id: str, status: str, transition: str) -> None:
        super().__init__(saga_id, status, transition)
        self.saga_id, self.status, self.transition = saga_id, status, transition

    def __str__(self) -> str:
        return f"saga {self.saga_id}: no transition {self.transition} from {self.status}; compare `saga journal {self.saga_id}`"


class JournalDamaged(IllegalTransition):
    """A journal that is not whole: entries are missing at its end or in between, or are not the ones that were written."""

    def __init__(self, saga_id: str, why: str) -> None:
        SagaError.__init__(self, saga_id, why)
        self.saga_id, self.status, self.transition = saga_id, "its journal", why

    def __str__(self) -> str:
        return f"saga {self.saga_id}: its journal is damaged, and nothing of it is sent any more: {self.transition}"


class ConcurrencyError(SagaError):
    """Somebody else appended to this saga first; reading the tail and deciding again is always safe."""

    def __init__(self, saga_id: str, seq: int) -> None:
        super().__init__(saga_id, seq)
        self.saga_id, self.seq = saga_id, seq

    def __str__(self) -> str:
        return f"saga {self.saga_id}: journal entry {self.seq} was written by somebody else; read it and decide again"


class SagaNotFound(SagaError):
    """No saga, order or prefix of that name in this environment and tenant."""

    def __init__(self, reference: str, scope: str = "") -> None:
        super().__init__(reference, scope)
        self.reference, self.scope = reference, scope

    def __str__(self) -> str:
        where = f" in {self.scope}" if self.scope else ""
        return f"no saga with id, order or prefix {self.reference!r}{where}; `saga list` shows what there is"


class DuplicateOrder(SagaError):
    """The entity has a saga that was not rolled back; starting another would take its effects twice."""

    def __init__(self, entity: str, saga_id: str) -> None:
        super().__init__(entity, saga_id)
        self.entity, self.saga_id = entity, saga_id

    def __str__(self) -> str:
        return f"{self.entity} already has saga {self.saga_id}; only a compensated one may be started again"


class KeyReused(SagaError):
    """The caller's request key (over HTTP its Idempotency-Key) was used before with another request."""

    def __init__(self, request_key: str, saga_id: str) -> None:
        super().__init__(request_key, saga_id)
        self.request_key, self.saga_id = request_key, saga_id

    def __str__(self) -> str:
        return f"request key {self.request_key!r} belongs to another request (saga {self.saga_id}); send a new key"


class FingerprintChanged(SagaError):
    """A definition whose structure changed under the same version; sagas of that version would change their path."""

    def __init__(self, definition: str, version: int, stored: str, offered: str) -> None:
        super().__init__(definition, version, stored, offered)
        self.definition, self.version, self.stored, self.offered = definition, version, stored, offered

    def __str__(self) -> str:
        return (
            f"{self.definition} v{self.version} is stored with fingerprint {self.stored[:12]} and the code has "
            f"{self.offered[:12]}: raise the version to {self.version + 1}, and keep the old definition while its sagas run"
        )


class CodecError(SagaError):
    """Journal text that this release cannot read or a value that JSON cannot hold."""


class StoreUnavailable(SagaError):
    """The database did not answer; nothing is known to be stored. The same call may be repeated: it is idempotent."""


class BrokerRefuses(SagaError):
    """The broker answers and does not let us in: user, password, virtual host or database are for a person to mend."""


class DataRefused(SagaError):
    """The database refused the value itself (a NUL byte, a number out of range): repeating cannot help."""

    def __init__(self, saga_id: str, reason: str) -> None:
        super().__init__(saga_id, reason)
        self.saga_id, self.reason = saga_id, reason

    def __str__(self) -> str:
        return f"saga {self.saga_id}: the database refuses the data: {self.reason}"


class NotReadBack(SagaError):
    """A value that its model does not read back from JSON as it was: every later step would get another one."""

    def __init__(self, what: str, field: str, why: str) -> None:
        super().__init__(what, field, why)
        self.what, self.field, self.why = what, field, why

    def __str__(self) -> str:
        where = f", {self.field}" if self.field else ""
        return f"{self.what}{where}: {self.why}"


class StepError(SagaError):
    """What a function step raises to say how its attempt ended; anything else it raises is a defect, effect unknown."""


class Rejected(StepError):
    """A business "no": nothing was done and nothing will be. Before the pivot it rolls the saga back."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class NotSent(StepError):
    """Nothing left this process (refused, no route): tried again, and it costs no attempt."""


class Throttled(StepError):
    """The other side answered before any work; `retry_after_s` seconds are waited, capped by the step's policy."""

    def __init__(self, retry_after_s: float | None = None) -> None:
        super().__init__(retry_after_s)
        self.retry_after_s = retry_after_s


class Unknown(StepError):
    """It was sent and nobody knows whether it was done: repeated where repeats are safe, else a person settles it."""
