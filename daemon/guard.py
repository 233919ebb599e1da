"""What a daemon makes sure of before it starts: whose work counts, and that its keys will do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from acclimate.configs.schema import BufferConfig, Config
from acclimate.daemon.processes import can_adapt
from acclimate.errors import ConfigError
from acclimate.runtime import trust
from acclimate.runtime.vault import Vault


def settle(config: Config, state: Path | None = None) -> None:
    """Hand the rules of trust on to all processes started from here.

    Raises ConfigError with every key that will not do. With a `state` folder to serve from the
    buffer's is left out: without it nothing is learned and nothing removed, and serving goes on.
    """
    problems: list[str] = []
    try:
        trust.hand_on(config.trust)
    except ConfigError as error:
        problems += error.problems
    if config.trust.require_signatures and config.trust.signing_key is None and _rounds(config):
        problems.append(
            "trust.require_signatures without trust.signing_key: what rounds make could never "
            "serve; name a key (`acclimate keys new`) or set adapt.enabled: false"
        )
    problems += locked_out(config.buffer, None) if state is None else []
    if problems:
        raise ConfigError(problems)


def settle_for_job(config: Config) -> None:
    """The same for a job that makes no rounds and buffers nothing."""
    settle(replace(config, adapt=replace(config.adapt, enabled=False), buffer=BufferConfig()))


def _rounds(config: Config) -> bool:
    return config.adapt.enabled and can_adapt()


def locked_out(config: BufferConfig, state: Path | None) -> list[str]:
    """What is wrong with the buffer's key."""
    vault = Vault(config.key_file)
    why = vault.trouble if state is None else vault.locked_out(state / "buffer")
    return [] if why is None else [f"buffer.key_file: {why}"]
