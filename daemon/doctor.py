"""`acclimate doctor`: what is wrong with driver, engine, camera, disk, clock, and what to do."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import subprocess
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from acclimate.configs.schema import Config
from acclimate.configs.source import public
from acclimate.configs.vocabulary import load_served
from acclimate.daemon import checks
from acclimate.daemon.checks import Check, Finding, Patient
from acclimate.daemon.engines import configured
from acclimate.daemon.hold import ask, is_held, living
from acclimate.daemon.processes import can_adapt, command
from acclimate.daemon.registry import Registry
from acclimate.daemon.shares import SHARES
from acclimate.daemon.status import ledger_line
from acclimate.errors import ConfigError, CorruptBundle, SourceError
from acclimate.runtime.datasets import SOURCE_PICTURES, find_own
from acclimate.runtime.pixels import check_label_map, check_pixels

PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443}
REACH = 5.0
IN_FLIGHT = 64  # several cameras, several frames each
SIGNS = {"ok": "ok", "warning": "WARNING", "problem": "PROBLEM"}


def examine(state: Path, config: Config, status: dict[str, Any] | None) -> list[Finding]:
    """Every check; `status` is the running daemon's."""
    patient = Patient(state, config, status)
    return [found for check in (*CHECKS, *MACHINE) if (found := _told(check, patient)) is not None]


def _told(check: Check, patient: Patient) -> Finding | None:
    """What a check found; one that may not look says so and keeps the others from nothing."""
    try:
        return check(patient)
    except OSError as error:
        return Finding(check.__name__, "problem", str(error), "see rights, disk and writing")


def daemon(patient: Patient) -> Finding:
    """Does it run, does it answer, is it well?"""
    status, process = patient.status, living(patient.state)
    if status is None and process is None and not is_held(patient.state):
        return Finding("daemon", "ok", f"none runs on {patient.state}")
    if status is None:
        who = "a daemon" if process is None else f"process {process}"
        return Finding(
            "daemon", "problem", f"{who} runs on {patient.state} and does not answer",
            "wait while it starts; else look at its logs and restart it",
        )  # fmt: skip
    if not 0 <= _unaccounted(status["frames"]) <= IN_FLIGHT:
        return Finding(
            "daemon", "problem", f"frames got lost: {ledger_line(status['frames'])}",
            "this is a mistake in acclimate: please report it with the event log",
        )  # fmt: skip
    if status["trouble"]:
        return Finding("daemon", "problem", str(status["trouble"]), "see disk and writing")
    if held := [f"{key}: {status[key]}" for key in ("paused", "pinned") if status[key]]:
        return Finding(
            "daemon", "warning", f"it learns nothing, by hand: {', '.join(held)}",
            "acclimate resume, acclimate pin --off",
        )  # fmt: skip
    return Finding("daemon", "ok", f"{status['active']} serves; {status['doing']}")


def _unaccounted(ledger: dict[str, Any]) -> int:
    """Frames captured of which nobody says what became of them; those in flight are among them."""
    dropped: int = sum(ledger["dropped"].values())
    return int(ledger["captured"]) - int(ledger["served"]) - dropped


def registry(patient: Patient) -> Finding | None:
    """Is the truth on disk readable, and is what it names there?"""
    if not (patient.state / "state.json").is_file():
        return None
    try:
        kept = Registry(patient.state)
    except (CorruptBundle, OSError) as error:
        return Finding("registry", "problem", str(error), "acclimate fsck")
    gone = [name for name in (kept.state.active, "base") if kept.manifest(name) is None]
    if gone:
        return Finding(
            "registry", "problem", f"{gone[0]} has no readable manifest", "acclimate fsck"
        )  # fmt: skip
    bad = len(kept.state.quarantined)
    told = f"{kept.state.active} is active, {len(kept.names())} adapters, {bad} quarantined"
    return Finding("registry", "ok", told)


def engine(patient: Patient) -> Finding:
    """Is there one, and is it of this machine? The running daemon knows; else another process
    looks, which knows the libraries."""
    if patient.status is not None and (now := patient.status.get("engine")):
        return Finding(
            "engine", "ok", f"{now['engine']} in {now['precision']} serves: {now['reason']}"
        )  # fmt: skip
    if not (patient.state / "engine" / "engine.json").is_file():
        if can_adapt():
            return Finding("engine", "ok", "none yet; the first `acclimate run` makes it")
        return Finding(
            "engine", "problem", f"{patient.state} holds none, and making one needs torch",
            "pip install 'acclimate[adapt]', or copy a prepared state folder here",
        )  # fmt: skip
    task = command("engines", ["list", "--state", str(patient.state), "--json"])
    try:
        done = subprocess.run(task, capture_output=True, text=True, timeout=120, check=False)
        rows = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        return Finding("engine", "problem", "its library did not answer in 120 s", "see driver")
    except ValueError:
        said = (done.stderr or done.stdout).strip().splitlines()
        return Finding("engine", "problem", said[-1] if said else "unreadable", "acclimate export")
    return _of_rows(rows)


def _of_rows(rows: list[dict[str, Any]]) -> Finding:
    serving = [row for row in rows if row["state"] == "serves"]
    altered = [row["folder"] for row in rows if row["state"] == "altered"]
    if altered:
        return Finding(
            "engine", "problem", f"{altered[0]} is not what was built",
            "remove that folder, then acclimate export",
        )  # fmt: skip
    if not serving:
        words = ", ".join(f"{row['engine']} {row['precision']}: {row['state']}" for row in rows)
        return Finding(
            "engine", "problem", f"none of this machine, graph and configuration ({words})",
            "acclimate export builds it, acclimate engines verify measures it",
        )  # fmt: skip
    one = serving[0]
    told = f"{one['engine']} in {one['precision']} for {one['device']} device serves"
    return Finding("engine", "ok", told.replace("for any device ", ""))


def source(patient: Patient) -> Finding:
    """Are all cameras, films and folders there? What the running daemon sees counts first."""
    sources, told = patient.config.sources, (patient.status or {}).get("cameras", {})
    found = [_one_source(one.url, str(told.get(name, ""))) for name, one in sources.items()]
    bad = [one for one in found if one.state != "ok"]
    return bad[0] if bad else replace(found[0], message="; ".join(one.message for one in found))


def _one_source(url: str, seen: str) -> Finding:
    state = seen.split(";")[0]
    if state in ("live", "ended"):
        return Finding("source", "ok", state)
    trouble = _unreachable(url)
    if trouble is None and state in ("stale", "failed"):
        trouble = f"it can be reached, and is {seen}", "look at the camera's own page, its codec"
    if trouble is None:
        return Finding("source", "ok", f"{public(url)} can be reached")
    return Finding("source", "problem", f"{public(url)}: {trouble[0]}", trouble[1])


def _unreachable(url: str) -> tuple[str, str] | None:
    """What is wrong and what to do; None where it can be reached."""
    if url.startswith("world:"):
        return None
    if url.startswith("gst:"):
        if shutil.which("gst-launch-1.0") is not None:
            return None
        return "gst-launch-1.0 is not installed", "apt install gstreamer1.0-tools"
    if "://" in url:
        return _no_answer(url)
    device = url.split("?")[0]  # a camera on a cable may have options
    path = Path(f"/dev/video{device}" if device.isdigit() else url)
    path = Path(device) if device.startswith("/dev/") else path
    if not path.exists():
        return f"there is no {path}", "plug it in, or set source.url; v4l2-ctl --list-devices"
    if not os.access(path, os.R_OK):
        return f"{path} may not be read", "add the user to its group (cameras: usermod -aG video)"
    if path.is_dir() and not any(path.iterdir()):
        return f"{path} is empty", "put images there, or set source.url"
    return None


def _no_answer(url: str) -> tuple[str, str] | None:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or PORTS.get(parts.scheme)
    except ValueError:
        host, port = None, None
    if host is None or port is None:
        return "it is no address", "set source.url, such as rtsp://10.0.0.7:554/stream"
    try:
        socket.create_connection((host, port), REACH).close()
    except OSError as error:
        why = error.strerror or str(error)
        return (
            f"nobody answers at {host}:{port} ({why})",
            f"is it on, and in this network? ping {host}; is the port right?",
        )
    return None


def labels(patient: Patient) -> Finding | None:
    """Are the pictures with labels there that rounds learn from and are judged by?"""
    config, told = patient.config, []
    folders = {"model.source_dir": (config.model.source_dir, SOURCE_PICTURES),
               "gate.labelled_dir": (config.gate.labelled_dir, 1)}  # fmt: skip
    for key, (name, least) in folders.items():
        if name is None:
            continue
        try:
            pairs = find_own(Path(name), least)
            for pair in pairs:
                check_pixels(pair.image)
                check_label_map(pair.label)
        except (SourceError, OSError) as error:
            return Finding(
                "labels", "problem", f"{key}: {error}",
                f"every round fails until images/ and labels/ (class indices) are there, or {key} "
                "is gone",
            )  # fmt: skip
        told.append(f"{key}: {len(pairs)} pictures")
    return Finding("labels", "ok", ", ".join(told)) if told else None


CHECKS: tuple[Check, ...] = (daemon, registry, engine, source, labels)
MACHINE: tuple[Check, ...] = (*checks.MACHINE, *SHARES)


# ---- the command


def doctor_action(options: argparse.Namespace) -> int:
    """Find what is wrong with driver, engine, camera, disk, clock, and say what to do."""
    config, findings = _configuration(options)
    findings += examine(options.state, config, ask(options.state))
    if options.json:
        print(json.dumps([asdict(one) for one in findings], indent=1))
    else:
        print("\n".join(map(shown, findings)))
    return 1 if any(one.state == "problem" for one in findings) else 0


def _configuration(options: argparse.Namespace) -> tuple[Config, list[Finding]]:
    """--config, or what the state folder was prepared with, or the defaults."""
    try:
        config = configured(options)
        load_served(config.model.vocabulary)
    except (ConfigError, OSError) as error:
        told = "; ".join(str(error).splitlines())
        return Config(), [
            Finding("config", "problem", told, "mend it; checked on are the defaults")
        ]
    prepared = options.state / "config.json"
    named = options.config or (prepared if prepared.is_file() else "the defaults")
    return config, [Finding("config", "ok", str(named))]


def shown(found: Finding) -> str:
    """A finding as a line, and its remedy as another."""
    line = f"{found.check:<9} {SIGNS[found.state]:<8} {found.message}"
    return f"{line}\n{'':<18} -> {found.remedy}" if found.remedy else line


def add_commands(
    commands: Any, add: Callable[..., Any], common: argparse.ArgumentParser,
    configured: argparse.ArgumentParser,
) -> None:  # fmt: skip
    """`acclimate doctor`."""
    one = add(commands, "doctor", doctor_action, [common, configured])
    one.add_argument("--json", action="store_true", help="for programs")
