"""The table of published files."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlparse

import pytest

from acclimate.configs.published import PUBLISHED, folder, locate, sha256
from acclimate.errors import CheckpointError


def test_every_entry_is_whole_and_has_a_file_of_its_own() -> None:
    for one in PUBLISHED.values():
        address = urlparse(one.address)
        assert (address.scheme, address.query) == ("https", "")
        assert one.path.suffix in (".pth", ".pt")
        assert all((one.what, one.publisher, one.licence))
    assert len({one.path for one in PUBLISHED.values()}) == len(PUBLISHED)


def test_only_digests_that_the_publisher_states_are_stated() -> None:
    """OpenAI's addresses carry them, and openai/CLIP's own loader checks them."""
    for one in PUBLISHED.values():
        stated = re.search(r"/([0-9a-f]{64})/", one.address)
        assert one.sha256 == (stated[1] if stated else None)
        assert (one.sha256 is not None) == (one.publisher == "OpenAI")


def test_the_folder_is_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ACCLIMATE_WEIGHTS", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert folder() == tmp_path / ".cache/acclimate/weights"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert folder() == tmp_path / "xdg/acclimate/weights"
    monkeypatch.setenv("ACCLIMATE_WEIGHTS", str(tmp_path / "mine"))
    assert folder() == tmp_path / "mine"


def test_a_user_without_a_home_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ACCLIMATE_WEIGHTS", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)

    def nowhere() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", nowhere)
    with pytest.raises(CheckpointError, match="set ACCLIMATE_WEIGHTS"):
        folder()


def test_a_name_that_is_not_here_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCLIMATE_WEIGHTS", str(tmp_path))
    for name, one in PUBLISHED.items():
        with pytest.raises(CheckpointError) as caught:
            locate(name)
        said = str(caught.value)
        assert f"weights pull {name}" in said and one.address in said and str(one.path) in said


def test_a_stated_digest_is_checked_whenever_the_file_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCLIMATE_WEIGHTS", str(tmp_path))
    PUBLISHED["clip-vitb"].path.write_bytes(b"not CLIP")
    with pytest.raises(CheckpointError, match="its publisher says 5806e77c"):
        locate("clip-vitb")


def test_the_digest_is_sha256s(tmp_path: Path) -> None:
    """The empty and the three-letter message of FIPS 180-4's examples."""
    (tmp_path / "empty").touch()
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256(tmp_path / "empty").startswith("e3b0c44298fc1c149afbf4c8996fb924")
    assert sha256(tmp_path / "abc").startswith("ba7816bf8f01cfea414140de5dae2223")
