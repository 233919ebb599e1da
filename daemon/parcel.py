"""An adapter as one file: a plain tar of known names, written and read with nothing left to luck.

Read are plain files alone: no links, no folders, no compression, no extensions of the format, no
name outside the list, no file larger than what the engine here could take.
"""

from __future__ import annotations

import io
import shutil
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from acclimate.errors import CorruptBundle
from acclimate.runtime.bundle import INPUTS, MANIFEST, PROBE
from acclimate.runtime.engine import EngineInfo
from acclimate.runtime.trust import SUFFIX

BLOCK, CHUNK = 512, 1 << 20
LORA, LORA_CONFIG = "adapter/adapter_model.safetensors", "adapter/adapter_config.json"
SIGNATURE = MANIFEST + SUFFIX
NAMES = (MANIFEST, SIGNATURE, INPUTS, PROBE, LORA_CONFIG, LORA)  # manifest first
SPARE_MB = 64  # must stay free on the disk
MOST_PROBES, MOST_CLASSES = 16, 255
_HEADER = 1 << 20  # of a safetensors file


def bounds(engine: EngineInfo) -> dict[str, int]:
    """The most bytes of each file that an adapter for `engine` could need."""
    lengths = (max(engine.strings[1], MOST_CLASSES), engine.size[0] * engine.size[1] * 4)
    inputs = sum(_bytes(shape, lengths[0]) for shape, _ in engine.inputs.values())
    return {
        MANIFEST: 1 << 20, SIGNATURE: 1 << 12, LORA_CONFIG: 1 << 16,
        INPUTS: _HEADER + inputs, PROBE: _HEADER + MOST_PROBES * lengths[1],
        LORA: _HEADER + 2 * inputs,
    }  # fmt: skip


def pack(folder: Path, file: Path, made: float) -> int:
    """Write the bundle in `folder` to `file`, whole or not at all, without the frames that it keeps
    for later gates; returns its size. Raises OSError, also where `file` exists."""
    temporary = file.with_name(file.name + ".tmp")
    try:
        with tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT) as tar:
            for name in NAMES:
                if (path := folder / name).is_file():
                    item = tarfile.TarInfo(name)
                    item.size, item.mtime, item.mode = path.stat().st_size, int(made), 0o644
                    with path.open("rb") as content:
                        tar.addfile(item, content)
        file.hardlink_to(temporary)  # fails where there is one
    finally:
        temporary.unlink(missing_ok=True)
    return file.stat().st_size


def unpack(file: Path, folder: Path, most: Mapping[str, int]) -> None:
    """The files of a parcel into the empty `folder`; raises CorruptBundle that names what is wrong
    with it, OSError where the disk refuses."""
    size, limit = file.stat().st_size, sum(most.values()) + CHUNK
    if size > limit:
        raise CorruptBundle(f"{file} has {size} bytes, no adapter for this engine has over {limit}")
    free = shutil.disk_usage(folder).free
    if size + (SPARE_MB << 20) > free:
        raise CorruptBundle(
            f"{file} needs {size >> 20} MiB of the {free >> 20} MiB that {folder} has free, and "
            f"{SPARE_MB} are to stay; make room"
        )
    seen: set[str] = set()
    with file.open("rb") as tar:
        while (item := _next(file, tar)) is not None:
            _check(file, item, seen, most)
            seen.add(item.name)
            target = folder / item.name
            target.parent.mkdir(exist_ok=True)
            with target.open("xb") as out:
                _copy(file, tar, out, item.size)
    if missing := {MANIFEST, INPUTS, PROBE} - seen:
        raise CorruptBundle(f"{file} lacks {', '.join(sorted(missing))}")


def _next(file: Path, tar: IO[bytes]) -> tarfile.TarInfo | None:
    """The next file's header; None at the end."""
    block = tar.read(BLOCK)
    if block == bytes(BLOCK):
        return None
    try:
        return tarfile.TarInfo.frombuf(block, "utf-8", "strict")
    except (tarfile.HeaderError, ValueError) as error:
        told = "a plain tar as `acclimate adapters export` writes it"
        raise CorruptBundle(f"{file} is torn, or not {told}: {error}") from error


def _check(file: Path, item: tarfile.TarInfo, seen: set[str], most: Mapping[str, int]) -> None:
    if item.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or item.linkname:
        raise CorruptBundle(f"{file}: {item.name!r} is no plain file, and nothing else is taken")
    if item.name not in most:
        raise CorruptBundle(f"{file} holds {item.name!r}; taken are {', '.join(most)}")
    if item.name in seen:
        raise CorruptBundle(f"{file} holds {item.name} twice")
    if not 0 <= item.size <= most[item.name]:
        raise CorruptBundle(
            f"{file}: {item.name} says it has {item.size} bytes, at most {most[item.name]} do"
        )


def _copy(file: Path, tar: IO[bytes], out: IO[bytes], size: int) -> None:
    left = size
    while left:
        block = tar.read(min(CHUNK, left))
        if not block:
            raise CorruptBundle(f"{file} is torn: it ends within a file")
        out.write(block)
        left -= len(block)
    tar.seek(-size % BLOCK, io.SEEK_CUR)


def _bytes(shape: tuple[int, ...], most: int) -> int:
    total = 8  # the widest number there is
    for length in shape:
        total *= most if length < 0 else length
    return total
