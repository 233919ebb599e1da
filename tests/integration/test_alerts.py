"""Debian's Prometheus with the rules as they are shipped: alerts that really fire."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from acclimate.configs.dashboard import PATH as BOARD
from acclimate.daemon.http import Window
from acclimate.daemon.metrics import Metrics
from tests.conftest import wait_until

FOLDER = Path(__file__).parents[2] / "configs" / "monitoring"
INTERVAL, LOOK_BACK, PATIENCE = "500ms", "5s", "4s"
NOT_YET = {"acclimate_shadow_class_disagreement_ratio"}  # there before the first window
pytestmark = pytest.mark.skipif(
    shutil.which("prometheus") is None, reason="prometheus is not installed"
)


def shipped(rules: str) -> str:
    """The rules as they are."""
    return rules


def hurried(rules: str) -> str:
    """The same rules for people who cannot wait: every alert looks back LOOK_BACK and is patient
    for PATIENCE; what it compares with what stays as it is."""
    rules = re.sub(r"\[\d+[smhd]\]", f"[{LOOK_BACK}]", rules)
    return re.sub(r"for: \d+[smhd]\n", f"for: {PATIENCE}\n", rules)


class Prometheus:
    """The real one, as configs/monitoring/prometheus.yml says, but asking one daemon and often."""

    def __init__(self, folder: Path, daemon: str, made: Callable[[str], str]) -> None:
        rules = (FOLDER / "acclimate-rules.yml").read_text()
        (folder / "acclimate-rules.yml").write_text(made(rules))
        config = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
        config["global"] = dict.fromkeys(config["global"], INTERVAL)
        config["scrape_configs"][0]["static_configs"] = [{"targets": [daemon]}]
        path = folder / "prometheus.yml"
        path.write_text(yaml.safe_dump(config))
        self.log = (folder / "prometheus.log").open("w")
        self._url = f"127.0.0.1:{free_port()}"
        self.process = subprocess.Popen(
            ["prometheus", f"--config.file={path}", f"--storage.tsdb.path={folder / 'data'}",
             f"--web.listen-address={self._url}"], stdout=self.log, stderr=self.log,
        )  # fmt: skip

    def ask(self, what: str, **options: str) -> Any:
        """Its API."""
        address = f"http://{self._url}/api/v1/{what}?{urllib.parse.urlencode(options)}"
        with urllib.request.urlopen(address, timeout=10) as answer:
            return json.load(answer)["data"]

    def scraped(self) -> bool:
        """Is it there, and has it heard of the daemon?"""
        assert self.process.poll() is None, Path(self.log.name).read_text()
        with contextlib.suppress(urllib.error.URLError, ConnectionError):
            return bool(self.ask("query", query='up{job="acclimate"} == 1')["result"])
        return False

    def alert(self, name: str) -> dict[str, Any]:
        """The alert with its state; {} while it is not even pending."""
        every = self.ask("alerts")["alerts"]
        return next((one for one in every if one["labels"]["alertname"] == name), {})

    def wait(self, name: str, state: str | None) -> dict[str, Any]:
        """Until the alert is in this state (None: over); fails after a while."""
        wait_until(lambda: self.alert(name).get("state") == state, 60, f"{name} {state}")
        return self.alert(name)

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait(30)
        self.log.close()


def free_port() -> int:
    """One that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Callable[..., Prometheus]]:
    """Start a Prometheus that asks the daemon at an address."""
    running: list[Prometheus] = []

    def watch(daemon: str, made: Callable[[str], str]) -> Prometheus:
        (tmp_path / "prometheus").mkdir()
        running.append(Prometheus(tmp_path / "prometheus", daemon, made))
        wait_until(running[-1].scraped, 60, "a scrape")
        return running[-1]

    yield watch
    for one in running:
        one.stop()


@pytest.fixture
def metrics(tmp_path: Path) -> Iterator[tuple[Metrics, str]]:
    """What a daemon would show, and where."""
    one = Metrics()
    window = Window("127.0.0.1", 0, tmp_path, dict, one.text)
    yield one, f"127.0.0.1:{window.port}"
    window.close()


def test_a_rollback_is_told_by_the_rules_as_they_are(
    metrics: tuple[Metrics, str], watched: Callable[..., Prometheus]
) -> None:
    shown, address = metrics
    prometheus = watched(address, shipped)
    assert prometheus.alert("AcclimateRollback") == {}
    shown.rollbacks.labels("histogram_js").inc()
    alert = prometheus.wait("AcclimateRollback", "firing")
    assert alert["labels"] == {
        "alertname": "AcclimateRollback", "instance": address, "job": "acclimate",
        "reason": "histogram_js", "severity": "warning",
    }  # fmt: skip
    assert alert["annotations"]["summary"] == (
        f"{address} took an adapter out again (histogram_js)"
    )
    assert prometheus.alert("AcclimateDown") == {}


def test_a_daemon_that_freezes_is_told_and_forgotten_when_it_goes_on(
    start: Callable[..., Any], watched: Callable[..., Prometheus]
) -> None:
    daemon = start("--source", "world:fps=10", adapt={"enabled": False})
    daemon.wait("serving")
    address = json.loads((daemon.state / "daemon.json").read_text())["http"]
    prometheus = watched(address.removeprefix("http://"), hurried)
    prometheus.wait("AcclimateFrozenStream", None)
    runtime = daemon.child("acclimate.runtime.main")
    os.kill(runtime, signal.SIGSTOP)
    try:
        prometheus.wait("AcclimateFrozenStream", "pending")
        alert = prometheus.wait("AcclimateFrozenStream", "firing")
        assert (alert["labels"]["severity"], alert["labels"]["outcome"]) == ("critical", "served")
    finally:
        os.kill(runtime, signal.SIGCONT)
    prometheus.wait("AcclimateFrozenStream", None)
    daemon.stop()


def test_every_panel_of_the_dashboard_has_something_to_show(
    start: Callable[..., Any], watched: Callable[..., Prometheus]
) -> None:
    daemon = start("--source", "world:fps=10", adapt={"enabled": False})
    daemon.wait("serving")
    address = json.loads((daemon.state / "daemon.json").read_text())["http"]
    prometheus = watched(address.removeprefix("http://"), shipped)
    panels = json.loads(BOARD.read_text())["panels"]
    for panel in panels:
        for query in (target["expr"] for target in panel.get("targets", ())):
            asked = query.replace("$__rate_interval", "5s")
            asked = asked.replace("$instance", address.removeprefix("http://"))
            if not any(name in query for name in NOT_YET):
                wait_until(lambda q=asked: prometheus.ask("query", query=q)["result"], 30, asked)
    daemon.stop()
