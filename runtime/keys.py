"""Keys on disk: Ed25519 to sign with and verify by, and 32 secret bytes to encrypt frames.

A private key that others may read, or a public one that others may write, is refused. The library
`cryptography` is imported by who uses a key: most installs configure none.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from acclimate.errors import ConfigError
from acclimate.runtime.durable import sync

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
        Ed25519PublicKey,
    )

SECRET_BYTES = 32
_MOST = 1 << 16
_PRIVATE, _PUBLIC = 0o077, 0o022  # rights that nobody else may have


def fingerprint(key: Ed25519PublicKey) -> str:
    """What a public key is called: 16 hex digits."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()[:16]


def read_private(path: Path) -> Ed25519PrivateKey:
    """A signing key (PEM, PKCS8, without a password); raises ConfigError."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    content = _read(path, _PRIVATE, "chmod 600")
    with contextlib.suppress(ValueError, TypeError, UnsupportedAlgorithm):
        key = load_pem_private_key(content, password=None)
        if isinstance(key, Ed25519PrivateKey):
            return key
    raise ConfigError([f"{path} is no Ed25519 private key in PEM; `acclimate keys new` makes one"])


def read_public(path: Path) -> Ed25519PublicKey:
    """A key to verify by (PEM); raises ConfigError."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    content = _read(path, _PUBLIC, "chmod 644")
    with contextlib.suppress(ValueError, TypeError, UnsupportedAlgorithm):
        key = load_pem_public_key(content)
        if isinstance(key, Ed25519PublicKey):
            return key
    raise ConfigError([f"{path} is no Ed25519 public key in PEM; `acclimate keys new` makes them"])


def read_secret(path: Path) -> bytes:
    """32 bytes to encrypt frames with (64 hex digits); raises ConfigError."""
    content = _read(path, _PRIVATE, "chmod 600")
    with contextlib.suppress(ValueError):
        if len(key := bytes.fromhex(content.decode().strip())) == SECRET_BYTES:
            return key
    raise ConfigError([f"{path} holds no 64 hex digits; `acclimate keys new --buffer` makes a key"])


def new_pair(path: Path) -> str:
    """Write a signing key to `path` and its public half to `<path>.pub`; returns the fingerprint.

    Raises ConfigError where one of them is there: a key is never overwritten.
    """
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    public_path = path.with_name(path.name + ".pub")
    if public_path.exists():
        raise ConfigError([f"{public_path} is there already; a key is never overwritten"])
    key = Ed25519PrivateKey.generate()
    plain = form.NoEncryption()
    _create(path, key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, plain), 0o600)
    public = key.public_key()
    pem = public.public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
    _create(public_path, pem, 0o644)
    return fingerprint(public)


def new_secret(path: Path) -> None:
    """Write a key for frames to `path`; raises ConfigError where there is one."""
    _create(path, _secret(), 0o600)


def replace_secret(path: Path) -> None:
    """Another key in the old one's place: what that one encrypted is lost for ever. Raises OSError,
    and then the old one is still there."""
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    _create(fresh, _secret(), 0o600)
    fresh.replace(path)
    sync(path.parent)


def _secret() -> bytes:
    return (secrets.token_hex(SECRET_BYTES) + "\n").encode()


def _create(path: Path, content: bytes, rights: int) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        handle = os.open(path, flags, rights)
    except FileExistsError as error:
        raise ConfigError([f"{path} is there already; a key is never overwritten"]) from error
    with os.fdopen(handle, "wb") as file:
        os.fchmod(handle, rights)  # whatever the umask took away
        file.write(content)
        file.flush()
        os.fsync(handle)
    sync(path.parent)


def _read(path: Path, forbidden: int, remedy: str) -> bytes:
    """The content of a plain file, ours or root's, without the rights `forbidden` to others."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as file:
            _check_rights(path, os.fstat(handle), forbidden, remedy)
            return file.read(_MOST)
    except OSError as error:
        raise ConfigError([f"key {path} cannot be read: {error.strerror or error}"]) from error


def _check_rights(path: Path, info: os.stat_result, forbidden: int, remedy: str) -> None:
    if not stat.S_ISREG(info.st_mode):
        raise ConfigError([f"key {path} is no plain file"])
    if info.st_uid not in (0, os.geteuid()):
        raise ConfigError([f"key {path} belongs to user {info.st_uid}; chown it to who runs this"])
    if info.st_mode & forbidden:
        rights = stat.S_IMODE(info.st_mode)
        does = "read" if forbidden == _PRIVATE else "change"
        raise ConfigError([f"key {path} has the rights {rights:o}: others may {does} it; {remedy}"])
