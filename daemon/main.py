"""The daemon: prepare, serve, adapt, until the source ends or someone says stop."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from acclimate.configs.schema import Config, parse_config, to_dict
from acclimate.configs.vocabulary import load_served
from acclimate.daemon import cgroup
from acclimate.daemon.books import by_configuration
from acclimate.daemon.events import Event, EventLog
from acclimate.daemon.fsck_truth import readable
from acclimate.daemon.guard import locked_out, settle
from acclimate.daemon.hold import address
from acclimate.daemon.http import Window
from acclimate.daemon.lifecycle import Lifecycle
from acclimate.daemon.metrics import Metrics
from acclimate.daemon.processes import can_adapt, command, environment
from acclimate.daemon.registry import BASE, Registry
from acclimate.daemon.service import Service
from acclimate.daemon.serving import Serving
from acclimate.daemon.status import snapshot
from acclimate.daemon.unix import user_name
from acclimate.daemon.unwritten import as_prepared
from acclimate.daemon.waiting import Meanwhile, nothing, wait_for
from acclimate.errors import AcclimateError, ConfigError, ExportError, InUse
from acclimate.runtime import trust
from acclimate.runtime.durable import write_atomic
from acclimate.runtime.job import manifest

if TYPE_CHECKING:
    from acclimate.daemon.control import Control

TICK = 0.05
HOLD_PATIENCE = 5.0  # s: a command on a folder without a daemon holds it for a moment
Hook = Callable[[Lifecycle], None]


def prepare(config: Config, state: Path, meanwhile: Meanwhile = nothing) -> Path:
    """Make `state` servable: graph, base bundle, the engine that is wanted.

    Returns the resolved configuration's path. What `meanwhile` raises ends it.

    Where torch is not installed, a state folder that was prepared elsewhere is taken as it is, and
    so is one that cannot be written (see `unwritten`).
    """
    state.mkdir(parents=True, exist_ok=True)
    trust.hand_on(config.trust)
    if not can_adapt():
        _as_it_is(config, state)
    wanted = state / "config.wanted.json"
    try:
        write_atomic(wanted, (json.dumps(to_dict(config), indent=1) + "\n").encode())
    except OSError as refusal:
        path = as_prepared(config, state, refusal)
    else:
        path = _made(config, state, wanted, meanwhile)
    if (why := Registry(state).distrust(BASE)) is not None:
        raise ExportError(f"{why}; prepare the state folder anew where a signing key is")
    return path


def _made(config: Config, state: Path, wanted: Path, meanwhile: Meanwhile) -> Path:
    """Make what `wanted`, the configuration's file, asks for, and then let the folder say so."""
    whole = ["--config", str(wanted), "--state", str(state)]
    try:
        code = _export(whole, meanwhile) if can_adapt() else _build(config, state, meanwhile)
        if code:
            raise ExportError(f"the engine could not be prepared in {state} (exit code {code})")
        # only now: other commands take the state folder for what it says
        return wanted.replace(state / "config.json")
    finally:
        wanted.unlink(missing_ok=True)


def _build(config: Config, state: Path, meanwhile: Meanwhile) -> int:
    """An engine from the graph that is there, which needs no torch; its exit code."""
    wanted = config.serving
    options = ["--engine", wanted.engine, "--precision", wanted.precision]
    options += ["--capacity", str(wanted.capacity), "--state", str(state)]
    return wait_for(command("build", options), meanwhile, environment("build"))


def _as_it_is(config: Config, state: Path) -> None:
    """Would a state folder that was prepared elsewhere do? ExportError otherwise."""
    if not (state / "engine" / "engine.json").is_file():
        raise ExportError(
            f"{state} holds no engine, and making one needs torch: "
            "pip install 'acclimate[adapt]', or copy a prepared state folder here"
        )
    words = load_served(config.model.vocabulary)
    if (Registry(state).manifest(BASE) or {}).get("vocabulary_digest") != words.digest:
        raise ExportError(
            f"{state} was prepared for another vocabulary than {config.model.vocabulary}, and "
            "embedding its words needs torch: pip install 'acclimate[adapt]'"
        )


def check(config: Config) -> bool:
    """Ask the exporting process whether weights and words would do; writes nothing.

    False where torch is not installed and nobody can tell; raises ConfigError or ExportError.
    """
    settle(config)
    if not can_adapt():
        return False
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(to_dict(config), file)
        file.flush()
        if code := _export(["--config", file.name, "--check"]):
            raise ExportError(f"the model cannot be prepared (exit code {code})")
    return True


def _export(arguments: list[str], meanwhile: Meanwhile = nothing) -> int:
    """Its exit code; ConfigError, which no restart mends, after it said what is wrong."""
    code = wait_for(command("export", arguments), meanwhile, environment("export"))
    if code == os.EX_CONFIG:
        raise ConfigError(["the model was not prepared: its weights, words or settings do not fit"])
    return code


def run(
    config: Config, state: Path, out: Path | None = None, duration: float | None = None,
    listener: Callable[[Event], None] = lambda _: None, hook: Hook = lambda _: None,
    stop: threading.Event | None = None, service: Service | None = None,
) -> dict[str, Any]:  # fmt: skip
    """The whole life of one daemon; returns its last status. `hook` is called at every tick.

    Raises Stopped where it is told to end while it prepares.
    """
    service = service or Service(stop=stop)
    config = possible(config)
    with only_one(state, HOLD_PATIENCE, service.preparing) as daemon_file:
        with contextlib.suppress(OSError):  # it only tells who asks that a daemon starts here
            daemon_file.write_text(json.dumps({"pid": os.getpid()}) + "\n")
        settle(config, state)
        caps, lost = cgroup.settle(), readable(state)
        before = manifest(state / "adapters" / BASE)
        resolved = prepare(config, state, service.preparing)
        metrics, events = Metrics(), EventLog(state / "events.jsonl", listener)
        by_configuration(events, before, Registry(state))
        arguments = ["--config", str(resolved)] + (["--out", str(out)] if out else [])
        arguments += ["--duration", str(duration)] if duration is not None else []
        serving = Serving(config.daemon, state, arguments, metrics)
        life = Lifecycle(config, state, serving, events, metrics, service.preparing)
        control = listen(config, life)
        window = Window(
            config.daemon.http_host, config.daemon.http_port, state, lambda: snapshot(life),
            metrics.text,
        )  # fmt: skip
        life.reload.file = resolved

        def present() -> None:
            announce(daemon_file, config.daemon.http_host, window.port)
            control.open_socket()

        life.owe(present)
        where = f"http://{config.daemon.http_host}:{window.port}/"
        events.write("started", http=where, caps=caps.told)
        if lost is not None:
            events.write("truth_rebuilt", reason=lost)
        for why in locked_out(config.buffer, state):
            events.write("buffer_locked", reason=why)
        if not config.adapt.enabled:
            events.write("adaptation_off", torch=can_adapt())
        try:
            life.start()
            while life.tick() and not service.stop.is_set():
                service.look(life)
                hook(life)
                time.sleep(TICK)
        finally:
            service.stopping(life.config.daemon.stop_timeout_s)
            life.inbox.close()
            life.close()
            window.close()
            control.close()
            events.write("stopped", reason=serving.reason, ledger=serving.ledger)
    return snapshot(life)


def possible(config: Config) -> Config:
    """Without adaptation where torch is not installed."""
    if can_adapt():
        return config
    return replace(config, adapt=replace(config.adapt, enabled=False))


def listen(config: Config, life: Lifecycle) -> Control:
    """Open the control API. Only a daemon needs its libraries, which take half a second to load."""
    from acclimate.daemon.api import application
    from acclimate.daemon.control import Control

    return Control(config.control, life.registry.folder, application(life, config), life.events)


@contextlib.contextmanager
def only_one(
    state: Path, patience: float | None = None, meanwhile: Meanwhile = nothing
) -> Iterator[Path]:
    """Hold the state folder, a daemon with `patience`: seconds that a command may hold it yet.

    Raises InUse while another one does, OSError where nothing can be written and nobody ever held
    it, AcclimateError where a command of root would leave files to another user's daemon (a daemon
    that is root itself, as in a container, may).
    """
    state.mkdir(parents=True, exist_ok=True)
    path = state / "daemon.json"
    whose = (path if path.exists() else state).stat().st_uid
    if os.geteuid() == 0 != whose and patience is None:  # it could not open what root writes here
        name = user_name(whose)
        raise AcclimateError(f"{state} is {name}'s, not root's: sudo -u {name} acclimate ...")
    with _opened(path) as file:
        deadline = time.monotonic() + (patience or 0.0)
        while not _locked(file):
            if time.monotonic() >= deadline:
                raise InUse([f"another acclimate runs on {state}; use another --state"])
            meanwhile()
            time.sleep(TICK)
        try:
            yield path
        finally:
            with contextlib.suppress(OSError):  # a disk that became read-only
                path.write_text("")


def _locked(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _opened(path: Path) -> IO[str]:
    try:
        return path.open("a")
    except OSError:
        if not path.is_file():
            raise
        return path.open()  # a lock needs no disk that can be written


def announce(path: Path, host: str, port: int) -> None:
    """Say where this daemon can be asked. Written in place: the lock hangs on the file."""
    path.write_text(json.dumps({"pid": os.getpid(), "http": address(host, port)}) + "\n")


def with_source(config: Config, url: str | None) -> Config:
    """The configuration with another source; raises ConfigError where that is none."""
    if url is None:
        return config
    raw = to_dict(config)
    return parse_config(raw | {"source": raw["source"] | {"url": url}, "cameras": {}})
