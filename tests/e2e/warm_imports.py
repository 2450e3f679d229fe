"""What the process that commands are forked from imports before the first (`tests.e2e.warm`)."""

from tests.e2e.warm import import_all

import_all()
