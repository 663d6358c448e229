"""Secrets are blanked wherever they could be shown; what is no secret stays readable."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rep_edge.runtime.service.secrets import filled_in, required, without_secrets


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("mqtt://ann:pw@broker:1883/t", "mqtt://***@broker:1883/t"),
        ("mqtt://ann@broker", "mqtt://***@broker"),
        ("rtsp://u:p@a@host/x and http://b:c@d", "rtsp://***@host/x and http://***@d"),
        ("'mqtt://u:pa/ss@host/t'", "'mqtt://***@host/t'"),
        ("https://h/p?token=abc&x=1", "https://h/p?token=***&x=1"),
        ("https://h/p?x=1&API_KEY=abc#f", "https://h/p?x=1&API_KEY=***#f"),
        ("Authorization: Bearer abc.def", "Authorization: Bearer ***"),
        ("password: hunter2", "password: ***"),
        ('{"secret": "hunter2"}', '{"secret": "***"}'),
        ("{password: x, port: 1}", "{password: ***, port: 1}"),
        ("password: 'two words', port: 1", "password: '***', port: 1"),
        ("password: two words", "password: ***"),
        ("password: |", "password: ***"),
        ("password_env: NAME", "password_env: NAME"),
        ("web.token_env: is not set", "web.token_env: is not set"),
        ("shake:0.0.0.0:8888?channel=EHZ", "shake:0.0.0.0:8888?channel=EHZ"),
        ("file:///data/a.wav", "file:///data/a.wav"),
    ],
)
def test_only_secrets_are_blanked(text: str, shown: str) -> None:
    assert without_secrets(text) == shown


@given(
    st.text(st.characters(blacklist_characters=" \t\n\r\"'<>", blacklist_categories=["Z", "C"]), min_size=4).filter(
        lambda text: text not in "mqtt://***@broker/topic"
    )
)
def test_no_password_in_an_address_is_shown(password: str) -> None:
    assert password not in without_secrets(f"mqtt://ann:{password}@broker/topic")


def test_a_variable_without_a_value_is_named() -> None:
    assert filled_in("a${X}b${Y_2}", {"X": "1", "Y_2": "$2"}) == "a1b$2"
    assert filled_in("$X {Y}", {}) == "$X {Y}"
    with pytest.raises(ValueError, match="variable X is not set"):
        filled_in("${Y}${X}", {"Y": "secret"})
    with pytest.raises(ValueError, match="variable X is not set"):
        required("X", {"X": ""})
