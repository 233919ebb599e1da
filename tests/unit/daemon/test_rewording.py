"""Other words for what serves, with a scripted serving process and a scripted words process."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from acclimate.configs.adapt import AdaptConfig
from acclimate.configs.gate import GateConfig
from acclimate.configs.vocabulary import Vocabulary, load_vocabulary, parse_classes
from acclimate.daemon import lifecycle as lifecycle_module
from acclimate.daemon import rewording as module
from acclimate.daemon import words as words_module
from acclimate.daemon.registry import Registry
from acclimate.daemon.rewording import lost
from acclimate.daemon.status import snapshot
from acclimate.daemon.words import file_of
from acclimate.runtime.job import origin
from tests.unit.daemon.conftest import CONFIG, DAY, DUSK, NIGHT, House

WORLD = load_vocabulary("world")
TWO, THREE = parse_classes("road,sky"), parse_classes("road,green=tree|bush,sky")


class FakeWords:
    """The words process: `works` says whether it leaves copies, `slow` keeps it at work."""

    started: list[list[str]]
    works, slow, starved, memory, last_words = True, False, False, 10.0, ""

    def __init__(self, name: str, arguments: list[str], log: Path, limits: AdaptConfig) -> None:
        assert name == "words"
        self.log, self.killed = log, False
        state = Path(arguments[arguments.index("--state") + 1])
        job = json.loads(arguments[arguments.index("--job") + 1])
        self.words = load_vocabulary(job["vocabulary"])
        self.adapters = arguments[arguments.index("--to-serve") + 1 :]
        FakeWords.started.append(self.adapters)
        self.said = [{"event": "progress", "message": f"embedding for {self.adapters[0]}"}]
        for name in self.adapters if self.works else []:
            copy(state, name, self.words)
        if self.last_words:
            self.said.append({"event": "error", "message": self.last_words})

    @property
    def exit_code(self) -> int | None:
        return None if self.slow else -9 if self.starved else 78 if self.last_words else 0

    def events(self) -> list[dict[str, Any]]:
        said, self.said = self.said, []
        return said

    def memory_mb(self) -> float:
        return self.memory

    def kill(self) -> None:
        FakeWords.started.append(["killed"])


def copy(state: Path, name: str, words: Vocabulary) -> None:
    """A copy of an adapter with these words, as the words process leaves it."""
    own = json.loads((state / "adapters" / name / "manifest.json").read_text())
    folder = state / "words" / words.digest[:16] / name
    folder.mkdir(parents=True, exist_ok=True)
    made = own | {"vocabulary_digest": words.digest, "made_from": origin(own)}
    (folder / "manifest.json").write_text(json.dumps(made))


@pytest.fixture(autouse=True)
def words(house: House, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No words process but the scripted one; the base has the configuration's words."""
    manifest = house.folder / "adapters" / "base" / "manifest.json"
    made = json.loads(manifest.read_text()) | {"vocabulary_digest": WORLD.digest}
    manifest.write_text(json.dumps(made))
    FakeWords.started = []
    monkeypatch.setattr(module, "Child", FakeWords)
    yield
    FakeWords.works, FakeWords.slow, FakeWords.memory, FakeWords.last_words = True, False, 10.0, ""
    FakeWords.starved = False


def wish(house: House, words: Vocabulary, asker: str = "me", count: int = 6) -> dict[str, str]:
    """`acclimate vocab set`, and its answer."""
    house.ask(do="vocabulary", id=asker, vocabulary=words.content)
    house.ticks(count)
    return house.life.rewording.answers.get(asker, {})


def refused(house: House, answer: dict[str, str], reason: str) -> None:
    """The old words serve on, the reason is told to the asker and to the log."""
    assert (answer["state"], reason in answer["message"]) == ("refused", True), answer
    assert house.last("vocabulary_refused")["reason"] == answer["message"]
    assert house.life.rewording.now is None
    assert (house.life.rewording.served, house.state.words) == (WORLD, None)
    assert house.serving.vocabulary in ("", str(file_of(house.folder, WORLD.key)))
    assert house.metric("acclimate_vocabulary_changes_total", "refused") == 1


# ---- the way of new words


def test_new_words_are_embedded_then_swapped_then_true(house: House) -> None:
    house.life.start()
    house.drive(DAY)
    answer = wish(house, THREE)
    assert FakeWords.started == [["base"]]
    assert house.serving.vocabulary == str(file_of(house.folder, THREE.key))
    assert Registry(house.folder).state.words == {
        "key": THREE.key, "digest": THREE.digest, "over": WORLD.key,
    }  # fmt: skip
    changed = house.last("vocabulary_changed")
    assert (changed["from"], changed["to"]) == (WORLD.key, THREE.key)
    assert (changed["classes"], changed["strings"], changed["frame"]) == (3, 4, 60)
    assert answer == {
        "state": "done", "message": "now looking for 3 classes (4 strings), from frame 60 on; "
        "gap 0.1 ms, 0 frames lost",
    }  # fmt: skip
    status = snapshot(house.life)
    assert status["vocabulary"] == {"classes": 3, "strings": 4, "key": THREE.key}
    assert house.metric("acclimate_vocabulary_classes") == 3
    assert house.metric("acclimate_vocabulary_strings") == 4
    assert house.metric("acclimate_vocabulary_changes_total", "done") == 1
    assert "swapped" not in house.kinds, "no other adapter serves"


def test_back_to_the_configured_words_needs_no_torch(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    wish(house, THREE)
    monkeypatch.setattr(words_module, "can_adapt", lambda: False)
    assert wish(house, WORLD, "again")["state"] == "done"
    assert (house.state.words, FakeWords.started) == (None, [["base"]])


def test_what_may_have_to_serve_is_embedded_with_it(house: House) -> None:
    dusk = house.settle()
    wish(house, THREE)
    assert FakeWords.started == [[dusk, "base"]]
    assert house.state.active == dusk
    assert house.life.registry.way_back() == "base"
    house.command(do="rollback")
    assert (house.state.active, house.serving.vocabulary) == (
        "base", str(file_of(house.folder, THREE.key)),
    )  # fmt: skip


def test_the_same_words_again_are_no_change(house: House) -> None:
    answer = wish(house, WORLD)
    assert (answer["state"], "already" in answer["message"]) == ("done", True)
    assert house.kinds == []


def test_other_colours_alone_need_no_embedding(house: House) -> None:
    content = WORLD.content
    content["classes"][0]["color"] = [1, 2, 3]
    house.ask(do="vocabulary", id="me", vocabulary=content)
    house.ticks()
    assert house.life.rewording.served.classes[0].color == (1, 2, 3)
    assert house.serving.vocabulary == str(file_of(house.folder, house.life.rewording.served.key))
    assert FakeWords.started == []


def test_a_round_under_way_is_cancelled_and_the_next_has_the_new_words(house: House) -> None:
    house.drive(DAY)
    house.drive(DUSK)
    assert house.life.rounds.now is not None
    FakeWords.slow = True
    wish(house, THREE)
    assert (house.killed, house.life.rounds.now) == (["a0001"], None)
    house.drive(DUSK)
    assert house.kinds.count("round_started") == 1, "not while words are being made ready"
    FakeWords.slow = False
    house.drive(DUSK)
    house.drive(DUSK)
    assert house.kinds.count("round_started") == 2
    config = house.life.rounds.config
    assert config.model.vocabulary == str(file_of(house.folder, THREE.key))


def test_a_labelled_folder_belongs_to_the_configured_classes(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        house.life.rewording, "_config", module.replace(CONFIG, gate=GateConfig(labelled_dir="l"))
    )
    assert house.life.rewording.for_rounds().gate.labelled_dir == "l"
    wish(house, THREE)
    assert house.life.rewording.for_rounds().gate.labelled_dir is None


def test_a_probation_ends_under_the_words_it_began_with(house: House) -> None:
    name = house.adapt()
    wish(house, THREE)
    assert house.life.rewording.now is not None
    assert house.serving.vocabulary in ("", str(file_of(house.folder, WORLD.key)))
    house.drive(DUSK)
    assert house.kinds.index("probation_passed") < house.kinds.index("vocabulary_changed")
    assert (house.state.active, house.life.rewording.served) == (name, THREE)


def test_a_rollback_meanwhile_is_obeyed_and_the_way_back_has_the_words(house: House) -> None:
    house.settle()
    FakeWords.slow = True
    wish(house, THREE)
    house.command(do="rollback", to="base")
    assert (house.state.active, house.life.rewording.served) == ("base", WORLD)
    FakeWords.slow = False
    house.ticks()
    assert (house.state.active, house.life.rewording.served) == ("base", THREE)


def test_shares_of_other_classes_are_not_compared(house: House) -> None:
    """The next probation begins with what was seen under the new words only."""
    house.drive(DAY)
    wish(house, THREE)
    assert house.life.stream.window.mean() is None
    assert house.life.stream.measure() is not None, "embeddings are of the picture alone"


def test_what_has_not_the_words_is_not_recalled(house: House) -> None:
    dusk = house.settle()
    house.drive(DAY)
    assert house.state.active == "base"
    house.life.registry.state.previous = None
    house.state.good.remove(dusk)  # not the way back while the words are embedded
    wish(house, THREE)
    house.state.good.append(dusk)
    house.drive(DUSK)
    assert (house.state.active, house.life.registry.may_serve(dusk)) == ("base", False)
    house.command(do="rollback", to=dusk)
    assert "with the words of now" in house.last("command_refused")["reason"]


# ---- refusals


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"classes": [{"name": "road"}]}, "2 classes or more"),
        ({"classes": [{"name": f"thing {i}"} for i in range(256)]}, "256 classes"),
        (None, "2 classes or more"),
    ],
    ids=["one", "too many", "nothing"],
)
def test_words_that_are_none_are_refused(house: House, content: Any, reason: str) -> None:
    house.ask(do="vocabulary", id="me", vocabulary=content)
    house.ticks()
    refused(house, house.life.rewording.answers["me"], reason)


def test_more_strings_than_the_engine_takes_are_refused(house: House) -> None:
    (house.folder / "engine").mkdir()
    (house.folder / "engine" / "engine.json").write_text(json.dumps({"strings": [2, 3]}))
    answer = wish(house, THREE)
    refused(house, answer, "4 strings need another engine")
    assert "takes 2 to 3" in answer["message"]
    assert "restart with --config" in answer["message"]
    assert wish(house, TWO, "fewer")["state"] == "done"


def test_without_torch_it_is_said(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(words_module, "can_adapt", lambda: False)
    refused(house, wish(house, THREE), "acclimate[adapt]")


def test_what_the_words_process_says_reaches_the_asker(house: House) -> None:
    FakeWords.works, FakeWords.last_words = False, "never learned 'forklift'"
    refused(house, wish(house, THREE), "never learned 'forklift'")


def test_a_process_that_leaves_nothing_is_asked_once(house: House) -> None:
    FakeWords.works = False
    refused(house, wish(house, THREE, count=8), "left nothing for base")
    assert FakeWords.started == [["base"]]


@pytest.mark.parametrize("limit", ["memory", "time"])
def test_embedding_has_limits(house: House, monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    FakeWords.slow = True
    if limit == "memory":
        FakeWords.memory = CONFIG.adapt.memory_mb + 1
    else:
        monkeypatch.setattr(module, "DEADLINE", -1.0)
    named = {"memory": "adapt.memory_mb", "time": "longer than"}[limit]
    refused(house, wish(house, THREE), named)
    assert FakeWords.started[-1] == ["killed"]


def test_the_kernel_may_end_it_for_want_of_memory(house: House) -> None:
    FakeWords.works, FakeWords.starved = False, True
    refused(house, wish(house, THREE), "memory ran out, ")


def test_what_the_runtime_refuses_harms_no_adapter(house: House) -> None:
    dusk = house.settle()
    house.serving.refuse = {dusk}
    refused(house, wish(house, THREE), "probe labels differ")
    assert (house.state.active, house.state.quarantined) == (dusk, {})


def test_one_change_at_a_time(house: House) -> None:
    FakeWords.slow = True
    wish(house, THREE)
    second = wish(house, TWO, "another")
    assert "another change of words is under way" in second["message"]
    assert house.life.rewording.answers["me"]["state"] == "working"
    FakeWords.slow = False
    house.ticks()
    assert house.life.rewording.served == THREE


def test_a_full_disk_refuses(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(words_module, "write_atomic", full)
    refused(house, wish(house, THREE), "No space left")


def test_a_disk_that_is_full_at_the_last_moment_holds_nothing_up(
    house: House, full_disk: Callable[[bool], None]
) -> None:
    full_disk(True)
    assert wish(house, THREE)["state"] == "done"
    assert Registry(house.folder).state.words is None
    full_disk(False)
    house.ticks()
    assert Registry(house.folder).state.words == house.state.words != None  # noqa: E711


def test_the_end_of_the_daemon_ends_the_embedding(house: House) -> None:
    FakeWords.slow = True
    wish(house, THREE)
    house.life.rewording.refuse("the daemon stopped")
    house.life.rewording.refuse("the daemon stopped")
    assert FakeWords.started == [["base"], ["killed"]]
    assert house.kinds.count("vocabulary_refused") == 1


# ---- crashes and restarts


def test_an_answer_after_its_time_is_taken_back(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.life.start()
    monkeypatch.setattr(lifecycle_module, "SWAP_TIMEOUT", -1.0)
    house.serving.deaf = True
    refused(house, wish(house, THREE), "no answer")
    monkeypatch.undo()
    house.serving.deaf = False
    house.serving.take_up("base")
    house.ticks()
    assert house.serving.vocabulary == str(file_of(house.folder, WORLD.key))
    assert (house.state.words, house.life.rewording.served) == (None, WORLD)


def test_a_runtime_that_dies_of_them_starts_with_the_old(house: House) -> None:
    house.life.start()
    house.serving.deaf = True
    wish(house, THREE)
    assert house.life.swapping is not None
    house.serving.crash()
    house.ticks()
    refused(house, house.life.rewording.answers["me"], "died")
    assert house.serving.started == ["base", "base"]


def test_a_runtime_that_dies_later_starts_with_the_new(house: House) -> None:
    house.life.start()
    wish(house, THREE)
    house.serving.crash()
    house.ticks()
    assert house.serving.vocabulary == str(file_of(house.folder, THREE.key))


@pytest.mark.parametrize("moment", ["embedding", "swapping", "served", "true"])
def test_a_daemon_killed_at_any_moment_starts_with_one_or_the_other(
    house: House, moment: str
) -> None:
    house.life.start()
    house.drive(DAY)
    FakeWords.slow, house.serving.deaf = moment == "embedding", moment != "true"
    wish(house, THREE)
    if moment == "served":
        house.serving.take_up("base")  # and nobody is left to hear of it
    house.serving.said.clear()
    house.open()
    house.life.start()
    serves = THREE if moment == "true" else WORLD
    assert house.life.rewording.served == serves
    assert house.serving.vocabulary == str(file_of(house.folder, serves.key))
    assert load_vocabulary(house.serving.vocabulary) == serves
    assert house.life.first_adapter() == "base"
    kept = [path.name for path in (house.folder / "vocabularies").iterdir()]
    assert kept == [f"{serves.key}.yaml"]


def test_words_set_by_hand_serve_on_after_a_restart(house: House) -> None:
    wish(house, THREE)
    house.open()
    assert house.kinds == ["vocabulary_kept"]
    assert house.life.rewording.served == THREE
    assert house.life.registry.folder_of("base").is_relative_to(house.folder / "words")


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        ("configuration", "names other words"),
        ("file", "unreadable"),
        ("engine", "another engine"),
        ("base", "acclimate[adapt]"),
    ],
)
def test_words_that_cannot_serve_on_give_way_to_the_configurations(
    house: House, monkeypatch: pytest.MonkeyPatch, spoil: str, why: str
) -> None:
    wish(house, THREE)
    if spoil == "configuration":
        words = house.life.registry.state.words
        assert words is not None
        house.life.registry.reword(words | {"over": "what it named then"})
    elif spoil == "file":
        file_of(house.folder, THREE.key).write_text("classes: [{name: road}, {name: mud}]\n")
    elif spoil == "engine":
        (house.folder / "engine").mkdir()
        (house.folder / "engine" / "engine.json").write_text(json.dumps({"strings": [65, 4096]}))
    else:
        monkeypatch.setattr(words_module, "can_adapt", lambda: False)
        manifest = house.folder / "adapters" / "base" / "manifest.json"
        made = json.loads(manifest.read_text()) | {"files": {"inputs.safetensors": "new weights"}}
        manifest.write_text(json.dumps(made))
    house.open()
    assert house.kinds == ["vocabulary_dropped"]
    assert why in house.last("vocabulary_dropped")["reason"]
    assert house.history == [("start", "base", "base")]
    assert (house.life.rewording.served, Registry(house.folder).state.words) == (WORLD, None)


def test_a_night_adapter_of_new_words_rests_when_the_old_return(house: House) -> None:
    wish(house, THREE)
    house.drive(DAY)
    night = house.settle(NIGHT)
    FakeWords.started = []
    wish(house, TWO, "other")
    assert FakeWords.started == [[night, "base"]]
    assert house.life.registry.folder_of(night).is_relative_to(house.folder / "words")


def test_lost_frames_are_told_by_reason() -> None:
    assert lost({}, {}) == "0 frames lost"
    assert lost({"superseded": 5}, {"superseded": 5}) == "0 frames lost"
    assert lost({"superseded": 5}, {"superseded": 7, "inference_error": 1}) == (
        "3 frames lost (2 superseded, 1 inference_error)"
    )
