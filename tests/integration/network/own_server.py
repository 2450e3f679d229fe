"""A PostgreSQL of a test's own that may be killed and misconfigured: the programs on this machine, as the user `postgres`."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from tests import services_available as servers
from tests.waiting import wait_until

OPTIONS = {
    # What is not written at a commit stays in memory: a crash loses it for certain.
    "wal_writer_delay": "10s",
    "wal_writer_flush_after": "1GB",
    "checkpoint_timeout": "1h",
    "bgwriter_delay": "10s",
    "autovacuum": "off",
    "max_connections": "30",
}


class OwnServer:
    """One data folder and the server that runs on it."""

    def __init__(self, programs: Path, folder: Path, user: str | None) -> None:
        self._programs, self._folder, self._user = programs, folder, user
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self.url = f"postgresql://saga@127.0.0.1:{self.port}/postgres"
        self._run("initdb", "-D", str(folder / "data"), "-U", "saga", "-A", "trust", "--no-sync")

    def start(self) -> None:
        """Start it and wait until it answers."""
        words = [f"-c {name}={value}" for name, value in OPTIONS.items()]
        words += [f"-p {self.port}", "-c listen_addresses=127.0.0.1", f"-k {self._folder}"]
        self._run(
            "pg_ctl",
            "-D",
            str(self._folder / "data"),
            "-l",
            str(self._folder / "log"),
            "-w",
            "-o",
            " ".join(words),
            "start",
        )

    def crash(self) -> None:
        """End the server as a crash of it would: SIGQUIT, nothing is written any more."""
        number = int((self._folder / "data" / "postmaster.pid").read_text().split()[0])
        os.kill(number, signal.SIGQUIT)
        wait_until(lambda: not (self._folder / "data" / "postmaster.pid").exists(), 20, what="the server to end")

    def stop(self) -> None:
        self._run("pg_ctl", "-D", str(self._folder / "data"), "-m", "immediate", "stop", is_checked=False)

    def say(self, statement: str) -> None:
        """Run a statement of an operator's."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(statement)

    def _run(self, program: str, *words: str, is_checked: bool = True) -> None:
        with (self._folder / f"{program}.out").open("ab") as out:
            subprocess.run(
                [self._programs / program, *words],
                stdout=out,
                stderr=out,
                check=is_checked,
                timeout=60,
                user=self._user,
                cwd=self._folder,
            )


@contextmanager
def own_server() -> Iterator[OwnServer]:
    """A server that runs until the block ends; the test is skipped where there are no programs of PostgreSQL, or no
    user to run them, and fails there when PostgreSQL is required."""
    programs = servers.postgres_program("initdb").parent
    user = _unprivileged()
    folder = Path(tempfile.mkdtemp(prefix="saga-pg-"))  # a socket's path must be short
    try:
        if user is not None:
            shutil.chown(folder, user)
        server = OwnServer(programs, folder, user)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _unprivileged() -> str | None:
    """PostgreSQL refuses to be run by root."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("postgres").pw_name
    except KeyError:
        servers.POSTGRES.is_missing("root needs a user postgres for a server of its own")
