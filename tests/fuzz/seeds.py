"""`python -m tests.fuzz.seeds`: sound inputs to begin with, made of what we write ourselves."""

from __future__ import annotations

import io
import json
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import yaml
from mcap.writer import CompressionType
from safetensors.numpy import save

from acclimate.configs.schema import BufferConfig
from acclimate.daemon.parcel import LORA, LORA_CONFIG, MANIFEST
from acclimate.daemon.transfer import export
from acclimate.runtime.buffer import FrameBuffer
from benchmarks.crash_story import Life, first_state
from tests.fuzz.kept import CORPUS, keep
from tests.fuzz.targets import MARK, TARGETS
from tests.fuzz.targets.adapters import FILES, signed
from tests.fuzz.targets.recordings import KINDS
from tests.fuzz.targets.state import FILES as STATE
from tests.unit.daemon.test_transfer import device
from tests.unit.runtime.sources import bags
from tests.unit.runtime.sources.films import encode

CONFIGS = Path("configs")
Seeds = Iterator[bytes]


def config(_: Path) -> Seeds:
    yield (CONFIGS / "camera.yaml").read_bytes()
    yield (CONFIGS / "demo.yaml").read_bytes()
    yield yaml.safe_dump({
        "cameras": {"front": {"url": "rtsp://u:p@h/1", "hood": [[[0, 0], [1, 0], [1, 0.5]]]},
                    "rear": {"url": "/dev/video0?framerate=30"}},
        "outputs": {"mqtt": "mqtt://host:1883/topic"}, "adapt": {"preset": "paper"},
    }).encode()  # fmt: skip


def vocabulary(_: Path) -> Seeds:
    yield (CONFIGS / "vocabularies" / "camvid.yaml").read_bytes()
    yield b"road,green=tree|bush,car|van"
    yield yaml.safe_dump({
        "classes": [{"name": "a", "concepts": ["b"], "color": [1, 2, 3], "label": 7},
                    {"name": "c", "synonyms": ["d"], "label": 9, "source_ids": [1]}],
        "templates": ["a photo of a {}"], "ignore": [255], "note": "n",
    }).encode()  # fmt: skip


def world(_: Path) -> Seeds:
    yield b"seed=3,shift=night,strength=0@0/0.95@100,size=64x96,fps=5,frames=9,hood=1"


def picture(_: Path) -> Seeds:
    noise = np.random.default_rng(0).integers(0, 255, (6, 9, 3), dtype=np.uint8)
    for suffix, image in ((".png", noise), (".jpg", noise), (".png", noise[..., 0])):
        yield cv2.imencode(suffix, image)[1].tobytes()


def film(folder: Path) -> Seeds:
    for name in ("a.mp4", "a.mkv", "a.ts", "a.avi"):
        yield encode(folder / name, 3).read_bytes()


def frame(_: Path) -> Seeds:
    yield bytes([0, 0, 3, 16, 0, 24, 0, 3, 0])
    yield bytes([31, 0, 3, 1, 0, 255, 127, 3, 0])


def entry(folder: Path) -> Seeds:
    shares, place = np.ones(2, np.float32) / 2, np.array([1, 0], np.float32)
    FrameBuffer(folder, BufferConfig()).offer(np.zeros((6, 9, 3), np.uint8), shares, place)
    yield from (path.read_bytes() for path in folder.glob("*.npz"))


def message(_: Path) -> Seeds:
    makers: list[Callable[[int], bytes]] = [
        bags.raw, bags.compressed, bags.foxglove_ros, bags.foxglove_json, bags.foxglove_protobuf,
    ]  # fmt: skip
    for index, make in enumerate(makers):
        yield bytes([index]) + make(3)


def mcap(folder: Path) -> Seeds:
    (kind, encoding), (other, text) = KINDS[0], KINDS[3]
    for compression in CompressionType:
        topics = {"/a": (kind, encoding, [bags.raw(1), bags.raw(2)])}
        yield bags.write_mcap(folder / "a.mcap", topics, compression).read_bytes()
    topics = {"/b": (other, text, [bags.foxglove_json(1)] * 2)}
    yield bags.write_mcap(folder / "a.mcap", topics).read_bytes()


def bag(folder: Path) -> Seeds:
    path = bags.write_bag(folder / "b", {"/a": (KINDS[1][0], [bags.compressed(1)])}, "sqlite3")
    (database,) = path.glob("*.db3")
    told = (path / "metadata.yaml").read_text().replace(database.name, "bag_0.db3")
    yield told.encode() + MARK + database.read_bytes()


def parcel(folder: Path) -> Seeds:
    from acclimate.daemon.registry import Registry

    export(Registry(device(folder / "state")), "a1", folder / "a.tar")
    yield (folder / "a.tar").read_bytes()
    with tarfile.open(folder / "b.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
        item = tarfile.TarInfo(MANIFEST)
        tar.addfile(item, io.BytesIO())
        item.type, item.linkname = tarfile.SYMTYPE, "../../secret"
        tar.addfile(item)
    yield (folder / "b.tar").read_bytes()


def bundle(folder: Path) -> Seeds:
    one = device(folder / "state") / "adapters" / "a1"
    yield MARK.join((one / name).read_bytes() for name in FILES)
    yield MARK.join([b'{"id": "a", "files": {"../../secret": ""}, "base_digest": "b"}'])
    yield MARK.join((one / name).read_bytes() for name in (MANIFEST, LORA_CONFIG, LORA))


def signature(_: Path) -> Seeds:
    yield json.dumps(signed(b"{}")).encode()


def state(folder: Path) -> Seeds:
    life = Life(first_state(folder / "state"), 0)
    for action in ("good", "bad", "learn"):
        getattr(life, action)()
        life.event()
    given = {name: folder / "state" / name for name in STATE}
    made = sorted((folder / "state" / "adapters").glob("a*/manifest.json"))[:2]
    given |= dict(zip([name for name in STATE if "adapters" in name], made, strict=True))
    whole = [path.read_bytes() if path.is_file() else b"" for path in given.values()]
    yield MARK.join(whole)
    yield MARK.join([b"", *whole[1:]])
    yield MARK.join([whole[0][:-9], *(b"{}" for _ in whole[1:-1])])


def events(folder: Path) -> Seeds:
    rows = [
        {"event": "swapped", "t": 1.0, "time": 2.0, "id": "a1", "since": "base", "why": "w",
         "gap_ms": 1.0},
        {"event": "served", "time": 3.0, "actor": "u", "from": "base", "to": "a1", "reason": "r"},
        {"event": "round_ended", "t": 1.0, "time": 2, "id": "a1", "verdict": "accepted",
         "seconds": 3.0, "reasons": [], "card": {"gain": 1, "low": 0, "high": 2, "over": "base"}},
    ]  # fmt: skip
    yield b"".join(json.dumps(row).encode() + b"\n" for row in rows)
    yield json.dumps(rows[0]).encode() + b'\n{"event": "hal'


def commands(_: Path) -> Seeds:
    told = [
        {"cmd": "swap", "id": "a1", "dir": "d", "vocabulary": "v", "shadow": True},
        {"cmd": "configure", "config": {"drift": {"threshold": 3}}}, {"cmd": "stop"},
        {"cmd": "purge", "hours": 3}, {"cmd": "tell", "message": {}},
    ]  # fmt: skip
    yield b"\n".join(json.dumps(one).encode() for one in told)


def said(_: Path) -> Seeds:
    yield b'{"event": "ready", "active": "base"}\nwarning: something\n{"event": 1}'


def weights(folder: Path) -> Seeds:
    import torch

    tensors = {"a.weight": torch.ones(2, 3), "b": torch.arange(4)}
    yield save({"a": np.ones((2, 3), np.float32), "b": np.arange(4)})
    for payload in (tensors, {"model": tensors}, {"state_dict": tensors, "meta": {}}):
        torch.save(payload, folder / "a.pth")
        yield (folder / "a.pth").read_bytes()
    torch.save(tensors, folder / "a.pth", _use_new_zipfile_serialization=False)
    yield (folder / "a.pth").read_bytes()
    with zipfile.ZipFile(folder / "a.pt", "w") as archive:
        with zipfile.ZipFile(folder / "a.pth", "w"):
            pass
        for name in ("data.pkl", "constants.pkl", "version"):
            archive.writestr(f"a/{name}", b"\x80\x02}q\x00.")
    yield (folder / "a.pt").read_bytes()


def api(_: Path) -> Seeds:
    asked = [
        ("POST", "pause", {"seconds": 5, "reason": "r"}), ("POST", "rollback", {"to": "base"}),
        ("PUT", "pin", {"id": "a1"}), ("POST", "purge", {"hours": 1, "memory": True}),
        ("POST", "vocabulary", {"vocabulary": {"classes": [{"name": "a"}, {"name": "b"}]}}),
        ("POST", "imports", {"folder": "1-2"}), ("POST", "adapters/a1/quarantine", {}),
        ("GET", "events?since=0&kind=served&limit=5", None), ("GET", "adapters/a1", None),
        ("GET", "status", None), ("GET", "history", None),
    ]  # fmt: skip
    for method, path, body in asked:
        text = b"" if body is None else json.dumps(body).encode()
        head = f"{method} /v1/{path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(text)}\r\n\r\n"
        yield head.encode() + text


def main() -> None:
    """All of them into the corpus."""
    for name in TARGETS:
        with tempfile.TemporaryDirectory() as folder:
            for content in globals()[name](Path(folder)):
                keep(CORPUS / name, content)


if __name__ == "__main__":
    main()
