"""What people read: the status of a daemon, its events as sentences."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acclimate.daemon import cgroup
from acclimate.daemon.hold import ask, living
from acclimate.daemon.pause import Pause
from acclimate.daemon.registry import Registry

if TYPE_CHECKING:
    from acclimate.daemon.lifecycle import Lifecycle

Status = dict[str, Any]
LOG_ONLY = {"served"}  # said by other events already; for `acclimate adapters history`


def snapshot(life: Lifecycle) -> Status:
    """The running daemon as JSON-ready values; read by /status and at the end of a run."""
    state, last, ledger = life.registry.state, life.stream.last, life.serving.ledger
    words = life.rewording.served
    return {
        "pid": os.getpid(),
        "active": state.active,
        "earned": earned(life.registry.card(state.active)),
        "doing": doing(life),
        "engine": life.engine,
        "drift": None if (ratio := life.stream.ratio) is None else round(ratio, 3),
        "alarm": alarm(life),
        "confidence": last.get("confidence", [None])[0],
        "source": last.get("source", "connecting"),
        "cameras": {
            name: "; ".join(filter(None, (one["state"], one["reason"])))
            for name, one in last.get("cameras", {}).items()
        },
        "video_time": last.get("video_time"),
        "frames": ledger,
        "buffer": last.get("buffer", {}),
        "outputs": last.get("outputs", {}),
        "shadow": beside(life.shadow.last),
        "trouble": life.trouble or last.get("trouble"),
        "paused": paused(life.pause.left) if state.paused is not None else None,
        "pinned": state.pinned,
        "previous": state.previous,
        "good": list(state.good),
        "quarantined": dict(state.quarantined),
        "unsaved": life.registry.unsaved,
        "folder": str(life.registry.folder.resolve()),
        "caps": cgroup.here().told,
        "vocabulary": {
            "classes": len(words.classes), "strings": len(words.strings), "key": words.key,
        },
    }  # fmt: skip


def brief(life: Lifecycle) -> str:
    """One line for `systemctl status`."""
    frames, source = life.serving.ledger, life.stream.last.get("source", "connecting")
    dropped = sum(frames["dropped"].values())
    return (
        f"{life.registry.state.active} serves, source {source}; {frames['served']} frames served, "
        f"{dropped} dropped; {doing(life)}"
    )


def paused(left: float | None) -> str:
    """How long no round starts yet, in words."""
    return "until `acclimate resume`" if left is None else f"for {span(left)} more"


def span(seconds: float) -> str:
    """A length of time in words."""
    if seconds < 600:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.3g} h"


def doing(life: Lifecycle) -> str:
    """What is under way, in words."""
    # once: the daemon's thread goes on changing them
    now, swapping, change = life.rounds.now, life.swapping, life.rewording.now
    shadow = life.shadow.now
    if now is not None:
        return f"round {now.id}: step {now.step} of {now.settings.steps}"
    if shadow is not None:
        return f"{shadow} runs in the shadow of {life.registry.state.active}"
    if swapping is not None:
        return f"swapping to {swapping[0]} ({swapping[1]})"
    if change is not None:
        return f"getting {change.words.size} ready"
    if life.reload.loading:
        return "a fresh runtime loads the new configuration"
    return "probation" if life.probation is not None else "serving"


def alarm(life: Lifecycle) -> str | None:
    """The drift's alarm, in words."""
    if not life.stream.alarm:
        return None
    held = life.rounds.waiting
    return "on" if held is None else f"on; waits: {held}"


def beside(report: Status) -> str | None:
    """The newest shadow window, in words."""
    if not report:
        return None
    return (
        f"{report['id']} {report['verdict']}: {report['disagreement']:.1%} of the pixels of "
        f"{report['frames']} live frames differ from {report['beside']}"
    )


def earned(card: Status | None) -> str | None:
    """What an adapter's card says, in words."""
    if not card:
        return None
    return (
        f"{card['gain']:+.2f} [{card['low']:+.2f}, {card['high']:+.2f}] mIoU over {card['over']}, "
        "estimated without labels of the stream"
    )


def read_status(state: Path) -> Status:
    """Ask the running daemon; without one, tell what is on disk. Raises CorruptBundle."""
    if (told := ask(state)) is not None:
        return told
    registry, silent = Registry(state), living(state)
    kept = registry.state
    held = None if kept.paused is None else paused(Pause(registry).left)
    doing = "nothing" if silent is None else f"process {silent} starts, or hangs: no answer"
    return {
        "daemon": None, "doing": doing, "active": kept.active, "paused": held,
        "pinned": kept.pinned, "previous": kept.previous, "good": kept.good,
        "quarantined": kept.quarantined,
    }  # fmt: skip


def table(status: Status) -> str:
    """A status as two columns."""
    rows = {name.replace("_", " "): _words(value) for name, value in status.items()}
    width = max(map(len, rows))
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows.items())


def sentence(event: Status) -> str | None:
    """An event as one line for the terminal; None for what only the log needs."""
    story = None if event["event"] in LOG_ONLY else _SENTENCES.get(event["event"])
    return None if story is None else f"{event['t']:7.1f} s  {story(event)}"


def dated(event: Status) -> str:
    """An event of the log as one line with its date, whoever wrote it and when."""
    try:
        story = _SENTENCES[event["event"]](event)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):  # of another version
        rest = {key: value for key, value in event.items() if key not in ("event", "t", "time")}
        story = f"{event.get('event')}: {_few_words(rest)}"
    by = event.get("actor")
    return f"{clock(event.get('time'))}  {story}" + (f" (by {by})" if by else "")


def clock(seconds: Any) -> str:
    """Unix time as local date and time; a dash for what is none."""
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
    except (TypeError, ValueError, OverflowError, OSError):
        return f"{'-':<19}"


def _round_ended(event: Status) -> str:
    why = f": {'; '.join(event['reasons'])}" if event["reasons"] else ""
    word, won = event["verdict"], earned(event.get("card"))
    said = {"instead": "found better for nothing"}.get(word, word)
    worth = "" if won is None else f", {won}"
    return f"round {event['id']} {said} after {event['seconds']:.1f} s{worth}{why}"


def _few_words(value: Any) -> str:
    try:
        return _words(value)
    except RecursionError:
        return "nested too deep to be told"


def _words(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, dict):
        return ", ".join(f"{k} {_words(v)}" for k, v in value.items()) or "none"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


_SENTENCES: dict[str, Any] = {
    "started": lambda e: f"watch it at {e['http']}",
    "adaptation_off": lambda e: (
        "adaptation is off" + ("" if e["torch"] else ": torch is not installed")
    ),
    "serving": lambda e: (
        f"serving {e['adapter']} on {e['engine']} in {e['precision']}: {e['reason']}"
    ),
    "reference": lambda e: "the stream's own look is known: drift is measured from here",
    "round_started": lambda e: f"round {e['id']} from {e['parent']}: {e['reason']}",
    "round_ended": _round_ended,
    "round_held": lambda e: (
        f"round {e['id']} stands still: frames take {e['latency_ms']:.0f} ms, "
        f"{e['limit_ms']:g} are allowed"
    ),
    "round_goes_on": lambda e: f"round {e['id']} goes on: frames take {e['latency_ms']:.0f} ms",
    "round_cancelled": lambda e: f"round {e['id']} cancelled",
    "shadow_started": lambda e: f"{e['id']} runs in the shadow of {e['beside']}",
    "shadow_ended": lambda e: f"shadow: {beside(e)}",
    "swapped": lambda e: (
        f"{e['id']} serves instead of {e['since']} ({e['why']}), gap {e['gap_ms']:.1f} ms"
    ),
    "swap_refused": lambda e: f"the runtime refused {e['id']}: {e['reason']}",
    "probation_passed": lambda e: f"{e['id']} passed probation",
    "rolled_back": lambda e: f"rolling {e['id']} back to {e['to']}: {e['reason']}",
    "recalled": lambda e: f"{e['id']} fits again, drift from {e['instead_of']} {e['drift']:.1f}",
    "forced": lambda e: f"{e['id']} forced in past the gate",
    "tried": lambda e: f"{e['id']} is tried past the gate, on probation",
    "imported": lambda e: f"{e['id']} was imported; it does not serve",
    "purged": lambda e: e["message"],
    "set_aside": lambda e: f"{e['id']} does not start: {e['reason']}; {e['to']} does",
    "forgotten": lambda e: f"{', '.join(e['ids'])} removed from disk: there are many newer ones",
    "quarantined": lambda e: f"{e['id']} quarantined: {e['reason']}",
    "truth_rebuilt": lambda e: (
        f"what serves was found again by the adapters and the event log: {e['reason']}"
    ),
    "buffer_locked": lambda e: f"nothing is buffered or learned: {e['reason']}",
    "log_repaired": lambda e: f"lines of the event log were torn: {e['lost']}",
    "command_refused": lambda e: f"refused {_words(e['command'])}: {e['reason']}",
    "served": lambda e: f"{e['to']} serves instead of {e['from']}: {e['reason']}",
    "paused": lambda e: (
        "no round starts"
        + ("" if e["seconds"] is None else f" for {span(e['seconds'])}")
        + f": {e['reason']}"
    ),
    "resumed": lambda e: f"rounds may start again: {e['reason']}",
    "pinned": lambda e: f"{e['id']} is pinned, nothing replaces it: {e['reason']}",
    "unpinned": lambda e: f"{e['id']} is pinned no more: {e['reason']}",
    "control_off": lambda e: f"control by {e['what']} is off: {e['reason']}",
    "vocabulary_changed": lambda e: (
        f"{e['id']} looks for {e['classes']} classes ({e['strings']} strings) from frame "
        f"{e['frame']} on, gap {e['gap_ms']:.1f} ms"
    ),
    "vocabulary_refused": lambda e: f"other words refused: {e['reason']}",
    "vocabulary_kept": lambda e: (
        f"looking for {e['size']} set by hand, not for those of the configuration"
    ),
    "vocabulary_dropped": lambda e: (
        f"the words set by hand serve no more: {e['reason']}; looking for {e['size']}"
    ),
    "config_reloaded": lambda e: (
        "the configuration was read again: " + (", ".join(e["changed"]) or "nothing") + " changed"
    ),
    "config_refused": lambda e: (
        f"the new configuration is refused, the old one goes on: {'; '.join(e['problems'])}"
    ),
    "trouble": lambda e: f"adaptation waits, serving goes on: {e['message']}",
    "runtime_error": lambda e: f"runtime: {e['message']}",
    "runtime_died": lambda e: f"the runtime died (exit code {e['exit_code']}), starting it again",
    "stopped": lambda e: f"{e['reason']}; {ledger_line(e['ledger'])}",
}


def ledger_line(ledger: Status) -> str:
    """captured = served + dropped, as a sum."""
    drops = " + ".join(f"{n} {why}" for why, n in ledger["dropped"].items()) or "0 dropped"
    sign = "=" if ledger["balanced"] else "is not"
    return f"{ledger['captured']} captured {sign} {ledger['served']} served + {drops}"
