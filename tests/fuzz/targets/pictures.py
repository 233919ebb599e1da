"""Pictures: files of them, films of them, arrays of them, and those that the buffer keeps."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from functools import cache
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import numpy as np

from acclimate.configs.schema import BufferConfig, OutputsConfig, ServingConfig
from acclimate.configs.vocabulary import load_served
from acclimate.errors import AcclimateError
from acclimate.runtime.buffer import FrameBuffer
from acclimate.runtime.engine import Result
from acclimate.runtime.evaluate import read_labels
from acclimate.runtime.fit import fit, is_picture
from acclimate.runtime.ledger import Ledger
from acclimate.runtime.main import Runtime
from acclimate.runtime.outputs import Outputs
from acclimate.runtime.sinks import Sinks
from acclimate.runtime.source import Captured
from acclimate.runtime.sources.address import Address
from acclimate.runtime.sources.connection import AvConnection
from acclimate.runtime.sources.film import FilmSource
from acclimate.runtime.sources.folder import FolderSource
from tests.fuzz.room import room

SIZE = (16, 24)
MOST_FRAMES, MOST_BYTES = 12, 1 << 24
DTYPES = ("uint8", "uint16", "int8", "float16", "float32", "float64", "bool", "complex64", "U3")


def picture(data: bytes) -> None:
    """A file in a folder of images, and as a label map."""
    with room() as folder:
        (folder / "a.png").write_bytes(data)
        _drain(FolderSource(folder))
        with contextlib.suppress(AcclimateError):
            assert read_labels(folder / "a.png").ndim == 2


def film(data: bytes) -> None:
    """A film, and the same from a connection."""
    with room() as folder:
        (folder / "a.mp4").write_bytes(data)
        with contextlib.suppress(AcclimateError):
            _drain(FilmSource(folder / "a.mp4", hardware=False))
        with contextlib.suppress(AcclimateError):
            link = AvConnection(Address(f"file:{folder / 'a.mp4'}"), 5.0, False)
            try:
                link.open()
                for shot in islice(link.shots(), MOST_FRAMES):
                    assert (shot.image is None) == bool(shot.flaw)
            finally:
                link.close()


def _drain(source: Any) -> None:
    ledger, taken = Ledger(), 0
    for frame in islice(source.frames(ledger, threading.Event()), MOST_FRAMES):
        taken += 1
        assert is_picture(frame.image)
        assert fit(frame.image, SIZE).shape == (*SIZE, 3)
    books = ledger.totals()
    assert books["captured"] == taken + sum(books["dropped"].values()), books


def frame(data: bytes) -> None:
    """An array of any shape and kind where the runtime expects a frame: it is served or counted,
    and the next one comes."""
    if len(data) < 4:
        return
    runtime, ledger = _runtime(), Ledger()
    runtime.fit = ("squash", "letterbox")[data[0] & 1]
    camera: Any = SimpleNamespace(name="camera", ledger=ledger)
    for number, image in enumerate(_array(data)):
        ledger.capture()
        runtime._serve(camera, Captured(number, 0.0, 0.0, image))
    books = ledger.totals()
    assert books["balanced"], books
    assert "inference_error" not in books["dropped"], "it should not have come so far"


def _array(data: bytes) -> Iterator[Any]:
    """Its dimensions are in the input, its content is the input again and again."""
    flags, kind, count = data[0], DTYPES[data[1] % len(DTYPES)], data[2] % 5
    shape = [int.from_bytes(data[3 + 2 * i : 5 + 2 * i], "little") for i in range(count)]
    if flags & 2 and shape:
        shape[-1] = 3
    if int(np.prod(shape, dtype=float)) * np.dtype(kind).itemsize > MOST_BYTES:
        return
    array = np.resize(np.frombuffer(data, np.uint8), shape).astype(kind)
    if flags & 4 and array.ndim > 1:
        array = array.swapaxes(0, 1)
    if flags & 8 and array.ndim:
        array = array[::-2]
    if flags & 16:
        array.flags.writeable = False
    yield array


@cache
def _runtime() -> Any:
    """One that serves without a model: everything of a frame's way but the engine and the tap."""
    folder = Path(_kept().name)
    words = load_served("world")
    serving, runtime = ServingConfig(SIZE, latest_hz=1e6), Runtime.__new__(Runtime)
    result = Result(
        np.zeros(SIZE, np.uint8), np.ones(3, np.float32),
        np.ones(len(words.names), np.float32), np.zeros(4, np.float32),
    )  # fmt: skip

    def infer(image: Any, _: object) -> Result:
        assert image.shape == (*SIZE, 3)
        assert image.dtype == np.uint8
        return result

    runtime.__dict__ |= {
        "engine": SimpleNamespace(info=SimpleNamespace(size=SIZE), infer=infer),
        "bundle": SimpleNamespace(id="base"), "say": lambda _: None, "_odd": set(), "_failures": 0,
        "_swap": None, "_infer_ms": [], "stats": _Blind(), "names": words.names,
        "sinks": {"camera": Sinks(serving, words, folder, None, 10.0, "")},
        "outputs": Outputs(OutputsConfig(), words),
    }  # fmt: skip
    return runtime


class _Blind:
    def add(self, *_: object) -> None:
        pass

    def sees(self, _: str) -> bool:
        return False


@cache
def _kept() -> TemporaryDirectory[str]:
    return TemporaryDirectory()


def entry(data: bytes) -> None:
    """A file in the buffer: opened, read, and lived with."""
    with room() as folder:
        (folder / "0000000001-00ff00ff00ff00ff.npz").write_bytes(data)
        buffer = FrameBuffer(folder, BufferConfig(max_entries=2, heldout_share=0.0))
        for one in buffer.training(9):
            with contextlib.suppress(AcclimateError):
                assert is_picture(buffer.load(one))
        for angle in range(3):
            place = np.array([np.cos(angle), np.sin(angle)], np.float32)
            buffer.offer(np.zeros((*SIZE, 3), np.uint8), np.ones(2, np.float32) / 2, place)
