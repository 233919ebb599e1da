"""One large file over HTTP: goes on where it stopped, and is there whole or not at all."""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import os
import re
import shutil
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from acclimate.errors import CheckpointError, DownloadError
from acclimate.runtime.durable import sync

BLOCK, TIMEOUT, TRIES = 1 << 18, 30.0, 5
MOST_BYTES = 16 << 30  # of a server that never stops
_BROKEN = (http.client.HTTPException, ConnectionError, TimeoutError)


class _CutError(Exception):
    """The connection ended early; what came is kept, and another try may go on."""


def download(
    address: str, target: Path, accept: Callable[[Path], None], pause: float = 1.0
) -> None:
    """Fetch `address` to `target` by way of `<target>.part`; an earlier part is gone on with.

    `accept` looks at the whole part before it gets its name; a part it refuses (CheckpointError)
    is deleted. Progress goes to stderr. Raises DownloadError saying what happened; what came so
    far is kept for the next call, `pause` seconds grow between tries within one.
    """
    part = target.with_name(target.name + ".part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _alone(part):
            _persist(address, part, pause)
            _finish(part, target, accept)
    except OSError as error:
        raise DownloadError(f"{part}: {error.strerror or error}; what came is kept") from error


@contextlib.contextmanager
def _alone(part: Path) -> Iterator[None]:
    """One download of a file at a time."""
    with part.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DownloadError("another process is downloading it right now") from error
        try:
            yield
        finally:
            if part.exists() and not part.stat().st_size:
                part.unlink()


def _persist(address: str, part: Path, pause: float) -> None:
    for attempt in range(1, TRIES + 1):
        try:
            _fetch(address, part)
            return
        except _CutError as error:
            if attempt == TRIES:
                raise DownloadError(f"{error} ({TRIES} times); pull again to go on") from error
            _say(f"{error}; trying again")
            time.sleep(pause * attempt)


def _finish(part: Path, target: Path, accept: Callable[[Path], None]) -> None:
    try:
        accept(part)
    except CheckpointError:
        part.unlink()
        raise
    finally:
        _tag(part).unlink(missing_ok=True)
    sync(part)
    part.replace(target)
    sync(target.parent)


def _fetch(address: str, part: Path) -> None:
    request = urllib.request.Request(address, headers={"User-Agent": "acclimate"})
    if have := part.stat().st_size:
        request.add_header("Range", f"bytes={have}-")
        if _tag(part).exists():  # go on only with the very file that was begun
            request.add_header("If-Range", _tag(part).read_text())
    try:
        answer = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        _refused(error, part)
        return
    except urllib.error.URLError as error:
        raise DownloadError(f"no connection: {error.reason}") from error
    except _BROKEN as error:
        raise _CutError(f"no answer: {error!r}") from error
    with answer:
        if address.startswith("https:") and not answer.geturl().startswith("https:"):
            raise DownloadError(f"it leads to {answer.geturl()}, away from https")
        _receive(answer, part)


def _refused(error: urllib.error.HTTPError, part: Path) -> None:
    """416 may mean that nothing is missing; others are told, or tried again."""
    with error:
        if error.code == 416:
            if error.headers.get("Content-Range") == f"bytes */{part.stat().st_size}":
                return
            os.truncate(part, 0)
            raise _CutError("the server has another file by now")
        if error.code == 429 or error.code >= 500:
            raise _CutError(f"the server says {error.code} {error.reason}")
        raise DownloadError(f"the server says {error.code} {error.reason}")


def _receive(answer: http.client.HTTPResponse, part: Path) -> None:
    start, total = _extent(answer)
    if start and start != part.stat().st_size:
        os.truncate(part, 0)
        raise _CutError("the server went on at another place")
    os.truncate(part, start)
    _tag(part).unlink(missing_ok=True)
    if tag := _validator(answer):
        _tag(part).write_text(tag)
    _room(part, total - start if total is not None else 0)
    with part.open("ab") as file:
        size = _copy(answer, file, start, total)
    if total is not None and size != total:
        raise _CutError(f"the connection ended after {_mb(size)} of {_mb(total)}")


def _extent(answer: http.client.HTTPResponse) -> tuple[int, int | None]:
    """Where the body starts in the file, and the file's size if the server tells it."""
    if answer.status == 206:
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", answer.headers.get("Content-Range", ""))
        if found is None:
            raise DownloadError("the server sent a part without saying which")
        return int(found[1]), None if found[2] == "*" else int(found[2])
    length = answer.headers.get("Content-Length")
    return 0, int(length) if length and length.isdigit() else None


def _validator(answer: http.client.HTTPResponse) -> str | None:
    """What tells this file from a later one at the same address."""
    tag = answer.headers.get("ETag")
    return tag if tag and not tag.startswith("W/") else answer.headers.get("Last-Modified")


def _room(part: Path, needed: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if free < needed:
        raise DownloadError(f"{part.parent} has room for {_mb(free)}, {_mb(needed)} are to come")


def _copy(answer: http.client.HTTPResponse, file: IO[bytes], start: int, total: int | None) -> int:
    """Append the body to `file`; returns the file's size."""
    size, begun, shown = start, time.monotonic(), time.monotonic()
    while block := _read(answer):
        file.write(block)
        size += len(block)
        if size > MOST_BYTES:
            raise DownloadError(f"the server sends more than {_mb(MOST_BYTES)}; no weights do")
        now = time.monotonic()
        if now - shown >= 1 or size == total:
            of = f" of {_mb(total)}, {100 * size // total} %" if total else ""
            _say(f"{_mb(size)}{of}, {(size - start) / 1e6 / max(now - begun, 1e-3):.1f} MB/s")
            shown = now
    return size


def _read(answer: http.client.HTTPResponse) -> bytes:
    try:
        return answer.read(BLOCK)
    except (*_BROKEN, OSError) as error:
        raise _CutError(f"the connection broke: {error!r}") from error


def _tag(part: Path) -> Path:
    return part.with_name(part.name + ".tag")


def _mb(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def _say(text: str) -> None:
    print(f"  {text}", file=sys.stderr, flush=True)
