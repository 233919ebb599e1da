"""Every error acclimate raises on purpose, drawn once.

AcclimateError
├─ ConfigError(problems)                       all problems at once; exit 78, no restart
│  └─ InUse                                    a folder that another one holds for now; exit 1
├─ SourceError ── RefusedError                 a camera, film or folder that cannot be read
├─ CheckpointError                             weights that do not fit the network
├─ DownloadError                               published weights that did not come
├─ BundleError ── IncompatibleBundle, CorruptBundle, UntrustedBundle
├─ EngineError ── EngineLoadError, InferenceError(frame_id)
├─ AdaptError  ── NotEnoughData, OutOfMemory, Diverged
├─ ExportError ── ParityError(max_abs, tolerance)
├─ Stopped                                     told to stop before anything was served
└─ SwapRefused(reason)
"""

from __future__ import annotations

from collections.abc import Sequence


class AcclimateError(Exception):
    """Base of all; its text names the thing and the remedy."""


class ConfigError(AcclimateError):
    """The configuration has problems; all of them are in `problems`."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


class InUse(ConfigError):
    """Somebody else works on the state folder: it may be free when asked again."""


class SourceError(AcclimateError):
    """A frame source cannot be opened or read."""


class RefusedError(SourceError):
    """A camera answered, and it said no: asking again soon may lock the account."""


class CheckpointError(AcclimateError):
    """A weights file is unreadable or does not fit the network."""


class DownloadError(AcclimateError):
    """A published file did not come; the text says why and where to put it by hand."""


class BundleError(AcclimateError):
    """A bundle cannot be used."""


class IncompatibleBundle(BundleError):
    """A sound bundle made for another base, vocabulary or engine."""


class CorruptBundle(BundleError):
    """A bundle with missing, altered or non-finite content."""


class UntrustedBundle(BundleError):
    """A bundle, or an engine's record, without a signature that counts here."""


class EngineError(AcclimateError):
    """The inference engine failed."""


class EngineLoadError(EngineError):
    """An engine folder is missing, altered or unreadable."""


class InferenceError(EngineError):
    """One frame could not be inferred."""

    def __init__(self, frame_id: int, cause: str) -> None:
        self.frame_id = frame_id
        super().__init__(f"frame {frame_id}: {cause}")


class AdaptError(AcclimateError):
    """An adaptation round ended without a candidate."""


class NotEnoughData(AdaptError):
    """The buffer holds too few frames for a round."""


class OutOfMemory(AdaptError):
    """A round passed its memory cap."""


class Diverged(AdaptError):
    """Training left the finite numbers."""


class ExportError(AcclimateError):
    """A model could not be exported."""


class ParityError(ExportError):
    """The exported graph, or an engine built from it, does not reproduce the network."""

    def __init__(
        self, max_abs: float, tolerance: float, what: str = "exported graph"
    ) -> None:
        self.max_abs, self.tolerance = max_abs, tolerance
        super().__init__(f"{what} differs by {max_abs:.3g}, allowed {tolerance:.3g}")


class Stopped(AcclimateError):
    """Somebody asked the daemon to end while it was still preparing; no failure."""


class SwapRefused(AcclimateError):
    """The runtime refused a candidate; the old bundle goes on serving."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)
