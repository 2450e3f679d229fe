"""Every mutant, floor by floor."""

from tests.mutants.core import CORE
from tests.mutants.customers import CUSTOMERS
from tests.mutants.files import FILES
from tests.mutants.mutant import Mutant
from tests.mutants.participants import PARTICIPANTS
from tests.mutants.runtime import RUNTIME
from tests.mutants.store import STORE
from tests.mutants.surfaces import SURFACES
from tests.mutants.tenancy import TENANCY

MUTANTS: tuple[Mutant, ...] = (*CORE, *PARTICIPANTS, *STORE, *RUNTIME, *CUSTOMERS, *FILES, *SURFACES, *TENANCY)
