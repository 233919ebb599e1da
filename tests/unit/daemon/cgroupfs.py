"""A folder that behaves like a cgroup v2 file system, as far as the daemon makes use of one."""

from __future__ import annotations

import errno
import os
from pathlib import Path

FILES = {
    "memory": {
        "memory.max": "max", "memory.swap.max": "max", "memory.oom.group": "0",
        "memory.events": "low 0\nhigh 0\nmax 0\noom 0\noom_kill 0\noom_group_kill 0",
    },
    "cpu": {"cpu.weight": "100", "cpu.max": "max 100000", "cpu.idle": "0"},
    "io": {"io.weight": "default 100"},
    "pids": {"pids.max": "max"},
}  # fmt: skip


class Cgroupfs:
    """`own` is what a process finds in /proc/self/cgroup. Files exist or do not: none is made by
    writing; a process is in one group; a group with processes has no controllers for others, and
    the other way round."""

    def __init__(self, place: Path, *controllers: str, inside: tuple[int, ...] = ()) -> None:
        self.mount, self.own = place / "cgroup", place / "self"
        self.unit = self.mount / "system.slice" / "acclimate.service"
        for folder in (self.mount, self.unit.parent, self.unit):
            folder.mkdir()
            self._fill(folder, list(controllers))
        (self.mount / "cgroup.type").unlink()
        (self.unit / "cgroup.procs").write_text("".join(f"{pid}\n" for pid in inside))
        self.own.write_text("0::/system.slice/acclimate.service\n")
        self.stubborn: set[str] = set()  # files that refuse

    def make(self, folder: Path) -> None:
        """mkdir."""
        if not folder.is_dir():
            folder.mkdir()
            self._fill(folder, self._words(folder.parent / "cgroup.subtree_control"))

    def put(self, path: Path, value: str) -> None:
        """write."""
        if not path.exists() or path.name in self.stubborn:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        if path.name == "cgroup.procs":
            self._move(path, value)
        elif path.name == "cgroup.subtree_control":
            self._enable(path, value.removeprefix("+"))
        elif path.name == "cpu.weight" and self.says(path.parent).get("cpu.idle") == "1":
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), str(path))
        else:
            path.write_text(value)

    def inside(self, folder: Path) -> list[int]:
        """The processes of a group."""
        return [int(word) for word in self._words(folder / "cgroup.procs")]

    def says(self, folder: Path) -> dict[str, str]:
        """Every file that does not say what it said when the group was made."""
        first = {name: text for files in FILES.values() for name, text in files.items()}
        now = {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}
        return {name: text for name, text in now.items() if name in first and text != first[name]}

    def _fill(self, folder: Path, controllers: list[str]) -> None:
        files = {"cgroup.procs": "", "cgroup.type": "domain", "cgroup.subtree_control": ""}
        files["cgroup.controllers"] = " ".join(controllers)
        for name in controllers:
            files |= FILES[name]
        for file, text in files.items():
            (folder / file).write_text(text)

    def _move(self, path: Path, pid: str) -> None:
        if self._words(path.parent / "cgroup.subtree_control"):
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), str(path))
        for other in self.mount.rglob("cgroup.procs"):
            left = [word for word in self._words(other) if word != pid]
            other.write_text("".join(f"{word}\n" for word in left))
        path.write_text(path.read_text() + f"{pid}\n")
        if int(pid) == os.getpid():
            self.own.write_text(f"0::/{path.parent.relative_to(self.mount)}\n")

    def _enable(self, path: Path, name: str) -> None:
        folder = path.parent
        if self.inside(folder):
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), str(path))
        if name not in self._words(folder / "cgroup.controllers"):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        now = [*self._words(path), name]
        path.write_text(" ".join(now))
        for child in folder.iterdir():
            if child.is_dir():
                (child / "cgroup.controllers").write_text(" ".join(now))
                for file, text in FILES[name].items():
                    (child / file).write_text(text)

    @staticmethod
    def _words(path: Path) -> list[str]:
        return path.read_text().split()
