"""Adapters from elsewhere: the parcel, the bundle in it, its signature."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from acclimate.daemon.parcel import BLOCK, INPUTS, LORA, LORA_CONFIG, MANIFEST, PROBE
from acclimate.daemon.registry import Registry
from acclimate.daemon.transfer import ARRIVALS, arrived, examine, take_in
from acclimate.errors import AcclimateError
from acclimate.runtime import trust
from acclimate.runtime.bundle import verify
from acclimate.runtime.engine import EngineInfo
from acclimate.runtime.keys import fingerprint
from tests.fuzz.room import room
from tests.fuzz.targets import parts
from tests.unit.daemon.test_transfer import ENGINE

FILES = (MANIFEST, LORA_CONFIG, INPUTS, PROBE, LORA)
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


def parcel(data: bytes) -> None:
    """A file that somebody calls an adapter; checksums of its headers are set right."""
    with room() as folder:
        device(folder / "state")
        (folder / "a.tar").write_bytes(mended(data))
        with (
            contextlib.suppress(AcclimateError),
            arrived(folder / "state", folder / "a.tar") as one,
        ):
            take_in(Registry(folder / "state"), one)
        assert list((folder / "state" / ARRIVALS).iterdir()) == []


def mended(data: bytes) -> bytes:
    """A tar whose headers have the checksums that they should have, as far as it is one."""
    whole, at = bytearray(data), 0
    while at + BLOCK <= len(whole) and any(block := whole[at : at + BLOCK]):
        block[148:156] = b" " * 8
        whole[at + 148 : at + 156] = b"%06o\0 " % sum(block)
        try:
            size = tarfile.nti(bytes(block[124:136]))
        except tarfile.HeaderError:
            break
        at += BLOCK + BLOCK * -(-max(0, size) // BLOCK)
    return bytes(whole)


def bundle(data: bytes) -> None:
    """What was in a parcel; digests of files that its manifest lists are set right."""
    with room() as folder:
        device(folder / "state")
        one = folder / "one"
        (one / "adapter").mkdir(parents=True)
        files = parts(data, FILES)
        for name, content in files.items():
            (one / name).write_bytes(vouched(content, files) if name == MANIFEST else content)
        with contextlib.suppress(AcclimateError):
            examine(one, EngineInfo.load(folder / "state" / "engine"))
            registry = Registry(folder / "state")
            name = take_in(registry, one)
            assert registry.may_serve(name) in (True, False)
            verify(registry.folder_of(name))


def vouched(manifest: bytes, files: dict[str, bytes]) -> bytes:
    """A manifest with the digests that its files have."""
    try:
        told = json.loads(manifest)
    except (ValueError, RecursionError):
        return manifest
    if not isinstance(told, dict) or not isinstance(told.get("files"), dict):
        return manifest
    own = {n: hashlib.sha256(files[n]).hexdigest() for n in told["files"] if n in files}
    return json.dumps(told | {"files": told["files"] | own}).encode()


def device(state: Path) -> None:
    """A state folder with an engine and a base that has only its manifest."""
    (state / "engine").mkdir(parents=True)
    (state / "adapters" / "base").mkdir(parents=True)
    (state / "engine" / "engine.json").write_text(json.dumps(ENGINE))
    told = {"id": "base", "sequence": 0, "files": {}, "base_digest": ENGINE["base_digest"]}
    (state / "adapters" / "base" / MANIFEST).write_text(json.dumps(told))


def signature(data: bytes) -> None:
    """What lies beside a manifest where signatures are required: one of ours, or refused."""
    with room() as folder, asked_for(folder / "key.pem"):
        (folder / MANIFEST).write_bytes(b"{}")
        (folder / f"{MANIFEST}.sig").write_bytes(data)
        with contextlib.suppress(AcclimateError):
            assert trust.verify(folder / MANIFEST, b"{}")
            KEY.public_key().verify(
                base64.b64decode(json.loads(data)["signature"]), trust._message(MANIFEST, b"{}")
            )


def signed(content: bytes) -> dict[str, Any]:
    """A sound signature of a manifest, as `trust.sign` writes it."""
    made = KEY.sign(trust._message(MANIFEST, content))
    return {
        "algorithm": "ed25519", "key": fingerprint(KEY.public_key()),
        "signature": base64.b64encode(made).decode(),
    }  # fmt: skip


@contextmanager
def asked_for(path: Path) -> Iterator[None]:
    """Signatures are required, and `KEY` is the only one that counts."""
    path.write_bytes(KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    before = os.environ.get(trust.ENVIRONMENT, "{}")
    os.environ[trust.ENVIRONMENT] = json.dumps(
        {"require_signatures": True, "keys": [str(path)], "signing_key": None}
    )
    try:
        yield
    finally:
        os.environ[trust.ENVIRONMENT] = before
