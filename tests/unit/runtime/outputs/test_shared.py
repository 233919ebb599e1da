"""Label maps in shared memory: whole or not at all, in this process and in another."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from acclimate.errors import SourceError
from acclimate.runtime.outputs.shared import COUNTER, SharedLabels, read
from acclimate.runtime.outputs.side import Shown

READER = """
import sys, numpy as np
from pathlib import Path
from acclimate.runtime.outputs.shared import read
one = read(Path(sys.argv[1]))
print(one.frame_id, one.captured_at, one.adapter, one.labels.shape, int(one.labels.sum()))
"""


def test_what_is_written_is_read(tmp_path: Path, shown: Callable[..., Shown]) -> None:
    sink = SharedLabels(tmp_path / "shm")
    for number, camera, size in ((3, "front", (32, 40)), (4, "rear", (8, 9)), (5, "front", (6, 7))):
        one = shown(number, camera, size)
        assert sink.write(one)
        found = read(tmp_path / "shm" / f"{camera}.labels")
        assert (found.frame_id, found.captured_at, found.adapter) == (number, 12.5, "a0007")
        np.testing.assert_array_equal(found.labels, one.labels)
    sink.close()
    assert list((tmp_path / "shm").iterdir()) == []


def test_another_process_reads_it(tmp_path: Path, shown: Callable[..., Shown]) -> None:
    sink = SharedLabels(tmp_path)
    sink.write(shown(7))
    path = tmp_path / "front.labels"
    done = subprocess.run(
        [sys.executable, "-c", READER, str(path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["7", "12.5", "a0007", "(32,", "40)", str(7 * 16 * 40)]


def test_no_reader_sees_half_a_map(tmp_path: Path, shown: Callable[..., Shown]) -> None:
    sink, stop = SharedLabels(tmp_path), threading.Event()
    results = [shown(number, size=(256, 320)) for number in range(14)]
    sink.write(results[0])

    def write() -> None:
        while not stop.is_set():
            for one in results:
                sink.write(one)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(300):
            found = read(tmp_path / "front.labels")
            assert set(np.unique(found.labels)) <= {0, found.frame_id}
    finally:
        stop.set()
        writer.join()


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 200, None])
def test_what_is_no_map_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "front.labels"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SourceError, match=r"front\.labels"):
        read(path)


def test_a_writer_killed_in_the_middle_is_told(tmp_path: Path, shown: Callable[..., Shown]) -> None:
    sink = SharedLabels(tmp_path)
    sink.write(shown(1))
    area = sink._maps["front"][1]
    COUNTER.pack_into(area, 8, 7)
    with pytest.raises(SourceError, match="for ever"):
        read(tmp_path / "front.labels")
    sink.write(shown(2))
    assert read(tmp_path / "front.labels").frame_id == 2, "the next life goes on"
