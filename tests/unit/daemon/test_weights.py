"""`acclimate weights`: pulled once, the same ever after."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from functools import partial
from pathlib import Path

import pytest

from acclimate.configs import published
from acclimate.configs.published import PUBLISHED, Published, locate
from acclimate.daemon import weights
from acclimate.daemon.cli import main
from acclimate.daemon.download import download
from acclimate.errors import CheckpointError
from tests.unit.daemon.test_download import Server, server

__all__ = ["server"]


def archive(text: str) -> bytes:
    """A zip, as torch's files are."""
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as file:
        file.writestr("archive/data.pkl", text * 1000)
    return memory.getvalue()


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def one(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Published:
    """The only published file, at the server."""
    monkeypatch.setenv("ACCLIMATE_WEIGHTS", str(tmp_path / "weights"))
    server.content = archive("weights ")
    server.address += "w.pth"
    entry = Published("a test", "nobody", "MIT", server.address)
    monkeypatch.setattr(weights, "download", partial(download, pause=0))
    for name in list(PUBLISHED):
        monkeypatch.delitem(published.PUBLISHED, name)
    monkeypatch.setitem(published.PUBLISHED, "one", entry)
    return entry


def test_pull_fetches_and_records(
    one: Published, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["weights", "pull", "one"]) == 0
    said = capsys.readouterr()
    assert "model: {weights: one}" in said.out
    assert server.address in said.err and "MIT" in said.err
    assert one.path.read_bytes() == server.content
    record = json.loads(one.record.read_text())
    assert record["sha256"] == digest(server.content)
    assert record["bytes"] == len(server.content)
    assert record["address"] == server.address
    assert locate("one") == (one.path, digest(server.content))


def test_pull_again_only_checks(one: Published, server: Server) -> None:
    assert main(["weights", "pull", "one"]) == 0
    assert main(["weights", "pull", "one"]) == 0
    assert len(server.asked) == 1


def test_offline_says_where_to_put_it(
    one: Published, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    server.codes = [404]
    assert main(["weights", "pull", "one"]) == 1
    said = capsys.readouterr().err
    assert "the server says 404" in said
    assert str(one.path) in said and server.address in said and "weights pull one" in said


def test_a_file_put_there_by_hand_is_recorded(
    one: Published, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    one.path.parent.mkdir()
    one.path.write_bytes(server.content)
    assert main(["weights", "pull", "one"]) == 0
    assert "recorded now" in capsys.readouterr().out
    assert server.asked == []
    one.path.write_bytes(b"other")
    with pytest.raises(CheckpointError, match="altered"):
        locate("one")


def test_an_altered_file_is_refused_ever_after(
    one: Published, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["weights", "pull", "one"]) == 0
    with one.path.open("r+b") as file:
        file.seek(50)
        file.write(b"\x00")
    for _ in range(2):
        assert main(["weights", "pull", "one"]) == 1
    said = capsys.readouterr().err
    assert digest(server.content) in said and str(one.record) in said
    with pytest.raises(CheckpointError, match="first download"):
        locate("one")


def test_another_file_at_the_address_is_refused(
    one: Published, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["weights", "pull", "one"]) == 0
    one.path.unlink()
    first, server.content = server.content, archive("others ")
    assert main(["weights", "pull", "one"]) == 1
    assert digest(first) in capsys.readouterr().err
    assert [path.name for path in one.path.parent.iterdir()] == [one.record.name]
    one.record.unlink()
    assert main(["weights", "pull", "one"]) == 0
    assert one.path.read_bytes() == server.content


def test_a_digest_the_publisher_states_is_checked_at_once(
    one: Published, server: Server, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    stated = Published("a test", "nobody", "MIT", one.address, digest(b"something else"))
    monkeypatch.setitem(published.PUBLISHED, "one", stated)
    assert main(["weights", "pull", "one"]) == 1
    assert f"its publisher says {stated.sha256}" in capsys.readouterr().err
    assert list(one.path.parent.iterdir()) == []


@pytest.mark.parametrize("content", [b"<html>please sign in</html>", archive("x ")[:-30]])
def test_what_is_no_torch_file_is_not_kept(
    one: Published, server: Server, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    server.content, server.lengths = content, False
    assert main(["weights", "pull", "one"]) == 1
    assert "did not give a torch file" in capsys.readouterr().err
    assert list(one.path.parent.iterdir()) == []


@pytest.mark.parametrize("text", ["", "[]", "{}", "{"])
def test_a_record_that_cannot_be_read_is_named(
    one: Published, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["weights", "pull", "one"]) == 0
    one.record.write_text(text)
    assert main(["weights", "pull", "one"]) == 1
    assert f"cannot read {one.record}" in capsys.readouterr().err


def test_an_unknown_name_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["weights", "pull", "catseg-xxl"])
    assert left.value.code == 2
    assert "catseg-vitb" in capsys.readouterr().err


def test_list_shows_what_is_here(one: Published, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["weights", "list"]) == 0
    before = capsys.readouterr().out
    assert (
        one.address in before
        and str(one.path.parent) in before
        and f"{'one':<13}here" not in before
    )
    assert main(["weights", "pull", "one"]) == 0
    capsys.readouterr()
    assert main(["weights", "list"]) == 0
    assert f"{'one':<13}here" in capsys.readouterr().out


def test_inspect_and_export_run_in_a_process_of_their_own(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    default = Path(weights.__file__).resolve().parents[1] / "model/default/weights.safetensors"
    assert main(["weights", "inspect", str(default), "--json"]) == 0
    report = json.loads(capfd.readouterr().out)
    assert (report["kind"], report["sha256"]) == ("v2", digest(default.read_bytes()))
    assert main(["weights", "export", str(default), "--to", str(tmp_path / "w.pth")]) == 1
    assert "copy both" in capfd.readouterr().err
    assert main(["weights", "inspect", str(tmp_path / "gone.pth")]) == 1
    assert "gone.pth" in capfd.readouterr().err


def test_without_torch_it_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(weights, "can_adapt", lambda: False)
    assert main(["weights", "inspect", "catseg-vitb"]) == 1
    assert "pip install 'acclimate[adapt]'" in capsys.readouterr().err
