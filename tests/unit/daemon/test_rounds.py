"""A round as the daemon sees it: small scripts take the place of the training."""

from __future__ import annotations

import json
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from acclimate.configs.schema import parse_config, to_dict
from acclimate.daemon import child as child_module
from acclimate.daemon.registry import Registry
from acclimate.daemon.rounds import Outcome, RoundProcess
from tests.conftest import wait_until
from tests.unit.daemon.test_registry import bundle

PREAMBLE = """
import json, os, signal, sys, time
task = json.load(open(sys.argv[2]))
def say(**message): print(json.dumps(message), flush=True)
"""
Start = Callable[..., RoundProcess]


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    bundle(tmp_path / "state" / "adapters", "base", 0)
    return Registry(tmp_path / "state")


@pytest.fixture
def start(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Start a round that runs a piece of Python."""
    rounds = []

    def start_one(code: str, **adapt: Any) -> RoundProcess:
        program = PREAMBLE + textwrap.dedent(code)
        monkeypatch.setattr(
            child_module, "command", lambda _, rest: [sys.executable, "-S", "-c", program, *rest]
        )
        config = parse_config({"adapt": {"steps": 40, **adapt}})
        rounds.append(RoundProcess(config, registry, "drift 3 is above 2"))
        return rounds[-1]

    yield start_one
    for one in rounds:
        one.child.kill()


def outcome(one: RoundProcess) -> Outcome:
    """Poll it to its end."""
    found: list[Outcome] = []

    def ended() -> bool:
        found.extend(filter(None, [one.poll()]))
        return bool(found)

    wait_until(ended, 20, "the end of the round")
    return found[0]


def test_it_is_told_everything(start: Start, registry: Registry) -> None:
    one = start("say(event='error', message=json.dumps(task)); sys.exit(1)", seed=7)
    task = json.loads(outcome(one).reasons[0])
    state = registry.folder
    assert (one.id, one.sequence, one.parent, one.reason) == (
        "a0001", 1, "base", "drift 3 is above 2",
    )  # fmt: skip
    assert task == {
        "good": [str(state / "adapters" / "base")], "start": None,
        "id": "a0001", "sequence": 1, "mode": "train", "seed": 8, "adapter_dir": None,
        "parent_dir": str(state / "adapters" / "base"), "engine_dir": str(state / "engine"),
        "buffer_dir": str(state / "buffer"), "out_dir": str(state / "candidates" / "a0001"),
        "config": json.loads(json.dumps(to_dict(parse_config({"adapt": {"seed": 7}})))),
    }  # fmt: skip


def test_an_accepted_candidate_is_left_where_it_was_asked_for(start: Start) -> None:
    one = start("""
        say(event="progress", step=3, steps=40, loss=1.0)
        os.mkdir(task["out_dir"])
        say(event="verdict", accepted=True, reasons=[], numbers={"agreement": 0.99})
    """)
    ended = outcome(one)
    assert (ended.verdict, ended.reasons, ended.numbers) == ("accepted", (), {"agreement": 0.99})
    assert ended.candidate is not None
    assert (ended.candidate.name, ended.candidate.is_dir()) == ("a0001", True)
    assert one.step == 3
    assert 0 < ended.seconds < 20


def test_a_refused_candidate_is_a_verdict_with_reasons(start: Start) -> None:
    one = start("""
        say(event="verdict", accepted=False, reasons=["agreement 0.2"], numbers={"agreement": 0.2})
    """)
    ended = outcome(one)
    assert (ended.verdict, ended.reasons) == ("refused", ("agreement 0.2",))
    assert ended.candidate is None


def test_a_free_alternative_comes_instead_with_its_card(start: Start) -> None:
    ended = outcome(
        start("""
        card = {"over": "base", "gain": 2.0, "low": 1.5, "high": 2.5}
        say(event="verdict", accepted=False, reasons=["gain over base"], numbers={}, card=card,
            instead="base, whole")
    """)
    )
    assert (ended.verdict, ended.reasons) == ("instead", ("gain over base",))
    assert ended.candidate is not None
    assert ended.card["over"] == "base"


def test_the_next_round_starts_from_what_was_learned(start: Start, registry: Registry) -> None:
    """Sound, not better: it does not serve, and the next round is told where it lies."""
    first = start("""
        learned = task["out_dir"] + "-learned"
        os.mkdir(learned)
        say(event="verdict", accepted=False, reasons=["gain"], numbers={}, learned=learned)
    """)
    ended = outcome(first)
    assert (ended.verdict, ended.candidate) == ("refused", None)
    registry.learn(ended.learned)
    second = start("say(event='error', message=str(task['start'])); sys.exit(1)")
    assert outcome(second).reasons == (str(registry.learned),)


def test_all_good_adapters_that_may_serve_compete(start: Start, registry: Registry) -> None:
    """The base first, what is quarantined or gone not at all."""
    for number, name in enumerate(("a1", "a2", "a3"), 1):
        bundle(registry.folder / "adapters", name, number)
        registry.trust(name)
    registry.trust("a9")
    registry.quarantine("a2", "no good")
    one = start("say(event='error', message=json.dumps(task['good'])); sys.exit(1)")
    good = json.loads(outcome(one).reasons[0])
    assert [Path(folder).name for folder in good] == ["base", "a1", "a3"]


def test_too_little_data_has_a_word_of_its_own(start: Start) -> None:
    ended = outcome(start("say(event='error', message='3 frames, 24 needed'); sys.exit(75)"))
    assert (ended.verdict, ended.reasons) == ("no_data", ("3 frames, 24 needed",))


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("say(event='error', message='the engine is gone'); sys.exit(1)", "the engine is gone"),
        ("raise ZeroDivisionError", "exit code 1"),
        ("sys.exit(0)", "exit code 0"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "killed by signal 9"),
        ("print(7); sys.exit(1)", "adapt said '7'"),
        (
            "say(event='verdict', accepted=True, reasons=[], numbers={}); sys.exit(1)",
            "exit code 1",
        ),
    ],
)
def test_everything_else_is_a_failure_with_a_reason(start: Start, code: str, why: str) -> None:
    ended = outcome(start(code))
    assert (ended.verdict, ended.candidate) == ("failed", None)
    assert why in ended.reasons[0]


def test_a_deadline_is_kept(start: Start) -> None:
    ended = outcome(start("time.sleep(60)", deadline_s=0.3))
    assert ended.verdict == "deadline"
    assert ended.reasons == ("took longer than adapt.deadline_s, 0.3 s",)
    assert ended.seconds < 20


def test_a_memory_cap_is_kept(start: Start) -> None:
    one = start("heap = bytearray(200 * 2**20); say(event='progress', step=1); time.sleep(60)",
                memory_mb=100)  # fmt: skip
    ended = outcome(one)
    assert ended.verdict == "memory"
    assert ended.reasons[0].endswith("MiB, 100 are allowed")
    assert one.child.exit_code == -9


def test_a_killed_round_leaves_nothing_for_the_next(start: Start, registry: Registry) -> None:
    one = start("""
        os.mkdir(task["out_dir"] + ".tmp")
        say(event="progress", step=1)
        time.sleep(60)
    """)
    torn = registry.folder / "candidates" / "a0001.tmp"
    wait_until(torn.is_dir, 20, "a torn candidate")
    one.child.kill()
    assert outcome(one).verdict == "failed"
    assert registry.names() == ["base"]
    two = start("say(event='verdict', accepted=False, reasons=['no'], numbers={})")
    assert not torn.exists()
    assert (two.id, outcome(two).verdict) == ("a0002", "refused")


def test_it_says_how_long_it_has_been_running(start: Start) -> None:
    one, before = start("time.sleep(60)"), time.monotonic()
    first = one.seconds
    assert one.poll() is None
    assert first <= one.seconds <= first + (time.monotonic() - before) + 1
