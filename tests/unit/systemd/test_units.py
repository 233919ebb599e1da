"""The units, read by systemd itself where it is installed, and against the code."""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from acclimate.configs.schema import DaemonConfig
from acclimate.daemon.cli import EX_CONFIG

FOLDER = Path(__file__).parents[3] / "systemd"
EXPOSURE = 2.5
needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)


def service() -> configparser.SectionProxy:
    """The [Service] section."""
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment]
    parser.read(FOLDER / "acclimate.service")
    return parser["Service"]


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit with programs and a user that exist here."""
    text = (FOLDER / "acclimate.service").read_text()
    text = text.replace("/opt/acclimate/bin/acclimate", "/bin/true")
    text = text.replace("file:///opt/acclimate/README.md", "https://example.org/")
    path = tmp_path / "acclimate.service"
    path.write_text(text)
    return path


@needs_systemd
def test_systemd_has_nothing_to_say(unit: Path) -> None:
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, check=False
    )
    assert (done.returncode, done.stderr.decode()) == (0, "")


@needs_systemd
def test_exposure_is_low(unit: Path) -> None:
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", str(unit)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    overall = next(line for line in done.stdout.splitlines() if "Overall exposure" in line)
    assert float(overall.split(":")[1].split()[0]) < EXPOSURE


def test_it_agrees_with_the_code() -> None:
    section = service()
    assert int(section["RestartPreventExitStatus"]) == EX_CONFIG
    assert float(section["TimeoutStopSec"]) > DaemonConfig().stop_timeout_s


def folders() -> dict[str, list[str]]:
    """The tmpfiles lines: path -> mode, user, group."""
    lines = (FOLDER / "acclimate.tmpfiles").read_text().splitlines()
    rows = [line.split() for line in lines if line and not line.startswith("#")]
    return {row[1]: row[2:5] for row in rows if row[0] == "d"}


def test_the_folders_are_those_of_the_unit() -> None:
    section, made = service(), folders()
    words = section["ExecStart"].split()
    config, state = (words[words.index(flag) + 1] for flag in ("--config", "--state"))
    assert str(Path(config).parent) in made
    assert state == section["WorkingDirectory"] == f"/var/lib/{section['StateDirectory']}"
    assert made[state] == [section["StateDirectoryMode"], section["User"], section["User"]]


def test_cameras_and_gpus_stay_reachable() -> None:
    section = service()
    assert {"video", "render"} <= set(section["SupplementaryGroups"].split())
    assert {"AF_INET", "AF_INET6"} <= set(section["RestrictAddressFamilies"].split())
    shut = ("PrivateDevices", "DeviceAllow", "MemoryDenyWriteExecute", "PrivateNetwork")
    assert [name for name in shut if name in section] == []


@pytest.mark.skipif(
    shutil.which("systemd-sysusers") is None, reason="systemd-sysusers is not installed"
)
def test_sysusers_would_make_the_user(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    done = subprocess.run(
        ["systemd-sysusers", "--dry-run", f"--root={tmp_path}", "-"],
        input=(FOLDER / "acclimate.sysusers").read_text(),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert f"Creating user '{service()['User']}'" in done.stdout + done.stderr
    assert list((tmp_path / "etc").iterdir()) == []


@pytest.mark.skipif(
    shutil.which("systemd-tmpfiles") is None, reason="systemd-tmpfiles is not installed"
)
def test_tmpfiles_makes_the_folders(tmp_path: Path) -> None:
    """Under a root of one's own and as oneself: older systemd-tmpfiles has no --dry-run."""
    lines = "".join(
        f"d {path} {mode} {os.getuid()} {os.getgid()} -\n" for path, (mode, *_) in folders().items()
    )
    done = subprocess.run(
        ["systemd-tmpfiles", "--create", f"--root={tmp_path}", "-"],
        input=lines, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    made = {p: (tmp_path / p[1:]).stat().st_mode & 0o7777 for p in folders()}
    assert made == {p: int(mode, 8) for p, (mode, *_) in folders().items()}
