"""Films: their own clock, holes, turns and changes of size."""

from __future__ import annotations

import random
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest

from acclimate.errors import SourceError
from acclimate.runtime.ledger import Ledger
from acclimate.runtime.sources import decoding
from acclimate.runtime.sources.captured import Captured
from acclimate.runtime.sources.film import FilmSource
from tests.unit.runtime.sources.films import encode


def play(path: Path, hardware: bool = False) -> tuple[list[Captured], Ledger, FilmSource]:
    source, ledger = FilmSource(path, hardware), Ledger()
    frames = list(source.frames(ledger, threading.Event()))
    assert ledger.captured == len(frames) + sum(ledger.dropped.values())
    assert source.state == "ended"
    return frames, ledger, source


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts", "a.avi"])
def test_times_are_the_films_own(tmp_path: Path, name: str) -> None:
    frames, ledger, source = play(encode(tmp_path / name, rate=8))
    assert len(frames) == ledger.captured == 12
    assert [f.time for f in frames] == pytest.approx([n / 8 for n in range(12)], abs=0.002)
    assert source.fps == 8


def test_what_a_broken_file_still_has_is_given(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mkv", 40)
    rotten, chance = bytearray(path.read_bytes()), random.Random(1)
    for _ in range(30):
        rotten[chance.randrange(3000, len(rotten))] ^= 0x55
    path.write_bytes(rotten)
    frames, ledger, _ = play(path)
    assert set(ledger.dropped) == {"corrupt"}
    assert len(frames) > 5


def test_a_film_that_was_cut_ends_there(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mkv", 40)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    frames, ledger, _ = play(path)
    assert 10 < len(frames) < 30
    assert sum(ledger.dropped.values()) <= 1


def test_frames_may_change_their_size(tmp_path: Path) -> None:
    path = tmp_path / "both.ts"
    parts = [encode(tmp_path / f"{n}.ts", 5, size) for n, size in enumerate([(48, 64), (96, 128)])]
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    frames, _, _ = play(path)
    assert {f.image.shape for f in frames} == {(48, 64, 3), (96, 128, 3)}
    assert len(frames) == 10


def test_a_turned_film_is_upright_as_with_opencv(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mp4", 3, (48, 64))
    one, none = (1 << 16).to_bytes(4, "big"), bytes(4)
    straight = one + none * 3 + one + none * 3
    quarter = none + one + none + (-(1 << 16)).to_bytes(4, "big", signed=True) + none * 4
    film = path.read_bytes()
    at = film.index(straight, film.index(b"tkhd"))
    path.write_bytes(film[:at] + quarter + film[at + len(quarter) :])
    frames, _, _ = play(path)
    expected = cv2.VideoCapture(str(path)).read()[1][:, :, ::-1]
    assert frames[0].image.shape == expected.shape == (64, 48, 3)
    assert np.abs(frames[0].image.astype(int) - expected).mean() < 8


def test_a_list_of_addresses_is_no_film(tmp_path: Path) -> None:
    secret = encode(tmp_path / "secret.ts", 3)
    path = tmp_path / "a.mp4"
    path.write_text(f"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/{secret.name}\n#EXT-X-ENDLIST\n")
    with pytest.raises(SourceError, match=r"a\.mp4 cannot be decoded"):
        play(path)


def test_sound_alone_is_no_film(tmp_path: Path) -> None:
    import av

    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as film:
        stream = film.add_stream("pcm_s16le", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
        sound.sample_rate = 8000
        film.mux(stream.encode(sound))
        film.mux(stream.encode(None))
    with pytest.raises(SourceError, match="no video"):
        FilmSource(path)


def test_what_a_device_refuses_is_decoded_in_software(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding, "DEVICES", {"drm": tmp_path})  # FFmpeg knows it, this file isn't
    path = encode(tmp_path / "a.mp4")
    frames, _, source = play(path, hardware=True)
    assert len(frames) == 12
    assert source.reason.startswith("decoded in software")
    assert "drm" in source.reason
    assert play(path, hardware=False)[2].reason == "decoded in software (as configured)"


def test_a_codec_that_is_not_known_is_told(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mkv")
    path.write_bytes(path.read_bytes().replace(b"V_MPEG4/ISO/AVC", b"V_MPEG9/ISO/AVC"))
    with pytest.raises(SourceError, match="a codec that is not known here"):
        FilmSource(path, hardware=False)


def test_a_title_that_is_no_text_stops_nobody(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mkv")
    content = path.read_bytes()
    assert b"ENCODER" in content
    path.write_bytes(content.replace(b"ENCODER", b"ENC\x8f\xffER"))
    assert len(play(path)[0]) == 12
