"""Messages of other libraries inside ours."""

import pytest

from xraylib.errors import (
    DataError,
    ParameterError,
    RunError,
    WeightsError,
    XraylibError,
    one_line_message,
    printable,
)


@pytest.mark.parametrize(("error", "line"), [
    (ValueError("two\n  lines"), "two lines"), (KeyError(), "KeyError"),
    (OSError("a \x1b[31m\x07 bell"), "a \\x1b[31m\\x07 bell"),
    (OSError("Ä µm"), "Ä µm"), (ValueError("x" * 300), "x" * 200 + " ...")])
def test_a_message_becomes_one_printable_line(error, line):
    assert one_line_message(error) == line and line.isprintable()


@pytest.mark.parametrize(("text", "line"), [
    ("Ä µm ±", "Ä µm ±"), ("x\rerror: all is well\x1b[31m\n", r"x\rerror: all is well\x1b[31m\n"),
    ("s\udcff\u202e", r"s\udcff\u202e"), ("x" * 701, "x" * 500 + " ... " + "x" * 200)])
def test_a_message_is_one_printable_line_of_bounded_length(text, line):
    assert printable(text) == str(DataError(text)) == line and line.isprintable()


@pytest.mark.parametrize("kind", [DataError, ParameterError, RunError, WeightsError])
def test_every_error_of_a_reader_has_one_base(kind):
    assert issubclass(kind, XraylibError)
    assert issubclass(kind, ValueError) == (kind in (DataError, ParameterError))
