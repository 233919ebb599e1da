"""Another configuration while it serves: read and checked whole, then taken up whole or not at all.

What the daemon goes by changes on the spot. What only a fresh runtime can do is tried by one, which
loads while the old one serves: until it stands by nothing changes, and one that cannot is told of.
What it finds out only when it opens its files brings the configuration before back. What the engine
was made for, and where the daemon listens, stays until the daemon is started again.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acclimate.configs.schema import Config, to_dict
from acclimate.configs.source import public
from acclimate.daemon.gauges import expose_cameras
from acclimate.daemon.guard import locked_out
from acclimate.errors import ConfigError, EngineError
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
        self._loading: tuple[Config, Changes] | None = None  # by a runtime that is to stand by
        self._trial: tuple[Config, Changes] | None = None  # what to go back to; what changed

    @property
    def busy(self) -> bool:
        """Was one asked for, or is a fresh runtime trying one?"""
        return self._read is not None or self.loading or self._trial is not None

    @property
    def loading(self) -> bool:
        """Does a fresh runtime load, or wait for its turn?"""
        return self._loading is not None

    @property
    def _candidate(self) -> Path:
        return self.file.with_suffix(".wanted.json")

    def ask(self, read: Callable[[], Config]) -> None:
        """Take up what `read` gives, as soon as no swap and no other reload is under way."""
        self._read = read

    def watch(self) -> None:
        """To be called at every tick; raises EngineError where no runtime can be started."""
        if self._life.swapping is not None or self._life.serving.ended:
            return
        try:
            if self._loading is not None:
                self._look(*self._loading)
            elif self._read is not None and self._trial is None:
                read, self._read = self._read, None
                self._begin(read())
        except ConfigError as error:
            self._refuse(list(error.problems))
        except OSError as error:
            self._refuse([f"it cannot be kept or tried: {error}"])

    def came_up(self) -> None:
        """The runtime is ready: what it was tried with stays."""
        if self._trial is not None:
            (_, changed), self._trial = self._trial, None
            self._tell(changed)

    def died(self) -> None:
        """The runtime died, and another will be started: with the configuration before, if it
        never came up with this one. It needs the memory that one that loads has taken."""
        self.give_up("the runtime died while another one loaded; ask again")
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

    def give_up(self, why: str) -> None:
        """Load no more, if a fresh runtime does."""
        if self.loading:
            self._refuse([why])

    def _begin(self, wanted: Config) -> None:
        """Raises ConfigError, OSError."""
        changed = changes(self._life.config, wanted)
        found = problems(changed)
        if any(key.startswith("buffer.") for key in changed):
            found += locked_out(wanted.buffer, self._life.registry.folder)
        if found:
            raise ConfigError(found)
        if any(takes(key) == FRESH_RUNTIME for key in changed):
            self._load(wanted, changed)
        else:
            self._keep(wanted)
            go_by(self._life, wanted)
            self._tell(changed)

    def _load(self, wanted: Config, changed: Changes) -> None:
        """By a file of its own: a daemon that dies meanwhile leaves the one that is proven."""
        write_atomic(self._candidate, _written(wanted))
        self._life.serving.stand_by(self._life.beginning, self._candidate)
        self._loading = wanted, changed

    def _look(self, wanted: Config, changed: Changes) -> None:
        """Raises ConfigError where it does not stand by, OSError."""
        standby, why_not = self._life.serving.standby, ""
        assert standby is not None
        try:
            if not standby.stands() or self._life.proving:
                return
        except EngineError as error:
            why_not = str(error)
        if standby.beginning != self._life.beginning:  # another adapter or other words serve now
            self._load(wanted, changed)
        elif why_not:
            raise ConfigError([f"the runtime did not start with it: {why_not}"])
        else:
            self._take_up(wanted, changed)

    def _take_up(self, wanted: Config, changed: Changes) -> None:
        before = self._life.config
        self._keep(wanted)
        go_by(self._life, wanted)
        self._life.renew()
        self._forget()
        self._trial = before, changed  # only now: the last words of the old one are heard

    def _keep(self, config: Config) -> None:
        """Raises OSError."""
        write_atomic(self.file, _written(config))

    def _forget(self) -> None:
        self._loading = None
        with contextlib.suppress(OSError):  # the next one overwrites it
            self._candidate.unlink(missing_ok=True)

    def _tell(self, changed: Changes) -> None:
        told = {key: [_discreet(value) for value in pair] for key, pair in changed.items()}
        self._life.events.write("config_reloaded", changed=told)

    def _refuse(self, found: list[str]) -> None:
        self._life.serving.dismiss()
        self._forget()
        self._life.events.write("config_refused", problems=found)


def _written(config: Config) -> bytes:
    return (json.dumps(to_dict(config), indent=1) + "\n").encode()


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
