"""Whose sagas a process sees and runs: those of one environment, and of one, several or all of its tenants.

Rules of this file: a value, handed to a store when it is opened (`saga.store.opening`). The store then answers as if there were
no other sagas, so no reader and no worker can forget to ask for his own alone.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scope:
    """One environment and the tenants within it."""

    environment: str | None = None
    """None: every one. For tools and tests: of a database that serves people it is one."""
    tenants: tuple[str, ...] | None = None
    """None: every tenant of the environment."""

    def has(self, environment: str, tenant: str) -> bool:
        """Whether a saga of this environment and tenant is within."""
        return self.environment in (None, environment) and (self.tenants is None or tenant in self.tenants)

    def meets(self, other: "Scope") -> bool:
        """Whether there can be a saga that is within both."""
        if None not in (self.environment, other.environment) and self.environment != other.environment:
            return False
        return self.tenants is None or other.tenants is None or not set(self.tenants).isdisjoint(other.tenants)

    def __str__(self) -> str:
        of = "every tenant" if self.tenants is None else f"tenant {', '.join(self.tenants)}"
        return f"environment {self.environment or 'any'}, {of}"


EVERYBODY = Scope()
