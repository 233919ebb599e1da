"""What the serving process says, and what follows from it: first the truth, then the books."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from acclimate.daemon.probation import Probation
from acclimate.daemon.registry import BASE
from acclimate.daemon.words import file_of

if TYPE_CHECKING:
    from acclimate.daemon.lifecycle import Lifecycle

Message = dict[str, Any]
REWORDED = "vocabulary"


class Heard:
    """Takes its messages in, one after the other."""

    def __init__(self, life: Lifecycle) -> None:
        self._life = life
        self._since_frame = 0
        self._listeners: dict[str, Callable[[Message], None]] = {
            "stats": self._stats, "swapped": self._swapped, "refused": self.refused,
            "ready": self._ready, "error": self._error, "done": lambda _: None,
            "shadow": life.shadow.heed, "purged": life.purge.heed,
        }  # fmt: skip

    def heed(self, said: list[Message]) -> None:
        """Take in what it said."""
        for event in said:
            self._listeners[event["event"]](event)

    def another(self) -> None:
        """Another process will speak: it counts its frames from 0."""
        self._since_frame = 0

    def _ready(self, event: Message) -> None:
        life = self._life
        life.metrics.serving(event["active"], life.registry.card(event["active"]))
        life.engine = {key: event[key] for key in ("engine", "precision", "reason")}
        life.events.write("serving", adapter=event["active"], **life.engine)
        life.reload.came_up()
        again, free = life.shadow.again(), life.registry.state.pinned is None
        if again is not None and free and not life.changing:
            life.swap_in(again)

    def _stats(self, stats: Message) -> None:
        life = self._life
        life.stream.last = stats
        life.metrics.interval(stats)
        if not stats["frames"] or (life.swapping is not None and life.shadow.now is None):
            return
        if life.stream.blind:  # a covered camera says nothing of the road or of the adapter
            return
        (life.probation or life.stream.window).add(life.stream.add(stats))
        if (found := life.stream.first_condition(stats)) is not None:
            life.keep(life.registry.remember_reference, found.mean.tolist(), found.spread)
            life.events.write("reference", spread=found.spread)
        alarm = life.stream.alarm
        if (level := life.stream.measure()) is not None:
            life.metrics.drifted(vars(level), life.stream.alarm and not alarm)

    def _swapped(self, event: Message) -> None:
        """The runtime serves it; now the truth, then the books."""
        life = self._life
        name, why = event["id"], life.swapping[1] if life.swapping else "unasked"
        actor, reason = life.because if life.swapping else ("runtime", "unasked")
        served, self._since_frame = event["frame"] - self._since_frame, event["frame"]
        life.swapping, words = None, life.rewording.asked(why == REWORDED)
        late = event["vocabulary"] != str(file_of(life.registry.folder, words.key))
        if late or name in life.registry.state.quarantined:  # it came after its time was up
            life.changed("runtime", event["from"], name, "it came after its time was up")
            life.swap(life.registry.state.active, "rollback", "runtime", f"{name} came too late")
            return
        life.metrics.swaps.labels("done").inc()
        life.metrics.gap.observe(event["gap_ms"] / 1000)
        life.metrics.last_swap.set_to_current_time()
        if why == REWORDED:
            self._reworded(event, served)
            return
        if name != life.registry.state.active:
            life.keep(life.registry.activate, name)
        if why == "pinned":
            life.keep(life.registry.pin, name)
        unproven, before = name not in life.registry.state.good, life.stream.window.mean()
        expected = life.registry.shares(name)
        life.probation = Probation(life.config.probation, before, expected) if unproven else None
        life.stream.swapped()
        life.metrics.serving(name, life.registry.card(name))
        life.events.write(
            "swapped", id=name, since=event["from"], why=why, gap_ms=event["gap_ms"],
            load_ms=event["load_ms"], frames_before=served,
        )  # fmt: skip
        life.changed(actor, event["from"], name, reason)
        if why == "pinned":
            life.events.write("pinned", id=name, actor=actor, reason=reason)

    def refused(self, event: Message) -> None:
        """The runtime would not take it up; what serves goes on serving."""
        life = self._life
        why = life.swapping[1] if life.swapping else "unasked"
        life.swapping, untried = None, life.shadow.close(event["id"])
        life.metrics.swaps.labels("refused").inc()
        if why == REWORDED:
            life.rewording.refuse(event["reason"])
            return
        life.events.write("swap_refused", id=event["id"], why=why, reason=event["reason"])
        if event["id"] != BASE and not untried:
            why_not = f"refused by the runtime: {event['reason']}"
            life.keep(life.registry.quarantine, event["id"], why_not)
        if why == "rollback":
            life.go_further_back(event["id"])

    def _error(self, event: Message) -> None:
        """A bundle that it cannot begin with has rotted on disk: the next start takes another."""
        life = self._life
        life.events.write("runtime_error", message=event["message"])
        if event.get("bundle"):
            active = life.registry.state.active
            life.blame(active, f"unreadable {event['message']}")
            life.excused = active != BASE

    def _reworded(self, event: Message, served: int) -> None:
        """The same adapter serves with other words; now the truth, then the books."""
        life = self._life
        change, before = life.rewording.now, life.rewording.served
        assert change is not None
        life.keep(life.registry.reword, life.rewording.entry(change.words))
        life.rewording.done(change, life.serving.ledger["dropped"], event)
        life.rounds.config = life.rewording.for_rounds()
        life.stream.reworded()
        words = change.words
        life.events.write(
            "vocabulary_changed", **{"from": before.key}, to=words.key, id=event["id"],
            classes=len(words.classes), strings=len(words.strings), frame=event["frame"],
            gap_ms=event["gap_ms"], load_ms=event["load_ms"], frames_before=served,
            seconds=round(time.monotonic() - change.started, 2), actor=change.actor,
        )  # fmt: skip
        told = f"other words: {words.size}"
        life.changed(change.actor, event["id"], event["id"], told)
