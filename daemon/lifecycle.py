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
from acclimate.daemon.books import UNTOLD, last_told, served
from acclimate.daemon.commands import Commands
from acclimate.daemon.events import EventLog
from acclimate.daemon.gauges import expose
from acclimate.daemon.heard import REWORDED, Heard
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
from acclimate.daemon.standby import Beginning
from acclimate.daemon.status import earned
from acclimate.daemon.stream import Stream
from acclimate.daemon.waiting import Meanwhile, nothing
from acclimate.daemon.words import file_of

Message = dict[str, Any]
SWAP_TIMEOUT = 30.0
STILLBORN = 2  # such deaths in a row are the adapter's fault, however good it was: a driver changed
AGAIN = "again"


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
        self._told = last_told(state)  # what serves by the history
        self.trouble: str | None = None
        self.engine: Message = {}  # name, precision and reason of what serves
        self._owed = nothing
        self.excused = False  # the next death of the serving process is not its own fault
        self.heard = Heard(self)
        expose(self)

    def start(self) -> None:
        """Start the serving process with what the truth names."""
        self.serving.start(self.first_adapter(), self.rewording.file)

    @property
    def beginning(self) -> Beginning:
        """What a fresh serving process would begin with now, if what proves itself passes."""
        fit = (self._proven or self.proving) and self.registry.may_serve(self.registry.state.active)
        name = self.registry.state.active if fit else self.registry.way_back()
        return name, self.rewording.file

    @property
    def _proven(self) -> bool:
        """Did what is active pass probation? With a restart the signals that it would be compared
        with are gone; a person's word outlives it."""
        state = self.registry.state
        return state.active in state.good or state.active == state.pinned

    def first_adapter(self) -> str:
        """What a fresh serving process begins with: an adapter that is there and passed probation.
        From now on it is the truth."""
        state, active = self.registry.state, self.registry.state.active
        if active != self._told:
            self.changed("start", self._told, active, UNTOLD)
        if (target := self.beginning[0]) != active:
            unfit = self.registry.distrust(active) or "it is gone or made for other words or base"
            why = unfit if (proven := self._proven) else "it did not pass probation"
            self.keep(self.registry.activate, target)
            why = state.quarantined.get(active, why)
            self.events.write("set_aside", id=active, to=target, reason=why)
            actor = "start" if proven else "probation"
            self.changed(actor, active, target, why)
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
            self.swap_in(candidate)
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
        self._pay()
        self.registry.save()

    def keep(self, change: Callable[..., None], *values: Any) -> None:
        """A change of the truth that no full disk may hold up: written as soon as there is room."""
        try:
            change(*values)
        except OSError as error:
            self._on_trouble(str(error))

    def owe(self, write: Callable[[], None]) -> None:
        """Write this to the state folder, now or as soon as it can be; until then it is trouble."""
        self._owed = write
        self.keep(self._pay)

    def _pay(self) -> None:
        self._owed()
        self._owed = nothing

    def listen(self) -> None:
        """Take in what the serving process said."""
        self.heard.heed(self.serving.events())

    @property
    def proving(self) -> bool:
        """Is an adapter on probation, with frames to prove itself on?"""
        seen = self.stream.last.get("source") == "live" and not self.stream.blind
        return self.probation is not None and seen

    def renew(self) -> None:
        """The serving process that stands by in place of the one that runs, which ends in order."""
        self.heard.heed(self.serving.retire())
        self.purge.give_up("another serving process took over")
        self.swapping = self.probation = None
        self._another_follows()
        standby = self.serving.standby
        assert standby is not None
        if (self.first_adapter(), self.rewording.file) == standby.beginning:
            self.serving.take_over()
        else:  # the last words of the old one changed the truth
            self.start()

    def close(self) -> None:
        """End all that runs. What a round or the runtime had done by then is booked."""
        try:
            self.rounds.watch()
        except OSError as error:
            self._on_trouble(str(error))
        self.rounds.cancel()
        self.reload.give_up("the daemon stopped")
        self.heard.heed(self.serving.stop())
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
            self.blame(fatal, "crash of the runtime, twice, with it in the shadow")
        self.swapping, active = None, self.registry.state.active
        self.metrics.restarts.inc()
        self.events.write("runtime_died", adapter=active, exit_code=self.serving.exit_code)
        if self.probation is not None:
            self.blame(active, "crash of the runtime during probation")
            self.probation = None
        elif self.serving.stillborn >= STILLBORN and active != BASE:
            self.blame(active, "crash of the runtime, twice, before its first frame with it")
            self.excused = True
        if self.excused:  # however many have rotted, the base comes before the budget is spent
            self.serving.forgive()
            self.excused = False
        self.purge.give_up("the serving process died")
        self.reload.died()
        self._another_follows()
        self.start()

    def _another_follows(self) -> None:
        self.stream.last = {}
        self.heard.another()
        self.rounds.serving_restarted()

    # ---- swaps, probation

    def changed(self, actor: str, before: str, now: str, reason: str) -> None:
        """Every change of what is served leaves this line."""
        self._told = now
        served(self.events, actor, before, now, reason)

    def swap_in(self, candidate: str) -> None:
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

    def go_further_back(self, refused: str) -> None:
        """Not even the base is taken up where its files rotted: it is asked again, not at once."""
        if (target := self.registry.way_back()) != refused:
            self.swap(target, "rollback", "runtime", f"the runtime refused {refused}")
        else:
            self.swapping = (target, AGAIN, time.monotonic() + SWAP_TIMEOUT)

    def _watch_swap(self) -> None:
        if self.swapping is None or time.monotonic() <= self.swapping[2]:
            return
        name, why, _ = self.swapping
        if why == AGAIN:
            self.swap(name, "rollback", "runtime", "there is nothing else to go back to")
        else:
            self.heard.refused({"id": self.swapping[0], "reason": "no answer in time"})

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

    def blame(self, name: str, reason: str) -> None:
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
