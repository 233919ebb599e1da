"""The Grafana dashboard: up to date, about what there is, and as Grafana knows it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from acclimate.configs.dashboard import PATH, text
from acclimate.configs.grafana import COLUMNS, Panel, dashboard
from tests.unit.daemon.test_metrics import exposed, lived_in

BOARD: dict[str, Any] = json.loads(PATH.read_text())
PANELS = [panel for panel in BOARD["panels"] if panel["type"] != "row"]
QUERIES = [target["expr"] for panel in PANELS for target in panel["targets"]]
QUERIES += [one["expr"] for one in BOARD["annotations"]["list"]]
CHOSEN = '{instance="$instance"}'


def metrics_of(query: str) -> set[str]:
    """The series it asks for."""
    return set(re.findall(r"\bacclimate_\w+", query))


def test_the_file_is_what_the_table_says() -> None:
    assert PATH.read_text() == text(), "run: python -m acclimate.configs.dashboard"


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: str(panel["title"]))
def test_a_panel_shows_series_that_there_are(panel: dict[str, Any]) -> None:
    series = exposed(lived_in())
    for target in panel["targets"]:
        asked = metrics_of(target["expr"])
        assert asked
        assert asked <= series.keys()
        named = re.findall(r"by \((\w+)\)", target["expr"])
        named += re.findall(r"{{(\w+)}}", target["legendFormat"])
        assert set(named) <= {label for name in asked for label in series[name]}


def test_a_panel_of_what_there_is_not_would_be_noticed() -> None:
    board = dashboard({"Row": (Panel("Odd", "", (("acclimate_nothing_total", ""),)),)})
    assert not metrics_of(board["panels"][1]["targets"][0]["expr"]) <= exposed(lived_in()).keys()


def test_nothing_that_is_measured_is_left_out() -> None:
    shown = {re.sub(r"_bucket$", "", name) for query in QUERIES for name in metrics_of(query)}
    measured = {re.sub(r"_(bucket|sum|count)$", "", name) for name in exposed(lived_in())}
    assert measured == shown


def test_every_series_is_of_the_chosen_vehicle() -> None:
    for query in QUERIES:
        assert query.count(CHOSEN) == len(re.findall(r"\bacclimate_\w+", query))


def test_panels_lie_side_by_side() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in BOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= COLUMNS
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"])
                 for y in range(place["y"], place["y"] + place["h"])}  # fmt: skip
        assert taken.isdisjoint(cells), panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in BOARD["panels"]}) == len(BOARD["panels"])


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_understands_every_query(tmp_path: Path) -> None:
    plain = [q.replace("$__rate_interval", "1m").replace("$instance", "car") for q in QUERIES]
    rules = [{"record": f"panel:{i}", "expr": query} for i, query in enumerate(plain)]
    path = tmp_path / "rules.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    done = subprocess.run(
        ["promtool", "check", "rules", path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def lost(mine: Any, theirs: Any, path: str = "") -> list[str]:
    """What of `mine` is not in `theirs`."""
    if isinstance(mine, dict) and isinstance(theirs, dict):
        return [gone for key in mine for gone in lost(mine[key], theirs.get(key), f"{path}.{key}")]
    if isinstance(mine, list) and isinstance(theirs, list) and len(mine) == len(theirs):
        pairs = enumerate(zip(mine, theirs, strict=True))
        return [gone for i, (a, b) in pairs for gone in lost(a, b, f"{path}[{i}]")]
    return [] if mine == theirs else [path]


def read_by_grafana(board: dict[str, Any]) -> dict[str, Any]:
    """Through Grafana's own types of its 10.1; a key that they don't know is dropped."""
    plugins = pytest.importorskip("grafana_foundation_sdk.cog.plugins", reason="needs 3.11")
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.models.dashboard import Dashboard

    plugins.register_default_plugins()
    read: dict[str, Any] = json.loads(JSONEncoder().encode(Dashboard.from_json(board)))
    return read


def test_grafana_knows_every_key() -> None:
    # titleFormat is of the data source, not of Grafana's own
    unknown = {path.rsplit(".", 1)[-1] for path in lost(BOARD, read_by_grafana(BOARD))}
    assert unknown == {"titleFormat"}


def test_a_key_that_grafana_does_not_know_would_be_noticed() -> None:
    board = json.loads(text())
    board["panels"][1]["options"]["textmode"] = "name"
    assert ".panels[1].options.textmode" in lost(board, read_by_grafana(board))
