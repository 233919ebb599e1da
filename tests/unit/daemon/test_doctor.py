"""The doctor finds what is wrong, says what to do, and finds nothing where nothing is."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from acclimate.configs.schema import Config, parse_config
from acclimate.daemon import checks, doctor
from acclimate.daemon.checks import Check, Finding, Patient
from acclimate.daemon.cli import main
from acclimate.daemon.main import only_one
from acclimate.daemon.registry import Registry
from tests.unit.daemon.test_registry import bundle

Said = pytest.CaptureFixture[str]
STATUS: dict[str, Any] = {
    "frames": {"captured": 3, "served": 3, "dropped": {}, "balanced": True}, "trouble": None,
    "paused": None, "pinned": None, "active": "base", "doing": "serving", "source": "live",
    "cameras": {"camera": "live"},
    "engine": {"engine": "onnxruntime-cpu", "precision": "fp32", "reason": "there is no GPU"},
}  # fmt: skip


@pytest.fixture
def patient(tmp_path: Path) -> Patient:
    """A sound state folder that no daemon uses."""
    state = tmp_path / "state"
    bundle(state / "adapters", "base", 0)
    Registry(state).trust("base")
    Registry(state).next_name()
    state.chmod(0o750)
    config = parse_config({"daemon": {"http_port": 0}})
    return Patient(state, config, None)


def found(check: Check, patient: Patient) -> Finding:
    """What it tells; every remedy that is due is there."""
    one = check(patient)
    assert one is not None
    assert bool(one.remedy) == (one.state != "ok")
    return one


def looks_at(patient: Patient, **changes: Any) -> Patient:
    """The same with other settings, such as source={"url": ...}."""
    return replace(patient, config=parse_config(changes))


# ---- the command


def test_a_sound_machine(patient: Patient, capsys: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "MACHINE", (checks.writing, checks.rights))
    assert main(["doctor", "--state", str(patient.state)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [
        "config", "daemon", "registry", "engine", "source", "writing", "rights",
    ]  # fmt: skip
    assert all(" ok " in line for line in lines)


def test_a_problem_is_1_and_has_a_remedy(patient: Patient, capsys: Said, tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("source: {url: /nowhere/film.mp4}\n")
    where = ["--state", str(patient.state), "--config", str(config)]
    assert main(["doctor", *where]) == 1
    said = capsys.readouterr().out
    assert "source    PROBLEM  /nowhere/film.mp4: there is no /nowhere/film.mp4\n" in said
    assert "\n                   -> plug it in" in said
    assert main(["doctor", "--json", *where]) == 1
    rows = json.loads(capsys.readouterr().out)
    assert {row["check"]: row["state"] for row in rows}["source"] == "problem"


def test_a_wrong_configuration_is_a_finding(patient: Patient, capsys: Said, tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("adapt: {steps: -1}\n")
    assert main(["doctor", "--state", str(patient.state), "--config", str(config)]) == 1
    assert "config    PROBLEM  adapt.steps: -1 must be greater than 0" in capsys.readouterr().out


def test_before_anything_was_ever_started(tmp_path: Path, capsys: Said) -> None:
    main(["doctor", "--state", str(tmp_path / "none")])
    assert "none yet; the first `acclimate run` makes it" in capsys.readouterr().out
    assert not (tmp_path / "none").exists()


def test_a_rotten_registry_keeps_it_from_nothing(patient: Patient, capsys: Said) -> None:
    (patient.state / "state.json").write_text("{")
    assert main(["doctor", "--state", str(patient.state)]) == 1
    said = capsys.readouterr().out
    assert "registry  PROBLEM" in said
    assert "-> acclimate fsck" in said
    assert "\nsource    ok" in said


def test_what_may_not_be_looked_at_is_a_finding(
    patient: Patient, capsys: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed(path: Path, *_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied", str(path))

    def registry(_: Patient) -> Finding:
        raise PermissionError(13, "Permission denied", "state.json")

    monkeypatch.setattr(doctor, "CHECKS", (doctor.daemon, registry, doctor.source))
    (patient.state / "daemon.json").write_text("{}")
    monkeypatch.setattr(Path, "read_text", closed)
    assert main(["doctor", "--state", str(patient.state)]) == 1
    said = capsys.readouterr().out
    assert "registry  PROBLEM  [Errno 13] Permission denied: 'state.json'\n" in said
    assert "\ndaemon    ok" in said
    assert "\nrights    ok" in said


# ---- the daemon and what it keeps


@pytest.mark.parametrize(
    ("change", "state", "said"),
    [
        ({}, "ok", "base serves"),
        ({"trouble": "No space left on device"}, "problem", "No space left"),
        ({"paused": "for 9 s more"}, "warning", "by hand: paused: for 9 s more"),
        ({"pinned": "a1"}, "warning", "pinned: a1"),
        ({"frames": {**STATUS["frames"], "captured": 5, "balanced": False}}, "ok", "base serves"),
        ({"frames": {**STATUS["frames"], "captured": 500}}, "problem", "frames got lost"),
        ({"frames": {**STATUS["frames"], "served": 4}}, "problem", "frames got lost"),
    ],
)
def test_a_daemon_that_answers(
    patient: Patient, change: dict[str, Any], state: str, said: str
) -> None:
    one = found(doctor.daemon, replace(patient, status=STATUS | change))
    assert (one.state, said in one.message) == (state, True), one


def test_a_daemon_that_does_not_answer(patient: Patient) -> None:
    note = patient.state / "daemon.json"
    note.write_text(json.dumps({"pid": os.getpid(), "http": "http://127.0.0.1:1"}))
    assert found(doctor.daemon, patient).state == "problem"
    note.write_text(json.dumps({"pid": 2**22 + 1}))
    assert found(doctor.daemon, patient).state == "ok", "it was killed"
    with only_one(patient.state):
        assert "a daemon runs on" in found(doctor.daemon, patient).message


def test_a_rotten_registry(patient: Patient) -> None:
    assert found(doctor.registry, patient).state == "ok"
    (patient.state / "adapters" / "base" / "manifest.json").unlink()
    assert "base has no readable manifest" in found(doctor.registry, patient).message
    (patient.state / "state.json").write_text("{")
    assert "unreadable" in found(doctor.registry, patient).message


@pytest.mark.parametrize(
    ("rows", "state", "said"),
    [
        ([{"state": "serves", "device": "any"}], "ok", "onnxruntime in fp32 serves"),
        ([{"state": "fits"}, {"state": "other device"}], "problem", "fp32: other device"),
        ([{"state": "serves"}, {"state": "altered"}], "problem", "/e is not what was built"),
        ([], "problem", "none of this machine"),
    ],
)
def test_the_engines_of_this_machine(
    patient: Patient, monkeypatch: pytest.MonkeyPatch, rows: list[dict[str, str]], state: str,
    said: str,
) -> None:  # fmt: skip
    (patient.state / "engine").mkdir()
    (patient.state / "engine" / "engine.json").write_text("{}")
    one = {"engine": "onnxruntime", "precision": "fp32", "device": "x", "folder": "/e"}
    text = json.dumps([one | row for row in rows])
    monkeypatch.setattr(
        doctor.subprocess, "run", lambda *_, **__: SimpleNamespace(stdout=text, stderr="")
    )
    answer = found(doctor.engine, patient)
    assert (answer.state, said in answer.message) == (state, True), answer


def test_an_engine_that_cannot_be_looked_at(patient: Patient) -> None:
    (patient.state / "engine").mkdir()
    (patient.state / "engine" / "engine.json").write_text("{")
    assert found(doctor.engine, patient).state == "problem"


def test_the_running_daemon_knows_its_engine(patient: Patient) -> None:
    assert "onnxruntime-cpu in fp32 serves" in found(
        doctor.engine, replace(patient, status=STATUS)
    ).message  # fmt: skip


# ---- sources


def test_sources_that_are_there(patient: Patient, tmp_path: Path) -> None:
    (tmp_path / "film.mp4").touch()
    for url in ("world:", str(tmp_path), str(tmp_path / "film.mp4")):
        assert found(doctor.source, looks_at(patient, source={"url": url})).state == "ok"
    with socket.create_server(("127.0.0.1", 0)) as camera:
        url = f"rtsp://anna:secret@127.0.0.1:{camera.getsockname()[1]}/x"
        one = found(doctor.source, looks_at(patient, source={"url": url}))
    assert (one.state, "secret" in one.message) == ("ok", False)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("77", "there is no /dev/video77"),
        ("/nowhere", "there is no /nowhere"),
        ("rtsp://anna:secret@127.0.0.1:1/x", "nobody answers at 127.0.0.1:1"),
        ("rtsp://:99999/x", "it is no address"),
    ],
)
def test_sources_that_are_not(patient: Patient, url: str, said: str) -> None:
    one = found(doctor.source, looks_at(patient, source={"url": url}))
    assert (one.state, said in one.message, "secret" in one.message) == ("problem", True, False)


def test_an_empty_folder_is_no_source(patient: Patient, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    url = str(tmp_path / "empty")
    assert "is empty" in found(doctor.source, looks_at(patient, source={"url": url})).message


@pytest.mark.parametrize("key", ["model.source_dir", "gate.labelled_dir"])
def test_pictures_with_labels(patient: Patient, tmp_path: Path, key: str) -> None:
    assert doctor.labels(patient) is None
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
        for i in range(10, 28):
            cv2.imwrite(str(tmp_path / folder / f"{i}.png"), np.zeros((4, 4), np.uint8))
    part, name = key.split(".")
    named = looks_at(patient, **{part: {name: str(tmp_path)}})
    assert found(doctor.labels, named).message == f"{key}: 18 pictures"
    first = tmp_path / "labels" / "10.png"
    cv2.imwrite(str(first), np.zeros((4, 4, 3), np.uint8))
    in_colour = found(doctor.labels, named)
    first.write_bytes(b"")
    torn = found(doctor.labels, named)
    first.unlink()
    for one in (in_colour, torn, found(doctor.labels, named)):
        assert (one.state, "10.png" in one.message) == ("problem", True)
        assert one.message.startswith(key)
        assert key in one.remedy


def test_few_pictures_are_no_source(patient: Patient, tmp_path: Path) -> None:
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
        cv2.imwrite(str(tmp_path / folder / "1.png"), np.zeros((4, 4), np.uint8))
    few = found(doctor.labels, looks_at(patient, model={"source_dir": str(tmp_path)}))
    assert (few.state, "1 pictures" in few.message) == ("problem", True)
    enough = looks_at(patient, gate={"labelled_dir": str(tmp_path)})
    assert found(doctor.labels, enough).state == "ok"


def test_what_the_daemon_sees_counts(patient: Patient) -> None:
    stale = replace(patient, status=STATUS | {"cameras": {"camera": "stale; no picture for 20 s"}})
    assert "is stale" in found(doctor.source, stale).message
    gone = looks_at(patient, source={"url": "/nowhere"})
    assert found(doctor.source, replace(gone, status=STATUS)).state == "ok"


def test_cameras_with_options_and_pipelines_are_no_files(
    patient: Patient, tool: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def of(url: str) -> Finding:
        return found(doctor.source, looks_at(patient, source={"url": url}))

    assert "there is no /dev/video77" in of("77?framerate=25").message
    assert "there is no /dev/video78" in of("/dev/video78?video_size=640x480").message
    pipeline = "gst:rtspsrc location=rtsp://10.0.0.7/x ! decodebin"
    assert "gst-launch-1.0 is not installed" in of(pipeline).message
    tool("gst-launch-1.0", "")
    assert of(pipeline).state == "ok"


# ---- the machine


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """A program of this name that does what the script says, and no other."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))

    def make(name: str, script: str) -> None:
        path = tmp_path / "bin" / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    return make


def test_drivers(
    patient: Patient, tool: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:  # fmt: skip
    monkeypatch.setattr(checks, "NVIDIA", tmp_path / "driver")
    monkeypatch.setattr(checks, "JETSON", tmp_path / "jetson")
    on_gpu = looks_at(patient, serving={"engine": "tensorrt"})
    assert found(checks.driver, patient).state == "ok", "auto takes the processor"
    assert "there is no NVIDIA driver" in found(checks.driver, on_gpu).message
    (tmp_path / "driver").touch()
    assert found(checks.driver, patient).state == "warning"
    tool("nvidia-smi", "echo NVIDIA L4, 580.1, 23034 MiB")
    assert found(checks.driver, on_gpu) == Finding("driver", "ok", "NVIDIA L4, 580.1, 23034 MiB")
    tool("nvidia-smi", "echo Failed to initialize NVML: version mismatch >&2; exit 18")
    assert "version mismatch" in found(checks.driver, patient).message
    (tmp_path / "jetson").write_text("# R36 (release), REVISION: 4.3\n")
    assert found(checks.driver, patient).message.startswith("Jetson: R36")


@pytest.mark.parametrize(
    ("free", "state"), [(50 << 30, "ok"), (900 << 20, "warning"), (9, "problem")]
)
def test_room_on_the_disk(
    patient: Patient, monkeypatch: pytest.MonkeyPatch, free: int, state: str
) -> None:
    usage = SimpleNamespace(total=100 << 30, free=free)
    monkeypatch.setattr(checks.shutil, "disk_usage", lambda _: usage)
    assert found(checks.disk, patient).state == state


def test_a_disk_that_refuses_or_is_slow(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    assert found(checks.writing, patient).state == "ok"
    assert not list(patient.state.glob(".doctor*"))
    monkeypatch.setattr(checks, "SLOW_FSYNC", 0.0)
    assert found(checks.writing, patient).state == "warning"

    def refuse(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(checks, "write_atomic", refuse)
    assert "Read-only file system" in found(checks.writing, patient).message


def test_clocks(patient: Patient, tool: Callable[[str, str], None]) -> None:
    log = patient.state / "events.jsonl"
    assert found(checks.clock, patient).state == "ok", "nobody can be asked"
    tool("timedatectl", "echo yes")
    assert found(checks.clock, patient).message.endswith("synchronised")
    tool("timedatectl", "echo no")
    assert found(checks.clock, patient).state == "warning"
    log.write_text(json.dumps({"event": "a", "time": time.time() + 9e6}) + '\n{"torn')
    assert "something happened here at" in found(checks.clock, patient).message


def test_memory(patient: Patient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(checks, "MEMORY", tmp_path / "meminfo")
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable: 2048 kB\n")
    assert found(checks.memory, patient).state == "warning"
    assert found(checks.memory, looks_at(patient, adapt={"enabled": False})).state == "ok"
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\n")
    assert checks.memory(patient) is None


def test_torch(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    assert found(checks.torch, patient).state == "ok"
    monkeypatch.setattr(checks, "can_adapt", lambda: False)
    assert found(checks.torch, patient).state == "warning"
    assert checks.torch(looks_at(patient, adapt={"enabled": False})) is None


def test_ports(patient: Patient) -> None:
    assert found(checks.ports, patient).state == "ok"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        busy = looks_at(patient, daemon={"http_port": taken.getsockname()[1]})
        assert "daemon.http_port" in found(checks.ports, busy).message
        assert checks.ports(replace(busy, status=STATUS)) is None, "the daemon has it"


def test_rights(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    assert found(checks.rights, patient).state == "ok"
    patient.state.chmod(0o755)
    assert "0755" in found(checks.rights, patient).message
    monkeypatch.setattr(checks.os, "access", lambda *_: False)
    assert found(checks.rights, patient).state == "problem"


def test_the_defaults_are_a_configuration() -> None:
    assert doctor.examine(Path("/nowhere at all"), Config(), STATUS)
