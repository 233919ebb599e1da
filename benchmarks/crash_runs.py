"""Lives that end at every change of every file, and what was wrong afterwards."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from acclimate.configs.schema import BufferConfig
from acclimate.errors import SourceError
from acclimate.runtime.buffer import FrameBuffer
from benchmarks.crash_disk import Death, Disk, Fault, PowerCut, Refusal, copied
from benchmarks.crash_story import SCRIPT, Life, Stubborn, Told, few_kept, first_state
from benchmarks.crash_truth import violations

LUCK = (0.0, 0.5, 1.0)
FRAMES, OFFERS = 4, 8


@dataclass
class Count:
    """Runs of one kind; `kill_points` are the places at which a life ended."""

    runs: int = 0
    kill_points: int = 0
    found: list[str] = field(default_factory=list)

    def add(self, where: str, found: list[str]) -> None:
        """One run."""
        self.runs += 1
        self.found += [f"{where}: {one}" for one in found]


def lived(
    state: Path, actions: tuple[str, ...], seed: int, fault: Fault | None
) -> tuple[Disk, Told]:
    """A life on a disk with this fault, to its end."""
    told = Told()
    with Disk(state, fault) as disk, contextlib.suppress(PowerCut):
        Life(state, seed, told).play(actions)
    return disk, told


def changes(work: Path, actions: tuple[str, ...] = SCRIPT, seed: int = 0) -> int:
    """How many there are in a life that nothing ends."""
    with few_kept():
        state = first_state(work / "state")
        disk, _ = lived(state, actions, seed, None)
    shutil.rmtree(state)
    return len(disk.kinds)


def deaths(total: int, step: int = 1, offset: int = 0) -> Iterator[Death]:
    """Before, in the middle of and after every `step`th change."""
    for at in range(1 + offset % step, total + 1, step):
        yield Death(at)
        yield Death(at, torn=True)
        yield Death(at, after=True)


def killed(
    work: Path, actions: tuple[str, ...] = SCRIPT, seed: int = 0, step: int = 1, power: bool = False
) -> Count:
    """A process that is killed, or a power cut, at every `step`th change of the life."""
    count, total = Count(), changes(work, actions, seed)
    with few_kept():
        template = first_state(work / "template")
        for death in deaths(total, step, seed):
            state = copied(template, work / "state")
            disk, told = lived(state, actions, seed, death)
            count.kill_points += disk.dead
            for luck in LUCK if power else LUCK[:1]:
                left = state
                if power:
                    chance = random.Random(f"{seed} {death} {luck}")
                    left = disk.remains(work / "left", chance, luck)
                count.add(f"seed {seed}, {death}, luck {luck}", violations(left, told))
                shutil.rmtree(left)
            shutil.rmtree(state, ignore_errors=True)
    shutil.rmtree(template)
    return count


def killed_for_real(work: Path, lives: int, seed: int) -> Count:
    """A process that plays on one folder, killed `lives` times at random moments."""
    count, told, chance = Count(), Told(), random.Random(seed)
    with few_kept():
        state = first_state(work / "state")
        for number in range(lives):
            told = _one_life(state, seed + number, told, chance.uniform(0.0, 0.4))
            left = copied(state, work / "left")
            count.kill_points += 1
            count.add(f"life {number} of {seed}", violations(left, told))
            shutil.rmtree(left)
    return count


def _one_life(state: Path, seed: int, told: Told, seconds: float) -> Told:
    """Let it play for so long after its first words; what it had promised by then."""
    command = [sys.executable, "-m", "benchmarks.crash_story", str(state), str(seed)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(vars(told)) + "\n")
        process.stdin.flush()
        first = process.stdout.readline()
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
        lines = [first, *process.stdout.read().splitlines()]
    assert process.returncode == -signal.SIGKILL, "it plays until it is killed"
    return Told(**json.loads(_last_whole(lines)))


def _last_whole(lines: list[str]) -> str:
    """The last line that is not torn."""
    return next(line for line in reversed(lines) if line.rstrip().endswith("}"))


# ---- the buffer


def filled(folder: Path, offers: int, told: list[set[str]]) -> None:
    """Offers to a buffer of `FRAMES`; told: what must be there, and what may be there besides."""
    buffer = FrameBuffer(folder, BufferConfig(max_entries=FRAMES))
    for number in range(offers):
        before = {entry.path.name for entry in buffer.entries}
        told[:] = [before, before]
        frame = np.random.default_rng(number).integers(0, 255, (4, 6, 3), dtype=np.uint8)
        place = np.array([np.cos(number), np.sin(number)], np.float32)
        told[1] = before | {"new"}
        buffer.offer(frame, np.array([0.5, 0.5], np.float32), place)
        after = {entry.path.name for entry in buffer.entries}
        told[:] = [after, before | after]


def wrong_with_frames(folder: Path, told: list[set[str]]) -> list[str]:
    """What is wrong with a buffer that a crash left."""
    kept, allowed = told or [set(), {"new"}]
    buffer = FrameBuffer(folder, BufferConfig(max_entries=FRAMES))
    there = {entry.path.name for entry in buffer.entries}
    found = [f"{buffer.removed} torn frames"] if buffer.removed else []
    at_work = int("new" in allowed)  # one is being stored and may push out another
    if len(kept - there) > at_work or len(there - allowed) > at_work:
        found.append(f"{sorted(there)} is left of {sorted(kept)}")
    for entry in buffer.entries:
        try:
            buffer.load(entry)
        except SourceError as error:
            found.append(str(error))
    filled(folder, 1, [])
    left = len(list(folder.iterdir()))
    return found + ([f"{left} files in a buffer of {FRAMES}"] if left > FRAMES else [])


def killed_buffer(work: Path, step: int = 1, power: bool = False) -> Count:
    """A process that dies, or a power cut, at every `step`th change of a buffer's files."""
    count = Count()
    with few_kept():
        for death in deaths(_changes_of_buffer(work), step):
            (state := work / "state").mkdir()
            told: list[set[str]] = []
            with Disk(state, death) as disk, contextlib.suppress(PowerCut):
                filled(state / "buffer", OFFERS, told)
            count.kill_points += disk.dead
            for luck in LUCK if power else LUCK[:1]:
                left = state
                if power:
                    chance = random.Random(f"{death} {luck}")
                    left = disk.remains(work / "left", chance, luck)
                found = wrong_with_frames(left / "buffer", told)
                count.add(f"buffer, {death}, luck {luck}", found)
                shutil.rmtree(left)
            shutil.rmtree(state, ignore_errors=True)
    return count


def _changes_of_buffer(work: Path) -> int:
    (state := work / "state").mkdir()
    with Disk(state) as disk:
        filled(state / "buffer", OFFERS, [])
    shutil.rmtree(state)
    return len(disk.kinds)


# ---- disks that refuse


def refused(work: Path, number: int, step: int = 1, count_of: int = 1, seed: int = 0) -> Count:
    """The `step`th changes are answered with the error `number`, `count_of` in a row: the process
    goes on, as the daemon does, and dies with the refusals over but nothing tried again."""
    count, total = Count(), changes(work, seed=seed)
    with few_kept():
        template = first_state(work / "template")
        for at in range(1 + seed % step, total + 1, step):
            state = copied(template, work / "state")
            told = Told()
            with Disk(state, Refusal(at, number, count_of)) as disk:
                Stubborn(state, seed, told).play(SCRIPT)
            count.kill_points += disk.refused > 0
            where = f"seed {seed}, {os.strerror(number)} from change {at} on, {count_of} times"
            count.add(where, violations(state, told))
            shutil.rmtree(state)
    shutil.rmtree(template)
    return count
