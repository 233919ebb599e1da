"""Another configuration while it serves: read and checked whole, then taken up whole or not at all.

What the daemon goes by changes on the spot. What only a fresh runtime can do is tried by one: if
it does not come up, the configuration before serves on. What the engine was made for, and where
the daemon listens, stays until the daemon is started again.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from acclimate.configs.schema import Config, to_dict
from acclimate.configs.source import public
from acclimate.daemon.gauges import expose_cameras
from acclimate.daemon.guard import locked_out
from acclimate.errors import ConfigError
from acclimate.runtime.durable import write_atomic

if TYPE_CHECKING:
    from acclimate.daemon.lifecycle import Lifecycle

AT_ONCE, FRESH_RUNTIME, RESTART = "at once", "a fresh runtime", "a restart of the daemon"
# A key or its whole section; RESTART for all that is not named here.
TAKES = {
    "drift": AT_ONCE, "adapt": AT_ONCE, "gate": AT_ONCE, "shadow": AT_ONCE, "probation": AT_ONCE,
    "daemon.stop_timeout_s": AT_ONCE, "daemon.max_restarts": AT_ONCE,
    "daemon.restart_window_s": AT_ONCE, "daemon.hang_timeout_s": AT_ONCE,
    "source": FRESH_RUNTIME, "cameras": FRESH_RUNTIME, "outputs": FRESH_RUNTIME,
    "buffer": FRESH_RUNTIME, "serving.threads": FRESH_RUNTIME,
    "serving.fit": FRESH_RUNTIME, "serving.overlay_video": FRESH_RUNTIME,
    "serving.label_png": FRESH_RUNTIME, "serving.latest_hz": FRESH_RUNTIME,
    "adapt.blocks": RESTART,  # the engine takes the weights of that many
}  # fmt: skip
Changes = dict[str, list[Any]]


def takes(key: str) -> str:
    """What a change of this key needs."""
    return TAKES.get(key) or TAKES.get(key.split(".")[0], RESTART)


def changes(before: Config, after: Config) -> Changes:
    """{section.key: [before, after]} of all that differs."""
    old, new = _flat(to_dict(before)), _flat(to_dict(after))
    keys = [*new, *(old.keys() - new.keys())]
    return {key: [old.get(key), new.get(key)] for key in keys if old.get(key) != new.get(key)}


def problems(changed: Changes) -> list[str]:
    """Why these cannot be taken up while it serves; one for each."""
    return [
        f"{key}: a change needs {RESTART} (systemctl restart acclimate)"
        for key in changed if takes(key) == RESTART
    ]  # fmt: skip


def go_by(life: Lifecycle, config: Config) -> None:
    """Let all go by another configuration for the same engine; what is under way keeps its own."""
    life.config = config
    life.stream.reconfigure(config)
    life.rewording.reconfigure(config)
    life.rounds.reconfigure(life.rewording.for_rounds())
    life.serving.reconfigure(config.daemon)
    expose_cameras(life)
    life.serving.send({"cmd": "configure", "config": to_dict(config)})


class Reload:
    """`ask` for one; `busy` until it was taken up or refused."""

    def __init__(self, life: Lifecycle) -> None:
        self._life = life
        self.file = life.registry.folder / "config.json"  # where every runtime reads it
        self._read: Callable[[], Config] | None = None
        self._trial: tuple[Config, Changes] | None = None  # what to go back to; what changed

    @property
    def busy(self) -> bool:
        """Was one asked for, or is a fresh runtime trying one?"""
        return self._read is not None or self._trial is not None

    def ask(self, read: Callable[[], Config]) -> None:
        """Take up what `read` gives, as soon as no swap and no other reload is under way."""
        self._read = read

    def watch(self) -> None:
        """To be called at every tick; raises EngineError where no runtime can be started."""
        life = self._life
        if life.swapping is not None or life.serving.ended:
            return
        if self._read is None or self._trial is not None:
            return
        read, self._read = self._read, None
        try:
            wanted = read()
            changed = changes(life.config, wanted)
            found = problems(changed)
            if any(key.startswith("buffer.") for key in changed):
                found += locked_out(wanted.buffer, life.registry.folder)
            if found:
                raise ConfigError(found)
            self._keep(wanted)
        except ConfigError as error:
            self._refuse(list(error.problems))
        except OSError as error:
            self._refuse([f"the state folder cannot be written: {error}"])
        else:
            self._take_up(wanted, changed)

    def came_up(self) -> None:
        """The runtime is ready: what it was tried with stays."""
        if self._trial is not None:
            (_, changed), self._trial = self._trial, None
            self._tell(changed)

    def died(self) -> None:
        """The runtime died, and another will be started: with the configuration before, if it
        never came up with this one."""
        if self._trial is None:
            return
        (before, _), self._trial = self._trial, None
        why = self._life.serving.forgive()
        try:
            self._keep(before)
        except OSError as error:
            self._life.events.write("trouble", message=str(error))
        go_by(self._life, before)
        self._refuse([f"the runtime did not start with it: {why}"])

    def _take_up(self, wanted: Config, changed: Changes) -> None:
        before = self._life.config
        go_by(self._life, wanted)
        if any(takes(key) == FRESH_RUNTIME for key in changed):
            self._life.renew()
            self._trial = before, changed  # only now: the last words of the old one are heard
        else:
            self._tell(changed)

    def _keep(self, config: Config) -> None:
        """Raises OSError."""
        write_atomic(self.file, (json.dumps(to_dict(config), indent=1) + "\n").encode())

    def _tell(self, changed: Changes) -> None:
        told = {key: [_discreet(value) for value in pair] for key, pair in changed.items()}
        self._life.events.write("config_reloaded", changed=told)

    def _refuse(self, found: list[str]) -> None:
        self._life.events.write("config_refused", problems=found)


def _flat(raw: dict[str, Any]) -> dict[str, Any]:
    """{section: {key: value}} -> {section.key: value}; JSON makes lists of tuples."""
    flat: dict[str, Any] = {}
    for section, content in json.loads(json.dumps(raw)).items():
        keys = content if isinstance(content, dict) else {"": content}
        flat |= {f"{section}.{key}".rstrip("."): value for key, value in keys.items()}
    return flat


def _discreet(value: Any) -> Any:
    """Without user and password of an address, however deep it lies."""
    if isinstance(value, dict):
        return {key: _discreet(content) for key, content in value.items()}
    return public(value) if isinstance(value, str) else value
