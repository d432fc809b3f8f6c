"""Argument parsing that the commands of the core share with those of its plugins."""

import argparse
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, NoReturn

from .data import Voxel
from .errors import ParameterError, printable


def non_negative(text: str) -> int:
    """Parse a whole number, 0 or more."""
    if not re.fullmatch("[0-9]{1,9}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number, 0 or more")
    return int(text)


def voxel_size(text: str) -> Voxel:
    """Parse the size of a voxel in nm: one number, or three, along z, y and x."""
    with suppress(ValueError):
        sides = [float(part) for part in text.split(",")]
        z, y, x = sides * 3 if len(sides) == 1 else sides
        if all(0 < side < float("inf") for side in (z, y, x)):
            return z, y, x
    raise argparse.ArgumentTypeError(f"{text!r} is neither a size such as 18.4 nor Z,Y,X, in nm")


def parameter_values(items: Iterable[str], example: str) -> dict[str, str]:
    """Split NAME=VALUE items; raise `ParameterError` if a value is missing or a name repeated."""
    values: dict[str, str] = {}
    for item in items:
        name, equals, text = item.partition("=")
        if not equals:
            raise ParameterError(f"-p {item} has no value. Write {example}.")
        if name in values:
            raise ParameterError(f"-p {name} is given twice. Give it once: {example}.")
        values[name] = text
    return values


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one printable line."""

    def error(self, message: str) -> NoReturn:
        """End the program with a message."""
        super().error(printable(message))


def add_command(commands: Any, call: Callable[[argparse.Namespace], None], name: str,
                **options: Any) -> argparse.ArgumentParser:
    """Add a command whose help is the docstring of the function that it calls."""
    parser = commands.add_parser(name, help=call.__doc__, description=call.__doc__, **options)
    parser.set_defaults(call=call)
    return parser
