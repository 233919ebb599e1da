"""Whose work may serve: signatures on bundles and engines."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TrustConfig:
    """`keys` are files of Ed25519 public keys (PEM) whose signatures count, `signing_key` the
    device's own private key, which signs all that is made here and counts as well. With
    `require_signatures` nothing is served, learned from or imported without one of theirs.
    """

    require_signatures: bool = False
    keys: tuple[str, ...] = ()
    signing_key: str | None = None

    def problems(self) -> list[str]:
        """What is wrong with it as a whole."""
        if self.require_signatures and not self.keys and self.signing_key is None:
            return ["require_signatures: no key could sign; name signing_key, keys or both"]
        return []
