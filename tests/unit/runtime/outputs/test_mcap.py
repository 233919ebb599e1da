"""Recordings that other tools open, in files of bounded size and number."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from acclimate.configs.outputs import OutputsConfig
from acclimate.runtime.outputs import mcap as module
from acclimate.runtime.outputs.mcap import Recording
from acclimate.runtime.outputs.side import Shown


def messages(path: Path) -> list[tuple[str, Any]]:
    """(topic, message) as ROS 2's own definitions in the file say."""
    from mcap.reader import make_reader
    from rosbags.typesys import Stores, get_typestore

    store, found = get_typestore(Stores.ROS2_HUMBLE), []
    with path.open("rb") as file:
        for schema, channel, message in make_reader(file).iter_messages():
            assert schema is not None
            found.append((channel.topic, store.deserialize_cdr(message.data, schema.name)))
    return found


def test_pictures_labels_and_areas_come_back(tmp_path: Path, shown: Callable[..., Shown]) -> None:
    recording, one = Recording(OutputsConfig(mcap=str(tmp_path / "bags"))), shown(3)
    assert recording.write(one)
    recording.write(shown(4, "rear"))
    recording.close()
    (path,) = (tmp_path / "bags").iterdir()
    found = dict(messages(path))
    assert sorted(found) == [f"/{c}/{t}" for c in ("front", "rear") for t in
                             ("areas", "image", "labels")]  # fmt: skip
    labels = cv2.imdecode(found["/front/labels"].data, cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(labels, one.labels)
    image = cv2.imdecode(found["/front/image"].data, cv2.IMREAD_COLOR)[:, :, ::-1]
    assert np.abs(image.astype(float) - one.frame.image).mean() < 8
    assert json.loads(found["/front/areas"].data) == one.areas | {"adapter": "a0007"}
    assert found["/front/image"].header.frame_id == "front"


def test_recordings_of_others_make_no_room(tmp_path: Path, shown: Callable[..., Shown]) -> None:
    mine = [tmp_path / name for name in ("0-drive.mcap", "20260101-drive.mcap", "z.mcap")]
    for path in mine:
        path.touch()
    recording = Recording(OutputsConfig(mcap=str(tmp_path), mcap_files=1))
    for _ in range(3):
        recording.write(shown(0))
        recording.close()
    assert all(path.exists() for path in mine)
    assert len(list(tmp_path.iterdir())) == len(mine) + 1


def test_files_are_bounded(tmp_path: Path, shown: Callable[..., Shown]) -> None:
    recording = Recording(OutputsConfig(mcap=str(tmp_path), mcap_mb=0.0001, mcap_files=3))
    module_chunk, noise = shown(0), np.random.default_rng(0)
    for _ in range(8):
        image = noise.integers(0, 255, (400, 400, 3), np.uint8)
        recording.write(replace(module_chunk, frame=replace(module_chunk.frame, image=image)))
    recording.close()
    paths = sorted(tmp_path.iterdir())
    assert len(paths) == 3
    assert all(messages(path) for path in paths)


def test_what_was_cut_off_is_read_up_to_the_cut(
    tmp_path: Path, shown: Callable[..., Shown], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHUNK", 2000)
    recording = Recording(OutputsConfig(mcap=str(tmp_path)))
    for number in range(12):
        recording.write(shown(number))
    recording._file.flush()  # a power cut: nothing more is written, no summary
    (path,) = tmp_path.iterdir()
    from mcap.exceptions import EndOfFile
    from mcap.stream_reader import StreamReader

    kinds = []
    with path.open("rb") as file, contextlib.suppress(EndOfFile):
        for record in StreamReader(file).records:
            kinds.append(type(record).__name__)
    assert kinds.count("Message") >= 6
    recording.close()


def test_a_full_disk_is_told_and_the_next_file_begins(
    tmp_path: Path, shown: Callable[..., Shown], monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = Recording(OutputsConfig(mcap=str(tmp_path)))
    recording.write(shown(0))
    with monkeypatch.context() as patch:

        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        patch.setattr(recording._writer, "add_message", full)
        with pytest.raises(OSError, match="No space"):
            recording.write(shown(1))
    recording.write(shown(2))
    recording.close()
    assert len(list(tmp_path.iterdir())) == 2
