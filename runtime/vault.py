"""Buffered frames as they lie on disk: plain (`.npz`), or each encrypted as a whole (`.sealed`).

AES-256-GCM; an entry's name belongs to what is authenticated, so that none can take another's
place. A sealed file begins with its key's name: a wrong key is no rot, and costs nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
from pathlib import Path

from acclimate.errors import ConfigError, SourceError
from acclimate.runtime.durable import write_atomic
from acclimate.runtime.keys import read_secret

PLAIN, SEALED = ".npz", ".sealed"
_MAGIC, _NONCE = b"acclimate sealed 1\n", 12
_HEAD = len(_MAGIC) + 8 + _NONCE


class Vault:
    """Opens and closes entries; `trouble` says why the key will not do, if it will not."""

    def __init__(self, key_file: str | None) -> None:
        self.trouble: str | None = None
        self._key: bytes | None = None
        try:
            self._key = None if key_file is None else read_secret(Path(key_file))
        except ConfigError as error:
            self.trouble = str(error)

    @property
    def suffix(self) -> str:
        """What entries written now end with."""
        return PLAIN if self._key is None else SEALED

    def digest(self, content: bytes) -> str:
        """Tells contents apart; without the key nobody else can tell which one it was."""
        if self._key is None:
            return hashlib.sha256(content).hexdigest()
        return hmac.new(self._key, content, "sha256").hexdigest()

    def close(self, name: str, content: bytes) -> bytes:
        """An entry as it goes to disk under this name; raises SourceError without a sound key."""
        if self.trouble is not None:
            raise SourceError(self.trouble)
        if self._key is None:
            return content
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        head = _MAGIC + _called(self._key) + os.urandom(_NONCE)
        return head + AESGCM(self._key).encrypt(head[-_NONCE:], content, _bound(name, head))

    def open(self, name: str, content: bytes) -> bytes:
        """What `close` was given. Raises SourceError where its key is another one, ValueError for
        a sealed file that was altered or bears another's name."""
        if not name.endswith(SEALED):
            return content
        if not content.startswith(_MAGIC) or len(content) < _HEAD:
            raise ValueError("this is no sealed entry")
        head = content[:_HEAD]
        if (why := self._wrong_key(head)) is not None or self._key is None:
            raise SourceError(f"{name}: {why}")
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        try:
            bound = _bound(name, head)
            return AESGCM(self._key).decrypt(head[-_NONCE:], content[_HEAD:], bound)
        except InvalidTag as error:
            raise ValueError("it was altered, or it is another entry's content") from error

    def locked_out(self, folder: Path) -> str | None:
        """Why this key, or none, is wrong for the entries in `folder`; None where it is right."""
        if self.trouble is not None:
            return self.trouble
        wrong = [why for path in sorted(folder.glob(f"*{SEALED}")) if (why := self._look(path))]
        if not wrong:
            return None
        return (
            f"{len(wrong)} buffered frames in {folder} are closed ({wrong[0]}); give the key they "
            "were encrypted with, or give them up: `acclimate purge --all`"
        )

    def seal_all(self, folder: Path) -> int:
        """Encrypt what lies there plain from before there was a key; returns how many."""
        plain = [] if self._key is None else sorted(folder.glob(f"*{PLAIN}"))
        for path in plain:
            sealed = path.with_suffix(SEALED)
            write_atomic(sealed, self.close(sealed.name, path.read_bytes()))
            path.unlink()
        return len(plain)

    def _look(self, path: Path) -> str | None:
        with contextlib.suppress(OSError), path.open("rb") as file:
            head = file.read(_HEAD)
            return self._wrong_key(head) if head.startswith(_MAGIC) else None
        return None

    def _wrong_key(self, head: bytes) -> str | None:
        made_with = head[len(_MAGIC) : len(_MAGIC) + 8]
        if self._key is None:
            return f"encrypted with the key {made_with.hex()}, and no buffer.key_file is named"
        if made_with != (own := _called(self._key)):
            return f"encrypted with the key {made_with.hex()}, buffer.key_file is {own.hex()}"
        return None


def key_name(key: bytes) -> str:
    """What a key for frames is called; says nothing of the key itself."""
    return _called(key).hex()


def _called(key: bytes) -> bytes:
    return hashlib.sha256(b"acclimate frames\n" + key).digest()[:8]


def _bound(name: str, head: bytes) -> bytes:
    return head[:-_NONCE] + name.encode()
