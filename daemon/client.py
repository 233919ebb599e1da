"""The command line's way to a running daemon: its control socket."""

from __future__ import annotations

import contextlib
import http.client
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from acclimate.daemon.main import only_one
from acclimate.daemon.unix import connected, user_name
from acclimate.errors import ConfigError, SwapRefused

PATIENCE, PAUSE = 20.0, 0.2
TIMEOUT = 60.0  # longer than the daemon takes to say that it could not


class Daemon:
    """The one that holds a state folder."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """What it answers; raises SwapRefused with its reason, ConnectionError when it is gone."""
        connection = _Connection(self._path)
        try:
            content = None if body is None else json.dumps(body)
            headers = {} if body is None else {"Content-Type": "application/json"}
            connection.request(method, path, content, headers)
            answer = connection.getresponse()
            told = json.loads(answer.read())
        except (http.client.HTTPException, ValueError) as error:
            raise ConnectionError(f"{self._path}: {error!r}") from error
        finally:
            connection.close()
        if answer.status >= 400:
            raise SwapRefused(_words(told["detail"]))
        return told


def _words(detail: object) -> str:
    """A refusal's text; FastAPI tells of malformed wishes as a list."""
    if isinstance(detail, list):
        return "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in detail)
    return str(detail)


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=TIMEOUT)
        self._path = path

    def connect(self) -> None:
        self.sock = connected(self._path, TIMEOUT)


@contextlib.contextmanager
def holder_of(state: Path) -> Iterator[Daemon | None]:
    """Who holds the state folder; None: nobody else, we do until the block ends.

    Raises SwapRefused where a daemon holds it and does not answer.
    """
    path, deadline = state / "control.sock", time.monotonic() + PATIENCE
    with contextlib.ExitStack() as hold:
        while not (daemon := _answers(path)):
            try:
                hold.enter_context(only_one(state))
                break
            except ConfigError:
                if time.monotonic() > deadline:
                    raise SwapRefused(
                        f"the daemon on {state} does not answer at {path}: it is still starting, "
                        "it hangs, or it has no socket (control.socket is off, or the disk takes "
                        "none); see `acclimate doctor`"
                    ) from None
                time.sleep(PAUSE)
        yield Daemon(path) if daemon else None


def _answers(path: Path) -> bool:
    try:
        connected(path, PATIENCE).close()
    except PermissionError:
        owner = path.stat()
        raise SwapRefused(
            f"you may not control this daemon: {path} is {user_name(owner.st_uid)}'s; use sudo, or "
            "name a group of yours in control.group"
        ) from None
    except OSError:
        return False
    return True
