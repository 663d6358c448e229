"""Faults are asked for in a few words, and a mistake in them is one line."""

from __future__ import annotations

import pytest
from bundles import PAIR

from rep_edge.errors import InputError
from rep_edge.runtime.faults.delivery import DELIVERIES
from rep_edge.runtime.faults.fault import KINDS, Fault, parse_faults
from rep_edge.runtime.faults.samples import CHANGES


def test_faults_are_read() -> None:
    assert parse_faults("acoustic:nan@10-20, seismic:drift=-200@0-60.5", PAIR) == [
        Fault(stream="acoustic", kind="nan", value=0.1, start_s=10.0, end_s=20.0),
        Fault(stream="seismic", kind="drift", value=-200.0, start_s=0.0, end_s=60.5),
    ]
    assert parse_faults(None, PAIR) == []


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_can_be_asked_for_by_its_name_alone(kind: str) -> None:
    (fault,) = parse_faults(f"acoustic:{kind}@1-2", PAIR)
    assert (fault.kind, fault.value) == (kind, KINDS[kind].default)


def test_every_kind_does_something() -> None:
    assert [*CHANGES, *DELIVERIES] == list(KINDS)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("acoustic", r"must be NAME:KIND\[=VALUE\]@FROM-TO in seconds, such as acoustic:gain=0.1@10-20"),
        ("acoustic:nan@10", "must be NAME:KIND"),
        ("acoustic:nan@1-2,", "must be NAME:KIND"),
        ("acoustic:gain=x@1-2", "must be NAME:KIND"),
        ("radar:nan@1-2", "radar is no modality of this bundle; it has acoustic, seismic"),
        ("acoustic:rust@1-2", "rust is no kind of fault; known are gain, offset"),
        ("acoustic:stuck=3@1-2", "stuck takes no value; leave =3 out"),
        ("acoustic:burst=0.9@1-2", r"burst must be from 0 to 0.8 \(share\), not 0.9"),
        ("acoustic:late=-1@1-2", "late must be at least 0 s, not -1"),
        ("acoustic:nan@5-5", "ends before it begins"),
    ],
)
def test_a_mistake_is_named(text: str, words: str) -> None:
    with pytest.raises(InputError, match=f"--fault .*{words}"):
        parse_faults(text, PAIR)
