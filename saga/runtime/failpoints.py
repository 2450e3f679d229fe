"""Places where a test may end this process: the moments that a recovery protocol must survive.

Off unless `SAGA_FAILPOINTS` names a folder. Then a process that comes past a failpoint looks for a file of its name
there, takes it away (renaming is atomic, so of several workers exactly one takes it), writes what it was doing into it, and
kills itself with SIGKILL. The file that is left is the proof that the kill hit an open attempt.
"""

import json
import os
import signal
from pathlib import Path

BEFORE_SEND, IN_CALL, BEFORE_COMMIT, IN_ROLLBACK = "before_send", "in_call", "before_commit", "in_rollback"
NAMES = (BEFORE_SEND, IN_CALL, BEFORE_COMMIT, IN_ROLLBACK)

_FOLDER = os.environ.get("SAGA_FAILPOINTS")


def reach(name: str, **facts: object) -> None:
    """Die here if somebody armed this failpoint; otherwise nothing, at the cost of one comparison."""
    if _FOLDER is None:
        return
    armed, fired = Path(_FOLDER) / name, Path(_FOLDER) / f"{name}.{os.getpid()}.fired"
    try:
        armed.rename(fired)
    except FileNotFoundError:
        return
    fired.write_text(json.dumps({"pid": os.getpid(), "failpoint": name, **{key: str(it) for key, it in facts.items()}}))
    os.kill(os.getpid(), signal.SIGKILL)


def before_commit(saga_id: str, seq: int, body: str) -> None:
    """For a journal entry that is about to be appended: it has an outcome in it, so its attempt is open until then."""
    if '"t":"attempt_ended"' in body:
        reach(IN_ROLLBACK if ':c"' in body else BEFORE_COMMIT, saga_id=saga_id, seq=seq)
