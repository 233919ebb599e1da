"""The life of an adapter, as one loop: listen, watch, decide.

drift -> round -> gate -> adopt -> (shadow) -> swap -> probation -> good | rolled back, quarantined

Any failure on this side leaves the serving process as it was.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from acclimate.configs.schema import Config
from acclimate.daemon.commands import Commands
from acclimate.daemon.events import EventLog
from acclimate.daemon.gauges import expose
from acclimate.daemon.inbox import Inbox
from acclimate.daemon.metrics import Metrics
from acclimate.daemon.pause import Pause
from acclimate.daemon.probation import Probation
from acclimate.daemon.purge import Purge
from acclimate.daemon.registry import BASE, Registry
from acclimate.daemon.reload import Reload
from acclimate.daemon.rewording import Rewording
from acclimate.daemon.scheduler import Rounds
from acclimate.daemon.serving import Serving
from acclimate.daemon.shadow import Shadow
from acclimate.daemon.status import earned
from acclimate.daemon.stream import Stream
from acclimate.daemon.waiting import Meanwhile, nothing
from acclimate.daemon.words import file_of

Message = dict[str, Any]
SWAP_TIMEOUT = 30.0
REWORDED = "vocabulary"


class Lifecycle:
    """What the daemon knows and does; `tick` it until it returns False, then `close` it."""

    def __init__(
        self, config: Config, state: Path, serving: Serving, events: EventLog, metrics: Metrics,
        meanwhile: Meanwhile = nothing,
    ) -> None:  # fmt: skip
        self.config, self.serving, self.events, self.metrics = config, serving, events, metrics
        self.registry = Registry(state)
        self.registry.sweep()
        self.inbox, self.commands = Inbox(), Commands(self)
        self.pause = Pause(self.registry)
        self.stream = Stream(config, self.registry)
        self.rewording = Rewording(config, self.registry, events, metrics, meanwhile)
        rounds = self.rewording.for_rounds()
        self.rounds = Rounds(rounds, self.registry, self.stream, events, metrics)
        self.probation: Probation | None = None
        self.shadow, self.purge = Shadow(events, metrics), Purge(self)
        self.reload = Reload(self)
        self.swapping: tuple[str, str, float] | None = None  # id, why, deadline
        self.because = ("", "")  # who asked for that swap, and why
        self.trouble: str | None = None
        self.engine: Message = {}  # name, precision and reason of what serves
        self._since_frame = 0
        self._listeners: dict[str, Callable[[Message], None]] = {
            "stats": self._on_stats, "swapped": self._on_swapped, "refused": self._on_refused,
            "ready": self._on_ready, "error": self._on_error, "done": lambda _: None,
            "shadow": self.shadow.heed, "purged": self.purge.heed,
        }  # fmt: skip
        expose(self)

    def start(self) -> None:
        """Start the serving process with what the truth names."""
        self.serving.start(self.first_adapter(), self.rewording.file)

    def first_adapter(self) -> str:
        """What a fresh serving process begins with: an adapter that is there and passed probation;
        with a restart the signals that it would be compared with are gone."""
        state, active = self.registry.state, self.registry.state.active
        if active not in state.good or not self.registry.may_serve(active):
            target, unfit = self.registry.way_back(), "it is gone or made for other words or base"
            unfit = self.registry.distrust(active) or unfit
            why = unfit if active in state.good else "it did not pass probation"
            self.keep(self.registry.activate, target)
            why = state.quarantined.get(active, why)
            self.events.write("set_aside", id=active, to=target, reason=why)
            actor = "start" if active in state.good else "probation"
            self._changed(actor, active, target, why)
        return state.active

    def tick(self) -> bool:
        """One look around; False once the serving process has ended for good."""
        self.listen()
        if self.serving.died():
            self._on_crash()
        self.reload.watch()
        try:
            self._decide()
            self.trouble = None
        except OSError as error:
            self._on_trouble(str(error))
        return not self.serving.ended

    def _decide(self) -> None:
        if (candidate := self.rounds.watch()) is not None:
            self._swap_in(candidate)
        self._watch_swap()
        self._watch_probation()
        self._watch_words()
        self.commands.heed()
        if self.pause.over:
            self.keep(self.pause.end)
            self.events.write("resumed", actor="pause", reason="its time is up")
        if not self.changing and not self._recall():
            self.rounds.start_if_needed()
        self.purge.look()
        self.registry.save()

    def keep(self, change: Callable[..., None], *values: Any) -> None:
        """A change of the truth that no full disk may hold up: written as soon as there is room."""
        try:
            change(*values)
        except OSError as error:
            self._on_trouble(str(error))

    def listen(self) -> None:
        """Take in what the serving process said."""
        self._heed(self.serving.events())

    def _heed(self, said: list[Message]) -> None:
        for event in said:
            self._listeners[event["event"]](event)

    def renew(self) -> None:
        """Another serving process in place of the one that runs, which ends in order."""
        self._heed(self.serving.retire())
        self.probation = None
        self._start_again()

    def close(self) -> None:
        """End all that runs. What a round or the runtime had done by then is booked."""
        try:
            self.rounds.watch()
        except OSError as error:
            self._on_trouble(str(error))
        self.rounds.cancel()
        self._heed(self.serving.stop())
        self.purge.give_up("the daemon stopped")
        self.rewording.refuse("the daemon stopped")

    @property
    def busy(self) -> bool:
        """Is a round, a swap, a probation or a change of words under way?"""
        return self.rounds.now is not None or self.changing

    @property
    def changing(self) -> bool:
        """Is what serves, or its words, about to change or newly changed?"""
        return any(x is not None for x in (self.probation, self.swapping, self.rewording.now))

    # ---- what the serving process says

    def _on_ready(self, event: Message) -> None:
        self.metrics.serving(event["active"], self.registry.card(event["active"]))
        self.engine = {key: event[key] for key in ("engine", "precision", "reason")}
        self.events.write("serving", adapter=event["active"], **self.engine)
        self.reload.came_up()
        again, free = self.shadow.again(), self.registry.state.pinned is None
        if again is not None and free and not self.changing:
            self._swap_in(again)

    def _on_stats(self, stats: Message) -> None:
        self.stream.last = stats
        self.metrics.interval(stats)
        if not stats["frames"] or (self.swapping is not None and self.shadow.now is None):
            return
        if self.stream.blind:  # a covered camera says nothing of the road or of the adapter
            return
        (self.probation or self.stream.window).add(self.stream.add(stats))
        if (found := self.stream.first_condition(stats)) is not None:
            self.keep(self.registry.remember_reference, found.mean.tolist(), found.spread)
            self.events.write("reference", spread=found.spread)
        alarm = self.stream.alarm
        if (level := self.stream.measure()) is not None:
            self.metrics.drifted(vars(level), self.stream.alarm and not alarm)

    def _on_swapped(self, event: Message) -> None:
        """The runtime serves it; now the truth, then the books."""
        name, why = event["id"], self.swapping[1] if self.swapping else "unasked"
        actor, reason = self.because if self.swapping else ("runtime", "unasked")
        served, self._since_frame = event["frame"] - self._since_frame, event["frame"]
        self.swapping, words = None, self.rewording.asked(why == REWORDED)
        late = event["vocabulary"] != str(file_of(self.registry.folder, words.key))
        if late or name in self.registry.state.quarantined:  # it came after its time was up
            self._changed("runtime", event["from"], name, "it came after its time was up")
            self.swap(self.registry.state.active, "rollback", "runtime", f"{name} came too late")
            return
        self.metrics.swaps.labels("done").inc()
        self.metrics.gap.observe(event["gap_ms"] / 1000)
        self.metrics.last_swap.set_to_current_time()
        if why == REWORDED:
            self._on_reworded(event, served)
            return
        if name != self.registry.state.active:
            self.keep(self.registry.activate, name)
        if why == "pinned":
            self.keep(self.registry.pin, name)
        unproven, before = name not in self.registry.state.good, self.stream.window.mean()
        expected = self.registry.shares(name)
        self.probation = Probation(self.config.probation, before, expected) if unproven else None
        self.stream.swapped()
        self.metrics.serving(name, self.registry.card(name))
        self.events.write(
            "swapped", id=name, since=event["from"], why=why, gap_ms=event["gap_ms"],
            load_ms=event["load_ms"], frames_before=served,
        )  # fmt: skip
        self._changed(actor, event["from"], name, reason)
        if why == "pinned":
            self.events.write("pinned", id=name, actor=actor, reason=reason)

    def _changed(self, actor: str, before: str, now: str, reason: str) -> None:
        """Every change of what is served leaves this line."""
        self.events.write("served", actor=actor, **{"from": before}, to=now, reason=reason)

    def _on_refused(self, event: Message) -> None:
        """The runtime would not take it up; what serves goes on serving."""
        why = self.swapping[1] if self.swapping else "unasked"
        self.swapping, untried = None, self.shadow.close(event["id"])
        self.metrics.swaps.labels("refused").inc()
        if why == REWORDED:
            self.rewording.refuse(event["reason"])
            return
        self.events.write("swap_refused", id=event["id"], why=why, reason=event["reason"])
        if event["id"] != BASE and not untried:
            why_not = f"refused by the runtime: {event['reason']}"
            self.keep(self.registry.quarantine, event["id"], why_not)
        if why == "rollback":
            reason = f"the runtime refused {event['id']}"
            self.swap(self.registry.way_back(), "rollback", "runtime", reason)

    def _on_error(self, event: Message) -> None:
        """A bundle that it cannot begin with has rotted on disk: the next start takes another."""
        self.events.write("runtime_error", message=event["message"])
        if event.get("bundle"):
            self._blame(self.registry.state.active, f"unreadable {event['message']}")

    def _on_trouble(self, message: str) -> None:
        """A full or broken disk stops adapting, never serving; told once, tried again later."""
        if message != self.trouble:
            self.events.write("trouble", message=message)
        self.trouble = message
        self.rounds.pause()

    def _on_crash(self) -> None:
        """An adapter on probation is blamed for it; the last good one starts the next process."""
        if self.swapping is not None and self.swapping[1] == REWORDED:
            self.rewording.refuse("the runtime died while it took them up")
        if (fatal := self.shadow.died()) is not None:
            self._blame(fatal, "crash of the runtime, twice, with it in the shadow")
        self.swapping, active = None, self.registry.state.active
        self.metrics.restarts.inc()
        self.events.write("runtime_died", adapter=active, exit_code=self.serving.exit_code)
        if self.probation is not None:
            self._blame(active, "crash of the runtime during probation")
            self.probation = None
        self.purge.give_up("the serving process died")
        self.reload.died()
        self._start_again()

    def _start_again(self) -> None:
        self.stream.last, self._since_frame = {}, 0
        self.rounds.serving_restarted()
        self.start()

    # ---- swaps, probation

    def _swap_in(self, candidate: str) -> None:
        """What passed the gate."""
        won = earned(self.registry.card(candidate))
        self.swap(candidate, "accepted", "gate", "passed the gate" + (f": {won}" if won else ""))

    def swap(self, name: str, why: str, actor: str, reason: str) -> None:
        """Ask the runtime; the answer is `swapped` or `refused`."""
        self.because = (actor, reason)
        beside = why == "accepted" and self.config.shadow.on
        patience = SWAP_TIMEOUT + (self.config.shadow.deadline_s if beside else 0.0)
        self.swapping = (name, why, time.monotonic() + patience)
        words, folder = self.rewording.asked(why == REWORDED), self.registry.folder_of(name)
        if why == REWORDED:
            folder = self.registry.place(name, words.digest).bundle
        file = file_of(self.registry.folder, words.key)
        if beside:
            self.shadow.open(name, self.registry.state.active)
        self.serving.send({
            "cmd": "swap", "id": name, "dir": str(folder), "vocabulary": str(file),
            "shadow": beside,
        })  # fmt: skip

    def _watch_swap(self) -> None:
        if self.swapping is not None and time.monotonic() > self.swapping[2]:
            self._on_refused({"id": self.swapping[0], "reason": "no answer in time"})

    def _watch_probation(self) -> None:
        if self.probation is None or self.swapping is not None:
            return
        active = self.registry.state.active
        if (why := self.probation.regression()) is not None:
            self.roll_back(why)
        elif self.probation.over:
            self.keep(self.registry.trust, active)
            self.events.write("probation_passed", id=active, numbers=self.probation.numbers)
            self.probation = None

    # ---- other words

    def reword(self, wish: Message) -> None:
        """Take up a wish for other words. A round under way would leave a candidate for the old."""
        if self.rewording.begin(wish, self.serving.ledger["dropped"]):
            self.rounds.cancel()

    def _watch_words(self) -> None:
        if self.rewording.watch() and self.swapping is None and self.probation is None:
            change = self.rewording.now
            assert change is not None
            self.swap(self.registry.state.active, REWORDED, change.actor, "other words")

    def _on_reworded(self, event: Message, served: int) -> None:
        """The same adapter serves with other words; now the truth, then the books."""
        change, before = self.rewording.now, self.rewording.served
        assert change is not None
        self.keep(self.registry.reword, self.rewording.entry(change.words))
        self.rewording.done(change, self.serving.ledger["dropped"], event)
        self.rounds.config = self.rewording.for_rounds()
        self.stream.reworded()
        words = change.words
        self.events.write(
            "vocabulary_changed", **{"from": before.key}, to=words.key, id=event["id"],
            classes=len(words.classes), strings=len(words.strings), frame=event["frame"],
            gap_ms=event["gap_ms"], load_ms=event["load_ms"], frames_before=served,
            seconds=round(time.monotonic() - change.started, 2), actor=change.actor,
        )  # fmt: skip
        told = f"other words: {words.size}"
        self._changed(change.actor, event["id"], event["id"], told)

    # ---- ways back

    def roll_back(self, reason: str, to: str | None = None, actor: str = "probation") -> str:
        """Quarantine what serves and return to the last good adapter (or `to`), which it names."""
        active = self.registry.state.active
        target = to or self.registry.way_back()
        self.probation = None
        self._condemn(active, reason)
        self.keep(self.registry.forget_after, target)
        self.rounds.cancel()
        self.events.write("rolled_back", id=active, to=target, reason=reason, actor=actor)
        self.swap(target, "rollback", actor, reason)
        return target

    def _condemn(self, name: str, reason: str) -> None:
        self.metrics.rollbacks.labels(reason.split(" ", 1)[0]).inc()
        if name != BASE:
            self.keep(self.registry.quarantine, name, reason)

    def _blame(self, name: str, reason: str) -> None:
        """Quarantine what the serving process ended of."""
        self._condemn(name, reason)
        if name != BASE:
            self.events.write("quarantined", id=name, reason=reason)

    def force(self, name: str, folder: Path) -> None:
        """Take a bundle in past the gate; probation is what is left to stop it."""
        self.rounds.cancel()
        self.registry.learn(None)
        self.registry.adopt(name, folder)
        self.events.write("forced", id=name)
        self.swap(name, "forced", "force", "past the gate")

    def try_out(self, name: str, actor: str, reason: str) -> None:
        """Serve an adapter that lies here, at someone's word and on probation."""
        self.rounds.cancel()
        self.registry.learn(None)
        self.registry.nominate(name)
        self.swap(name, "tried", actor, reason)

    def _recall(self) -> bool:
        """Swap back to a good adapter whose condition fits clearly better; no round is needed,
        and one that is running for the condition left behind has become pointless."""
        if self.registry.state.pinned is not None or (name := self.stream.better()) is None:
            return False
        self.rounds.cancel()
        self.registry.learn(None)
        active = self.registry.state.active
        self.events.write("recalled", id=name, instead_of=active, drift=self.stream.ratio)
        self.swap(name, "recall", "recall", f"the stream is where {name} was made")
        return True
