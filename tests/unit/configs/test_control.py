"""Who may tell a daemon what to do: nobody over TCP without all that guards it."""

from __future__ import annotations

import pytest

from acclimate.configs.schema import Config, parse_config
from acclimate.errors import ConfigError

WHOLE = {"tcp_host": "::", "token_file": "t", "tls_cert": "c", "tls_key": "k"}


def test_by_default_there_is_a_socket_and_no_port() -> None:
    control = Config().control
    assert (control.socket, control.group, control.tcp_host) == (True, None, None)


def test_all_of_it_will_do() -> None:
    assert parse_config({"control": WHOLE}).control.token_file == "t"


@pytest.mark.parametrize("missing", ["token_file", "tls_cert", "tls_key"])
def test_what_is_missing_is_named(missing: str) -> None:
    with pytest.raises(ConfigError, match=rf"control\.{missing}: missing") as error:
        parse_config({"control": {k: v for k, v in WHOLE.items() if k != missing}})
    assert len(error.value.problems) == 1


def test_a_token_for_nothing_is_a_mistake() -> None:
    with pytest.raises(ConfigError, match=r"control\.token_file: has no use without tcp_host"):
        parse_config({"control": {"token_file": "t"}})


@pytest.mark.parametrize("wrong", [{"tcp_port": 70000}, {"tcp_port": -1}, {"tls_key": ""}])
def test_values_are_checked(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=f"control.{next(iter(wrong))}"):
        parse_config({"control": WHOLE | wrong})
