"""Signatures: who made a bundle or an engine, and whether that may serve here.

    <folder>/manifest.json.sig   over manifest.json, which holds the digests of all other files
    <folder>/engine.json.sig     the same for a graph and for an engine built from it

What counts is decided once, by the process that read the configuration, and handed to its children
in their environment: not in the state folder, which is what the signatures guard, and not from
call to call, where one could be forgotten.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from acclimate.configs.trust import TrustConfig
from acclimate.errors import ConfigError, UntrustedBundle
from acclimate.runtime.keys import fingerprint, read_private, read_public

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
        Ed25519PublicKey,
    )

ENVIRONMENT = "ACCLIMATE_TRUST"
SUFFIX = ".sig"
_PURPOSE = b"acclimate signature 1\n"
_MOST = 4096


@dataclass(frozen=True)
class Policy:
    """Keys by their fingerprints; `signer` is this device's own."""

    required: bool
    keys: Mapping[str, Ed25519PublicKey]
    signer: Ed25519PrivateKey | None


def hand_on(config: TrustConfig) -> None:
    """This is what counts, here and in every process started from here; raises ConfigError with
    every key that will not do."""
    text = json.dumps(asdict(config))
    _policy(text)
    os.environ[ENVIRONMENT] = text


def policy() -> Policy:
    """What counts in this process; keys are read once."""
    return _policy(os.environ.get(ENVIRONMENT, "{}"))


def sign(path: Path) -> None:
    """Sign a file with the device's own key, if it has one; raises OSError."""
    if (signer := policy().signer) is not None:
        made = signer.sign(_message(path.name, path.read_bytes()))
        told = {
            "algorithm": "ed25519", "key": fingerprint(signer.public_key()),
            "signature": base64.b64encode(made).decode(),
        }  # fmt: skip
        _beside(path).write_text(json.dumps(told, indent=1) + "\n")


def must_sign(what: str) -> None:
    """Raises UntrustedBundle where `what` would be of no use: unsigned, and signatures required."""
    if policy().required and policy().signer is None:
        raise UntrustedBundle(
            f"{what} has to be made anew and signed, which needs trust.signing_key; "
            "or copy a state folder here that was prepared and signed elsewhere"
        )


def verify(path: Path, content: bytes) -> str | None:
    """Who signed the file of this content (a fingerprint); None where nobody has to.

    Raises UntrustedBundle that says what is wrong with the signature.
    """
    rules = policy()
    if not rules.required:
        return None
    signer, signature = _read(path)
    if (key := rules.keys.get(signer)) is None:
        raise UntrustedBundle(
            f"{path} is signed by the key {signer}, which is none of trust.keys "
            f"({', '.join(sorted(rules.keys))})"
        )
    if not _is_valid(key, signature, _message(path.name, content)):
        raise UntrustedBundle(f"{path} was altered: the signature of {signer} is not of it")
    return signer


def distrust(path: Path) -> str | None:
    """Why a file's signature does not do; None where it does, or nobody asks for one."""
    if not policy().required:
        return None
    try:
        verify(path, path.read_bytes())
    except (UntrustedBundle, OSError) as error:
        return str(error)
    return None


def _is_valid(key: Ed25519PublicKey, signature: bytes, message: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature

    try:
        key.verify(signature, message)
    except InvalidSignature:
        return False
    return True


def _read(path: Path) -> tuple[str, bytes]:
    """Fingerprint and signature beside a file; raises UntrustedBundle."""
    try:
        with _beside(path).open("rb") as file:
            told = json.loads(file.read(_MOST))
        if told["algorithm"] != "ed25519":
            raise ValueError(f"algorithm {told['algorithm']!r}")
        return str(told["key"]), base64.b64decode(told["signature"], validate=True)
    except FileNotFoundError as error:
        raise UntrustedBundle(
            f"{path} is not signed, and trust.require_signatures asks for it"
        ) from error
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UntrustedBundle(f"{_beside(path)} is no signature: {error!r}") from error


def _beside(path: Path) -> Path:
    return path.with_name(path.name + SUFFIX)


def _message(name: str, content: bytes) -> bytes:
    """A manifest's signature is none of an engine's record."""
    return _PURPOSE + name.encode() + b"\n" + content


@lru_cache(maxsize=4)
def _policy(text: str) -> Policy:
    config = TrustConfig(**json.loads(text))
    keys, problems, signer = {}, [], None
    try:
        if config.signing_key is not None:
            signer = read_private(Path(config.signing_key))
            keys[fingerprint(signer.public_key())] = signer.public_key()
    except ConfigError as error:
        problems += [f"trust.signing_key: {problem}" for problem in error.problems]
    for index, path in enumerate(config.keys):
        try:
            key = read_public(Path(path))
            keys[fingerprint(key)] = key
        except ConfigError as error:
            problems += [f"trust.keys[{index}]: {problem}" for problem in error.problems]
    if problems:
        raise ConfigError(problems)
    return Policy(config.require_signatures, keys, signer)
