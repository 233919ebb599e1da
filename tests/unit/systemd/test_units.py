"""The units, read by systemd itself where it is installed, and against the code."""

from __future__ import annotations

import configparser
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
