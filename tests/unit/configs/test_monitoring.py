"""Alert rules, read by promtool, against what the daemon really exposes."""

from __future__ import annotations

import copy
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.daemon.test_metrics import exposed, lived_in

FOLDER = Path(__file__).parents[3] / "configs" / "monitoring"
RULES, TESTS = FOLDER / "acclimate-rules.yml", FOLDER / "acclimate-rules-test.yml"
GROUPS: list[dict[str, Any]] = yaml.safe_load(RULES.read_text())["groups"]
ALERTS: dict[str, dict[str, Any]] = {r["alert"]: r for group in GROUPS for r in group["rules"]}
CASES: dict[str, list[dict[str, Any]]] = {name: [] for name in ALERTS}
for case in yaml.safe_load(TESTS.read_text())["tests"]:
    for check in case["alert_rule_test"]:
        if case not in CASES[check["alertname"]]:
            CASES[check["alertname"]].append(case)
COMPARISON = re.compile(r"(==|>=|<=|>|<) ([-\d.e]+)")
needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed"
)


def promtool(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """What it says, and its exit code."""
    return subprocess.run(["promtool", *words], capture_output=True, text=True, check=False)


@needs_promtool
def test_promtool_has_nothing_to_say_of_the_rules() -> None:
    done = promtool("check", "rules", "--lint=all", "--lint-fatal", RULES)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout


@needs_promtool
def test_the_example_that_people_copy_is_sound() -> None:
    done = promtool("check", "config", FOLDER / "prometheus.yml")
    assert done.returncode == 0, done.stderr
    config = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    assert [FOLDER / name for name in config["rule_files"]] == [RULES]
    assert [one["job_name"] for one in config["scrape_configs"]] == ["acclimate"]


@needs_promtool
def test_every_alert_rings_and_is_silent_when_it_should() -> None:
    done = promtool("test", "rules", TESTS)
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_must_not_go_unnoticed_has_an_alert() -> None:
    assert set(ALERTS) >= {
        "AcclimateFrozenStream", "AcclimateDropRate", "AcclimateLatency",
        "AcclimateDriftUnanswered", "AcclimateRoundsRefused", "AcclimateRollback",
        "AcclimateDiskLow", "AcclimateQuarantine",
    }  # fmt: skip


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_what_is_wrong_and_what_to_do(name: str) -> None:
    rule = ALERTS[name]
    assert rule["labels"]["severity"] in ("critical", "warning")
    absent = rule["expr"].startswith("absent(")  # then there is no instance to name
    assert absent or "$labels.instance" in rule["annotations"]["summary"]
    assert len(rule["annotations"]["description"].split()) >= 12


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_is_tested_on_both_sides(name: str) -> None:
    checks = [one for case in CASES[name] for one in case["alert_rule_test"]]
    assert {bool(one["exp_alerts"]) for one in checks} == {True, False}


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_asks_for_series_that_there_are(name: str) -> None:
    series = {**exposed(lived_in()), "up": {"job": {"acclimate"}}}
    asked = re.findall(r"\b(acclimate_\w+|up)\b(?:{(\w+)(=~|!~|!=|=)\"([^\"]+)\"})?",
                       ALERTS[name]["expr"])  # fmt: skip
    assert asked
    for metric, label, _, wanted in asked:
        assert metric in series
        assert set(wanted.split("|")) - {""} <= series[metric].get(label, set())


@pytest.mark.parametrize("name", ALERTS)
def test_the_tests_are_of_series_that_there_are(name: str) -> None:
    series = {**exposed(lived_in()), "up": {"job": {"acclimate", "node"}}}
    rows = [row["series"] for case in CASES[name] for row in case["input_series"]]
    for metric, told in (row.rstrip("}").split("{") for row in rows):
        for label, value in re.findall(r'(\w+)="([^"]*)"', told):
            assert label == "instance" or value in series[metric][label]


def mutants(rule: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The rule with one thing changed: a threshold, its time, what it chooses, its severity."""
    expr = rule["expr"]
    for found in COMPARISON.finditer(expr):
        number = float(found[2])
        near = (number - 1, number + 1) if number in (0, 1, 3, 5) else (0.8 * number, 1.25 * number)
        for other in near:
            changed = f"{expr[: found.start(2)]}{other:.10g}{expr[found.end(2) :]}"
            yield f"{found[0]} -> {other:g}", {**rule, "expr": changed}
    for found in re.finditer(r"{[^}]*}", expr):
        yield f"without {found[0]}", {**rule, "expr": expr[: found.start()] + expr[found.end() :]}
    if "for" in rule:
        yield "at once", {key: value for key, value in rule.items() if key != "for"}
        count, unit = re.fullmatch(r"(\d+)(\w)", rule["for"]).groups()  # type: ignore[union-attr]
        yield "later", {**rule, "for": f"{2 * int(count)}{unit}"}
    else:
        yield "later", {**rule, "for": "15m"}
    yield "another severity", {**rule, "labels": {"severity": "info"}}
    wordless = copy.deepcopy(rule)
    wordless["annotations"]["description"] = "Something is wrong."
    yield "other words", wordless


MUTANTS = [(name, what, rule) for name in ALERTS for what, rule in mutants(ALERTS[name])]


def passes(folder: Path, name: str, rule: dict[str, Any]) -> bool:
    """Does this rule pass the tests of that alert?"""
    (folder / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "g", "rules": [rule]}]}))
    tests = {"rule_files": ["rules.yml"], "evaluation_interval": "10s", "tests": CASES[name]}
    (folder / "test.yml").write_text(yaml.safe_dump(tests))
    assert promtool("check", "rules", folder / "rules.yml").returncode == 0
    return promtool("test", "rules", folder / "test.yml").returncode == 0


@needs_promtool
@pytest.mark.parametrize(
    ("name", "what", "rule"), MUTANTS, ids=lambda x: x if isinstance(x, str) else ""
)
def test_the_tests_catch_a_changed_rule(
    tmp_path: Path, name: str, what: str, rule: dict[str, Any]
) -> None:
    assert not passes(tmp_path, name, rule), f"{name} is not noticed: {what}"


@needs_promtool
@pytest.mark.parametrize("name", ALERTS)
def test_an_unchanged_rule_passes(tmp_path: Path, name: str) -> None:
    assert passes(tmp_path, name, ALERTS[name])
