"""Whether one side is better than another, by two judges that err in different places.

Labels of dressed scenes know nothing of the stream's noise and lamps; a duel on the stream's own
frames takes one class everywhere for steady. So one of them has to be sure, and the other may not
speak against it. Without dressed scenes the duel alone has to be sure.

On two dev streams under eight looks labels alone, with a duel that is not against it, accept 33 of
60 candidates that help; both ways together 42; of 66 that harm either takes one, of -0.6 in rain.
What labels say below 0.2 decided nothing but swaps that neither help nor harm.
"""

from __future__ import annotations

from acclimate.adapt.signals.bootstrap import Gain, mean_gain
from acclimate.configs.gate import GateConfig


def weigh(
    seen: Gain, told: Gain | None, settings: GateConfig, over: str, lenient: bool = False
) -> tuple[list[str], Gain]:
    """Why a side is not surely better than `over`, nothing if it is, and what it gains: `seen` in a
    duel, `told` by labels. `lenient` asks of each no more than not to be surely worse."""
    least = -settings.margin if lenient else settings.margin_learned
    by_stream = _short(seen, least, f"gain over {over}", lenient)
    if told is None:
        return by_stream, seen
    by_stream += _against("dressed_gain", told, settings.max_dressed_loss)
    least = -settings.margin_dressed if lenient else settings.margin_dressed
    by_labels = _short(told, least, f"gain over {over} on dressed scenes", lenient)
    by_labels += _against("duel", seen, settings.max_duel_loss)
    return ([], mean_gain(seen, told)) if by_labels and not by_stream else (by_labels, told)


def _short(gain: Gain, least: float, what: str, lenient: bool) -> list[str]:
    """It is not sure."""
    fine = (gain.high if lenient else gain.low) >= least
    needed = "must not be worse" if lenient else f"{least:g} needed"
    return [] if fine else [f"{what} {gain}, {needed}"]


def _against(judge: str, gain: Gain, most: float) -> list[str]:
    """It speaks against."""
    return [] if gain.mean >= -most else [f"{judge} {gain.mean:.2f} must be >= {-most:g}"]
