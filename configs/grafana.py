"""A table of panels -> a dashboard as Grafana imports it (10.1 and newer)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

SOURCE = {"type": "prometheus", "uid": "${datasource}"}
COLUMNS, HEIGHT = 24, 8
Json = dict[str, Any]


@dataclass(frozen=True)
class Panel:
    """`queries`: PromQL with its legend, metrics without labels; `kind` time = lines, stacked =
    areas, word = the legend of what is there, number, switch = off and on; `bad`: from where on a
    number is red; `least`: where its axis begins, if there is such a place."""

    title: str
    meaning: str
    queries: tuple[tuple[str, str], ...]
    unit: str = "short"
    kind: str = "time"
    width: int = 8
    bad: float | None = None
    least: float | None = 0


Rows = dict[str, tuple[Panel, ...]]


def of_instance(query: str) -> str:
    """The query about the chosen vehicle."""
    return re.sub(r"acclimate_\w+", r'\g<0>{instance="$instance"}', query)


def dashboard(rows: Rows) -> Json:
    """The whole dashboard as Grafana imports it."""
    return {
        "uid": "acclimate", "title": "acclimate", "tags": ["acclimate"], "schemaVersion": 38,
        "editable": True, "graphTooltip": 1, "refresh": "10s", "timezone": "browser",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [_datasource(), _instance()]},
        "annotations": {"list": _annotations()},
        "panels": _panels(rows),
    }  # fmt: skip


def _panels(rows: Rows) -> list[Json]:
    made: list[Json] = []
    y = 0
    for title, panels in rows.items():
        made.append(_placed(_row(title), len(made), 0, y, COLUMNS, 1))
        x, y = 0, y + 1
        height = HEIGHT if any(_shape(one) == "timeseries" for one in panels) else HEIGHT // 2
        for one in panels:
            if x + one.width > COLUMNS:
                x, y = 0, y + height
            made.append(_placed(_panel(one), len(made), x, y, one.width, height))
            x += one.width
        y += height
    return made


def _placed(panel: Json, number: int, x: int, y: int, width: int, height: int) -> Json:
    return {**panel, "id": number + 1, "gridPos": {"x": x, "y": y, "w": width, "h": height}}


def _row(title: str) -> Json:
    return {"type": "row", "title": title, "collapsed": False, "panels": []}


def _shape(panel: Panel) -> str:
    return "timeseries" if panel.kind in ("time", "stacked") else "stat"


def _panel(panel: Panel) -> Json:
    shape = _shape(panel)
    custom = {"showPoints": "never", "lineWidth": 1, "spanNulls": False}
    if panel.kind == "stacked":
        custom |= {"fillOpacity": 40, "stacking": {"mode": "normal", "group": "A"}}
    defaults = {
        "unit": panel.unit, "thresholds": _thresholds(panel.bad),
        "mappings": [_off_and_on()] if panel.kind == "switch" else [],
        "color": {"mode": "palette-classic" if shape == "timeseries" else "thresholds"},
        **({"custom": custom} if shape == "timeseries" else {}),
        **({} if panel.least is None else {"min": panel.least}),
    }  # fmt: skip
    return {
        "type": shape, "title": panel.title, "description": panel.meaning, "datasource": SOURCE,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": _lines() if shape == "timeseries" else _stat(panel.kind),
        "targets": [_target(i, *query, shape) for i, query in enumerate(panel.queries)],
    }  # fmt: skip


def _target(number: int, query: str, legend: str, shape: str) -> Json:
    lines = shape == "timeseries"  # a stat over a range would show what was true an hour ago, too
    return {
        "refId": chr(ord("A") + number), "datasource": SOURCE, "editorMode": "code",
        "expr": of_instance(query), "legendFormat": legend,
        "range": lines, "instant": not lines,
    }  # fmt: skip


def _lines() -> Json:
    return {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }


def _stat(kind: str) -> Json:
    return {
        "textMode": "name" if kind == "word" else "value", "colorMode": "background",
        "graphMode": "none", "justifyMode": "auto", "orientation": "auto",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
    }  # fmt: skip


def _thresholds(bad: float | None) -> Json:
    steps: list[Json] = [{"color": "green", "value": None}]
    return {
        "mode": "absolute",
        "steps": steps + [{"color": "red", "value": bad}] * (bad is not None),
    }


def _off_and_on() -> Json:
    return {
        "type": "value",
        "options": {"0": {"text": "no", "index": 0}, "1": {"text": "yes", "index": 1}},
    }


def _datasource() -> Json:
    return {
        "type": "datasource",
        "name": "datasource",
        "label": "Prometheus",
        "query": "prometheus",
    }


def _instance() -> Json:
    return {
        "type": "query", "name": "instance", "label": "Vehicle", "datasource": SOURCE, "refresh": 2,
        "query": {"query": "label_values(acclimate_frames_total, instance)", "refId": "instance"},
        "sort": 1,
    }  # fmt: skip


def _annotation(name: str, title: str, query: str, colour: str) -> Json:
    return {
        "name": name, "enable": True, "iconColor": colour, "datasource": SOURCE, "expr": query,
        "titleFormat": title,
    }  # fmt: skip


def _annotations() -> list[Json]:
    alerts = 'ALERTS{alertname=~"Acclimate.*", alertstate="firing", instance="$instance"}'
    swaps = of_instance("changes(acclimate_last_swap_timestamp_seconds[1m]) > 0")
    return [
        _annotation("Alerts", "{{alertname}}", alerts, "red"),
        _annotation("Swaps", "Swap", swaps, "blue"),
    ]
