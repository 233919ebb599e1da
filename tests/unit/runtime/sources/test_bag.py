"""Recordings: which topic, when, in which file, and what a power cut leaves."""

from __future__ import annotations

import random
import threading
from pathlib import Path

import pytest
from mcap.writer import CompressionType

from acclimate.configs.source import SourceConfig
from acclimate.errors import SourceError
from acclimate.runtime.ledger import Ledger
from acclimate.runtime.source import open_source
from acclimate.runtime.sources import mcap_file
from acclimate.runtime.sources.bag import BagSource
from acclimate.runtime.sources.captured import Captured
from tests.unit.runtime.sources.bags import (
    COMPRESSED,
    RAW,
    START,
    compressed,
    foxglove_json,
    foxglove_protobuf,
    foxglove_ros,
    raw,
    write_bag,
    write_mcap,
)  # fmt: skip

TEN = [raw(index) for index in range(10)]


def play(path: Path, topic: str | None = None) -> tuple[list[Captured], Ledger, BagSource]:
    source = open_source(SourceConfig(url=str(path), topic=topic), (1, 1))
    assert isinstance(source, BagSource)
    ledger = Ledger()
    frames = list(source.frames(ledger, threading.Event()))
    assert ledger.captured == len(frames) + sum(ledger.dropped.values())
    assert source.state == "ended"
    return frames, ledger, source


def greys(frames: list[Captured]) -> list[int]:
    return [int(f.image[0, 0, 0]) // 10 for f in frames]


@pytest.mark.parametrize("compression", list(CompressionType))
def test_an_mcap_file_gives_pictures_with_both_times(
    tmp_path: Path, compression: CompressionType
) -> None:
    path = write_mcap(tmp_path / "a.mcap", {"/camera": (RAW, "cdr", TEN)}, compression)
    frames, ledger, source = play(path)
    assert greys(frames) == list(range(10))
    assert [f.time for f in frames] == pytest.approx([n / 10 for n in range(10)])
    assert [f.stamp for f in frames] == pytest.approx([START + n + 0.5 for n in range(10)])
    assert source.fps == pytest.approx(10 / 0.9)
    assert (ledger.captured, source.live, source.reason) == (10, False, "")


@pytest.mark.parametrize("storage", ["sqlite3", "mcap"])
def test_a_ros_2_bag_gives_them_too(tmp_path: Path, storage: str) -> None:
    path = write_bag(
        tmp_path / "bag", {"/camera": (COMPRESSED, [compressed(n) for n in range(5)])}, storage
    )
    frames, _, source = play(path)
    assert greys(frames) == list(range(5))
    assert [f.time for f in frames] == pytest.approx([n / 10 for n in range(5)])
    assert [f.stamp for f in frames] == pytest.approx([START + n + 0.5 for n in range(5)])
    assert 10 <= source.fps <= 13


def test_a_bag_that_lost_its_metadata_is_read(tmp_path: Path) -> None:
    for storage in ("sqlite3", "mcap"):
        path = write_bag(tmp_path / storage, {"/camera": (RAW, TEN[:3])}, storage)
        (path / "metadata.yaml").unlink()
        assert greys(play(path)[0]) == [0, 1, 2]
        (one,) = path.iterdir()
        assert greys(play(one)[0]) == [0, 1, 2]


def test_parts_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for number in (10, 2, 1):
        write_mcap(tmp_path / f"drive_{number}.mcap", {"/camera": (RAW, "cdr", [raw(number)])})
    assert greys(play(tmp_path)[0]) == [1, 2, 10]


@pytest.mark.parametrize(
    ("kind", "encoding", "make"),
    [
        ("foxglove.CompressedImage", "json", foxglove_json),
        ("foxglove.CompressedImage", "protobuf", foxglove_protobuf),
        ("foxglove_msgs/msg/CompressedImage", "cdr", foxglove_ros),
    ],
)
def test_foxgloves_pictures_are_read(
    tmp_path: Path, kind: str, encoding: str, make: object
) -> None:
    messages = [make(n) for n in range(4)]  # type: ignore[operator]
    frames, _, _ = play(write_mcap(tmp_path / "a.mcap", {"/c": (kind, encoding, messages)}))
    assert greys(frames) == [0, 1, 2, 3]
    assert [f.stamp for f in frames] == pytest.approx([START + n + 0.5 for n in range(4)])


def test_the_topic_is_asked_for_where_there_are_several(tmp_path: Path) -> None:
    topics = {
        "/left": (RAW, "cdr", TEN[:2]),
        "/right": (RAW, "cdr", TEN[5:7]),
        "/lidar": ("sensor_msgs/msg/PointCloud2", "cdr", [b"x"]),
    }
    path = write_mcap(tmp_path / "a.mcap", topics)
    with pytest.raises(SourceError, match=r"set source\.topic to one of /left, /right$"):
        play(path)
    with pytest.raises(SourceError, match=r"no pictures under '/lidar'; .* /left, /right"):
        play(path, "/lidar")
    assert greys(play(path, "/right")[0]) == [5, 6]
    lidar = write_mcap(tmp_path / "b.mcap", {"/lidar": topics["/lidar"]})
    with pytest.raises(SourceError, match=r"only /lidar \(sensor_msgs/msg/PointCloud2\)"):
        play(lidar)


def test_what_is_no_picture_is_dropped_and_told(tmp_path: Path) -> None:
    messages = [TEN[0], b"rot", raw(2, "bayer_rggb8"), TEN[3], TEN[4][:60]]
    frames, ledger, source = play(write_mcap(tmp_path / "a.mcap", {"/c": (RAW, "cdr", messages)}))
    assert greys(frames) == [0, 3]
    assert [f.frame_id for f in frames] == [0, 3]
    assert ledger.dropped == {"unreadable": 3}
    assert source.reason


def test_a_recording_without_one_good_picture_fails(tmp_path: Path) -> None:
    path = write_mcap(tmp_path / "a.mcap", {"/c": (RAW, "cdr", [raw(0, "bayer_rggb8")])})
    with pytest.raises(SourceError, match=r"no picture of /c .*bayer_rggb8.*rgb8"):
        play(path)


def test_after_a_power_cut_everything_up_to_it_is_read(tmp_path: Path) -> None:
    messages = [raw(index % 20) for index in range(60)]
    path = write_mcap(tmp_path / "a.mcap", {"/camera": (RAW, "cdr", messages)})
    whole, last = path.read_bytes(), 60
    for length in range(len(whole) - 1, 60, -len(whole) // 12):
        path.write_bytes(whole[:length])
        try:
            frames, _, source = play(path)
        except SourceError as error:
            assert length < 1500, error  # not one chunk is whole
            continue
        assert greys(frames) == [index % 20 for index in range(len(frames))]
        assert len(frames) <= last
        last = len(frames)
        assert "breaks off at byte" in source.reason
    assert last < 30


def test_a_rotten_chunk_costs_its_own_frames(tmp_path: Path) -> None:
    path = write_mcap(tmp_path / "a.mcap", {"/c": (RAW, "cdr", TEN)}, CompressionType.NONE)
    data = bytearray(path.read_bytes())
    data[data.index(TEN[5]) + 100] ^= 1
    path.write_bytes(data)
    frames, _, source = play(path)
    assert 5 not in greys(frames)
    assert len(frames) >= 7
    assert "rotten" in source.reason


def test_a_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mcap_file, "LIMIT", 10_000)
    bomb = bytes(100_000)
    for compression in CompressionType:
        path = write_mcap(
            tmp_path / "a.mcap", {"/c": (RAW, "cdr", [TEN[0], bomb, TEN[2]])}, compression, 100
        )
        source = BagSource(path, "/c")
        frames = list(source.frames(Ledger(), threading.Event()))
        assert greys(frames)[0] == 0
        assert len(frames) <= 2
        assert "10" in source.reason


@pytest.mark.parametrize("name", ["a.mcap", "a.db3"])
def test_what_is_no_recording_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("hello")
    with pytest.raises(SourceError, match=name):
        play(tmp_path / name)


@pytest.mark.parametrize("kind", ["mcap", "sqlite3"])
def test_rotten_recordings_end_in_frames_or_in_words(tmp_path: Path, kind: str) -> None:
    chance = random.Random(4)
    folder = write_bag(
        tmp_path / "bag", {"/camera": (COMPRESSED, [compressed(n) for n in range(5)])}, kind
    )
    (folder / "metadata.yaml").unlink()
    (path,) = folder.iterdir()
    whole = path.read_bytes()
    for _ in range(80):
        rotten = bytearray(whole)
        for _ in range(chance.randrange(1, 8)):
            rotten[chance.randrange(len(rotten))] = chance.randrange(256)
        path.write_bytes(rotten)
        try:
            frames, _, _ = play(path)
        except SourceError:
            continue
        assert len(frames) <= 5


@pytest.mark.parametrize("tag", ["!!float ", "!!bool x", "!!int ", "[" * 500])
def test_metadata_of_no_sense_is_named(tmp_path: Path, tag: str) -> None:
    bag = write_bag(tmp_path / "bag", {"/camera": (RAW, TEN)}, "sqlite3")
    (bag / "metadata.yaml").write_text(tag)
    with pytest.raises(SourceError, match="no ROS 2 bag that can be read"):
        BagSource(bag, None)


@pytest.mark.parametrize("length", [2**62, 2**64 - 1])
def test_a_chunk_that_claims_more_than_any_file_has_ends_the_recording(
    tmp_path: Path, length: int
) -> None:
    path = write_mcap(tmp_path / "a.mcap", {"/camera": (RAW, "cdr", TEN)}, CompressionType.LZ4)
    content, name = bytearray(path.read_bytes()), b"\x03\0\0\0lz4"
    at = content.rindex(name, 0, content.rindex(b"\x04\x22\x4d\x18")) + len(name)
    content[at : at + 8] = length.to_bytes(8, "little")
    path.write_bytes(content)
    frames, _, source = play(path)
    assert 0 < len(frames) < 10
    assert "breaks off" in source.reason


@pytest.mark.parametrize("start", [2**63, 2**64 - 1, 2**62, 3])
def test_an_end_that_points_nowhere_is_not_needed(tmp_path: Path, start: int) -> None:
    path = write_mcap(tmp_path / "a.mcap", {"/camera": (RAW, "cdr", TEN)})
    content = bytearray(path.read_bytes())
    content[-28:-20] = start.to_bytes(8, "little")  # of the summary, in the footer
    path.write_bytes(content)
    assert greys(play(path)[0]) == list(range(10))


def test_a_file_shorter_than_an_end_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.mcap").write_bytes(b"\x89MCAP0\r\n" + bytes(20))
    with pytest.raises(SourceError, match=r"a\.mcap"):
        BagSource(tmp_path / "a.mcap", None)
