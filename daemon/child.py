"""A child process that speaks JSON lines."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from acclimate.configs.adapt import AdaptConfig
from acclimate.daemon import cgroup
from acclimate.daemon.background import step_back
from acclimate.daemon.processes import PROCESSES, command, environment

LOG_LIMIT = 2**20
LAST_WORDS = 5.0
Message = dict[str, Any]


class Child:
    """Started on construction in its own session; its stderr goes to `log`. `limits` are what a
    background process may take; those the kernel does not keep are its owner's to watch."""

    def __init__(
        self, name: str, arguments: list[str], log: Path, limits: AdaptConfig | None = None
    ) -> None:
        self.name, self.log, self._kills = name, log, cgroup.kills()
        with _opened(log) as errors:
            self._process = subprocess.Popen(
                command(name, arguments), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=errors, text=True, errors="replace", start_new_session=True,
                env=environment(name, limits),
            )  # fmt: skip
        if PROCESSES[name].background:
            cgroup.confine(self.pid, limits)
            step_back(self.pid)
        self._events: queue.Queue[Message] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it lives or has words left to be read; negative: the signal that killed it."""
        unheard = self._reader.is_alive() or not self._events.empty()
        return None if unheard else self._process.poll()

    @property
    def starved(self) -> bool:
        """Did the kernel end it because memory ran out? Only a capped one can tell."""
        return self._process.poll() == -signal.SIGKILL and cgroup.kills() > self._kills

    def events(self) -> list[Message]:
        """What it said since the last call."""
        said = []
        with contextlib.suppress(queue.Empty):
            while True:
                said.append(self._events.get_nowait())
        return said

    def send(self, message: Message) -> None:
        """One JSON line to its stdin; a child that is gone does not hear it."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError, ValueError):
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()

    def stop(self, timeout: float) -> None:
        """Ask it to end, kill it after `timeout` seconds."""
        self._signal(signal.SIGTERM)
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
        self._reader.join(LAST_WORDS)

    def kill(self) -> None:
        """End it and its children at once. One that the kernel cannot end (it hangs in a driver) is
        not waited for: its `exit_code` stays None until it goes."""
        self._signal(signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(LAST_WORDS)
        self._reader.join(LAST_WORDS)

    def hold(self) -> None:
        """Stop it and its children where they are, until `let_go`."""
        self._signal(signal.SIGSTOP)

    def let_go(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def memory_mb(self) -> float:
        """Resident memory in MiB; 0 for a process that is gone."""
        try:
            pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        except (OSError, IndexError):
            return 0.0
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    def _signal(self, number: signal.Signals) -> None:
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)

    def _message(self, line: str) -> Message:
        """A line as an event; anything else that was printed becomes an error event."""
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            message = None
        if isinstance(message, dict) and isinstance(message.get("event"), str):
            return message
        return {"event": "error", "message": f"{self.name} said {line.strip()!r}"}

    def _read(self) -> None:
        """Its lines until it is gone; its pipes go with it, however it ended."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self._events.put(self._message(line))
        self._process.wait()
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()


@contextlib.contextmanager
def _opened(log: Path) -> Iterator[IO[str] | None]:
    """Where its errors go; None, to our own, where the disk refuses."""
    with contextlib.ExitStack() as stack:
        try:
            log.parent.mkdir(parents=True, exist_ok=True)
            if log.exists() and log.stat().st_size > LOG_LIMIT:
                os.truncate(log, 0)
            file: IO[str] | None = stack.enter_context(log.open("a"))  # two may write to it
        except OSError as error:
            print(f"{log}: {error}; it writes here instead", file=sys.stderr)
            file = None
        yield file
