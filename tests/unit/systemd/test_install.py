"""The install script in a clean root: what it leaves, and what is left when it is removed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.systemd.test_units import FOLDER, needs

SCRIPT = FOLDER / "install.sh"
PLACES = {
    "acclimate.service": "usr/local/lib/systemd/system/acclimate.service",
    "acclimate.sysusers": "usr/local/lib/sysusers.d/acclimate.conf",
    "acclimate.tmpfiles": "usr/local/lib/tmpfiles.d/acclimate.conf",
}
Install = Callable[..., subprocess.CompletedProcess[str]]
pytestmark = [
    needs("systemd-sysusers"),
    needs("systemd-tmpfiles"),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root may make users and give folders away"),
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Nothing."""
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


@pytest.fixture
def install(root: Path) -> Install:
    """The script on that root."""

    def run(*words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [str(SCRIPT), *words], env={**os.environ, "DESTDIR": str(root)}, capture_output=True,
            text=True, check=False,
        )  # fmt: skip
        assert done.returncode == code, done.stdout + done.stderr
        return done

    return run


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package with the command's name that says where it runs."""
    path = tmp_path_factory.mktemp("wheel") / "acclimate-9.9-py3-none-any.whl"
    info = "acclimate-9.9.dist-info"
    files = {
        "acclimate.py": "import sys\ndef main():\n    print(sys.prefix)\n",
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: acclimate\nVersion: 9.9\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": "[console_scripts]\nacclimate = acclimate:main\n",
    }
    record = "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(path, "w") as one:
        for name, text in {**files, f"{info}/RECORD": record}.items():
            one.writestr(name, text)
    return path


def left(root: Path) -> set[str]:
    """Every file of acclimate's."""
    found = (path for path in root.rglob("*") if path.is_file() or path.is_symlink())
    return {str(path.relative_to(root)) for path in found if "acclimate" in str(path)}


def owner(root: Path) -> tuple[int, int]:
    """The daemon's user and group there."""
    users = [line.split(":") for line in (root / "etc" / "passwd").read_text().splitlines()]
    return next((int(user[2]), int(user[3])) for user in users if user[0] == "acclimate")


@needs("shellcheck")
def test_the_scripts_are_sound() -> None:
    scripts = [SCRIPT, FOLDER.parent / ".ci" / "run"]
    done = subprocess.run(["shellcheck", *scripts], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_what_it_leaves(root: Path, install: Install) -> None:
    install("--no-packages")
    for name, place in PLACES.items():
        assert (root / place).read_bytes() == (FOLDER / name).read_bytes()
        assert f"/{place}" in (FOLDER / name).read_text() or name.endswith("service")
    user, group = owner(root)
    state, folder = root / "var/lib/acclimate", root / "etc/acclimate"
    config = folder / "config.yaml"
    rights = [(p.stat().st_uid, p.stat().st_gid, oct(p.stat().st_mode)[-3:])
              for p in (state, folder, config)]  # fmt: skip
    assert rights == [(user, group, "750"), (0, group, "750"), (0, group, "640")]
    assert config.read_bytes() == (FOLDER.parent / "configs" / "camera.yaml").read_bytes()
    assert left(root) == {*PLACES.values(), "etc/acclimate/config.yaml"}


def test_twice_is_as_good_as_once_and_keeps_what_is_yours(root: Path, install: Install) -> None:
    install("--no-packages")
    config, before = root / "etc/acclimate/config.yaml", owner(root)
    config.write_text("source: {url: '0'}\n")
    kept = root / "var/lib/acclimate/state.json"
    kept.write_text("{}")
    (root / PLACES["acclimate.service"]).write_text("of an older version")
    install("--no-packages")
    assert config.read_text() == "source: {url: '0'}\n"
    assert kept.exists()
    assert owner(root) == before
    assert "Type=notify" in (root / PLACES["acclimate.service"]).read_text()


def test_a_configuration_of_yours(root: Path, install: Install, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("adapt: {steps: 9}\n")
    install("--no-packages", "--config", str(tmp_path / "mine.yaml"))
    assert (root / "etc/acclimate/config.yaml").read_text() == "adapt: {steps: 9}\n"


def test_removal_leaves_state_and_configuration(root: Path, install: Install) -> None:
    install("--no-packages")
    (root / "var/lib/acclimate/state.json").write_text("{}")
    wanted = root / "etc/systemd/system/multi-user.target.wants/acclimate.service"
    wanted.parent.mkdir(parents=True)
    wanted.symlink_to("/usr/local/lib/systemd/system/acclimate.service")
    before = owner(root)
    for _ in range(2):
        said = install("--remove").stdout
        assert "stay" in said
        assert left(root) == {"etc/acclimate/config.yaml", "var/lib/acclimate/state.json"}
    assert owner(root) == before, "somebody must own what stays"


@needs("userdel")
def test_a_purge_leaves_nothing(root: Path, install: Install) -> None:
    install("--no-packages")
    (root / "var/lib/acclimate/buffer").mkdir()
    (root / "var/lib/acclimate/buffer/frame.png").write_text("a face")
    for _ in range(2):
        install("--remove", "--purge")
        assert left(root) == set()
        assert "acclimate:" not in (root / "etc/passwd").read_text()


def test_a_package_runs_from_where_it_will_lie(root: Path, install: Install, wheel: Path) -> None:
    words = ["--package", str(wheel), "--extras", "", "--no-deps", "--python", sys.executable]
    install(*words)
    command = root / "opt/acclimate/bin/acclimate"
    assert command.read_text().startswith("#!/opt/acclimate/bin/python")
    name = root / "usr/local/bin/acclimate"
    assert str(name.readlink()) == "/opt/acclimate/bin/acclimate", "for people who type it"
    ran = subprocess.run(
        [root / "opt/acclimate/bin/python", command], capture_output=True, text=True, check=True,
        env={},
    )  # fmt: skip
    assert ran.stdout.strip() == str(root / "opt/acclimate")
    assert (root / "opt/acclimate/README.md").is_file()
    assert (root / "opt/acclimate/docs/operating.md").is_file()
    for path in (root / "opt/acclimate/bin").iterdir():
        if path.is_file() and not path.is_symlink():
            assert str(root).encode() not in path.read_bytes(), path
    shutil.copy(wheel, wheel.with_name("torn-1.0-py3-none-any.whl"))
    torn = [*words[:1], str(wheel.with_name("torn-1.0-py3-none-any.whl")), *words[2:]]
    install(*torn, code=1)
    assert command.is_file(), "an upgrade that fails leaves the old version"
    install("--remove")
    assert not (root / "opt/acclimate").exists()
    assert not name.is_symlink()
    assert not (root / "opt/acclimate.new").exists()


def test_another_command_of_that_name_stays(root: Path, install: Install, wheel: Path) -> None:
    name = root / "usr/local/bin/acclimate"
    name.parent.mkdir(parents=True)
    name.write_text("of pip")
    install("--package", str(wheel), "--extras", "", "--no-deps", "--python", sys.executable)
    install("--remove")
    assert name.read_text() == "of pip"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--fast"], 2, "no option --fast"),
        (["--purge"], 2, "--remove"),
        (["--config"], 2, "needs a value"),
        (["--config", "/nowhere.yaml", "--no-packages"], 1, "no file /nowhere.yaml"),
        (["--package", "/nowhere"], 1, "no /nowhere"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_usage_is_named_and_touches_nothing(
    root: Path, install: Install, words: list[str], code: int, said: str
) -> None:
    assert said in install(*words, code=code).stderr
    assert list(root.iterdir()) == []


def test_help(root: Path, install: Install) -> None:
    said = install("--help").stdout
    for option in ("--package", "--extras", "--config", "--no-packages", "--remove", "--purge"):
        assert option in said
    assert list(root.iterdir()) == []
