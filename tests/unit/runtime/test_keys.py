"""Keys on disk: made once, read only where nobody else could."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from acclimate.errors import ConfigError
from acclimate.runtime.keys import (
    fingerprint,
    new_pair,
    new_secret,
    read_private,
    read_public,
    read_secret,
    replace_secret,
)


def test_a_pair_is_one_key_in_two_files(tmp_path: Path) -> None:
    name = new_pair(tmp_path / "device")
    public = read_public(tmp_path / "device.pub")
    assert (
        fingerprint(public) == name == fingerprint(read_private(tmp_path / "device").public_key())
    )
    public.verify(read_private(tmp_path / "device").sign(b"words"), b"words")
    rights = [(tmp_path / n).stat().st_mode & 0o777 for n in ("device", "device.pub")]
    assert rights == [0o600, 0o644]


def test_rights_do_not_hang_on_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        new_pair(tmp_path / "device")
        new_secret(tmp_path / "frames")
    finally:
        os.umask(before)
    assert (tmp_path / "device").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "frames").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("make", [new_pair, new_secret])
def test_no_key_is_overwritten(tmp_path: Path, make: Callable[[Path], object]) -> None:
    make(tmp_path / "key")
    before = (tmp_path / "key").read_bytes()
    with pytest.raises(ConfigError, match="never overwritten"):
        make(tmp_path / "key")
    assert (tmp_path / "key").read_bytes() == before


def test_nor_is_a_public_half_that_lost_its_other_one(tmp_path: Path) -> None:
    (tmp_path / "key.pub").write_text("someone's")
    with pytest.raises(ConfigError, match="never overwritten"):
        new_pair(tmp_path / "key")
    assert not (tmp_path / "key").exists()


@pytest.mark.parametrize("rights", [0o640, 0o604, 0o660, 0o610])
def test_what_others_may_read_is_no_private_key(tmp_path: Path, rights: int) -> None:
    new_pair(tmp_path / "key")
    new_secret(tmp_path / "frames")
    for name, read in (("key", read_private), ("frames", read_secret)):
        (tmp_path / name).chmod(rights)
        with pytest.raises(ConfigError, match=rf"{name} has the rights {rights:o}.*chmod 600"):
            read(tmp_path / name)


@pytest.mark.parametrize("rights", [0o664, 0o646])
def test_what_others_may_change_is_no_public_key(tmp_path: Path, rights: int) -> None:
    new_pair(tmp_path / "key")
    (tmp_path / "key.pub").chmod(rights)
    with pytest.raises(ConfigError, match="others may change it; chmod 644"):
        read_public(tmp_path / "key.pub")


@pytest.mark.parametrize("read", [read_private, read_public, read_secret])
@pytest.mark.parametrize("content", [b"", b"nonsense", b"\xff" * 99, b"00" * 31, b"-----BEGIN"])
def test_what_is_no_key_is_named(
    tmp_path: Path, read: Callable[[Path], object], content: bytes
) -> None:
    (tmp_path / "key").write_bytes(content)
    (tmp_path / "key").chmod(0o600)
    with pytest.raises(ConfigError, match=r"key .*acclimate keys new"):
        read(tmp_path / "key")


@pytest.mark.parametrize("read", [read_private, read_public, read_secret])
def test_no_folder_pipe_or_missing_file_is_a_key(
    tmp_path: Path, read: Callable[[Path], object]
) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, word in (
        ("pipe", "no plain file"),
        ("none", "No such file"),
        (".", "Is a directory"),
    ):
        with pytest.raises(ConfigError, match=word):
            read(tmp_path / name)


def test_a_private_key_of_another_kind_is_refused(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    pem = X25519PrivateKey.generate().private_bytes(
        form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption()
    )
    (tmp_path / "key").write_bytes(pem)
    (tmp_path / "key").chmod(0o600)
    with pytest.raises(ConfigError, match="no Ed25519 private key"):
        read_private(tmp_path / "key")


def test_another_persons_key_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    new_secret(tmp_path / "key")
    os_uid = os.geteuid() + 1
    if os.geteuid() == 0:
        os.chown(tmp_path / "key", 12345, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: os_uid)
    with pytest.raises(ConfigError, match="belongs to user"):
        read_secret(tmp_path / "key")


def test_a_replaced_secret_is_another_one(tmp_path: Path) -> None:
    new_secret(tmp_path / "key")
    before = read_secret(tmp_path / "key")
    (tmp_path / "key.new").write_text("left by a power cut")
    replace_secret(tmp_path / "key")
    assert read_secret(tmp_path / "key") != before
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def test_openssl_reads_and_makes_these_keys(tmp_path: Path) -> None:
    try:
        made = ["openssl", "genpkey", "-algorithm", "ed25519", "-out", str(tmp_path / "theirs")]
        subprocess.run(made, check=True, capture_output=True)
    except (FileNotFoundError, subprocess.CalledProcessError):
        pytest.skip("needs the Debian program openssl")
    (tmp_path / "theirs").chmod(0o600)
    assert read_private(tmp_path / "theirs")
    new_pair(tmp_path / "ours")
    read = ["openssl", "pkey", "-in", str(tmp_path / "ours"), "-pubout"]
    said = subprocess.run(read, check=True, capture_output=True).stdout
    assert said == (tmp_path / "ours.pub").read_bytes()
