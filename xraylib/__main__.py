"""``python -m xraylib``: what the notebooks do not need to be open for."""

import argparse
import sys

from . import fetch, runs, sets
from .data import DataError
from .parameters import ParameterError
from .predict import replace
from .profiles import PROFILES
from .train import TrainingError


def report(_: argparse.Namespace) -> None:
    """Write runs/summary.md, a table over all complete runs beside the poster's numbers, and print it."""
    path = sets.home() / "runs" / "summary.md"
    path.parent.mkdir(exist_ok=True)
    replace(path, lambda part: part.write_text(runs.summary() + "\n"))
    print(path.read_text() + f"\nwritten to {path}")


def make_data(arguments: argparse.Namespace) -> None:
    """Make the built-in slices of a profile, so that the first notebook need not."""
    source = sets.open_source(arguments.profile)
    print(f"{len(source.slices)} + {len(source.test)} slices in {sets.home() / 'data' / 'built-in'}")


def fetch_data(arguments: argparse.Namespace) -> None:
    """Fetch the real slices and their labels from where their authors keep them."""
    fetch.fetch(arguments.folder)


def parser() -> argparse.ArgumentParser:
    main = argparse.ArgumentParser(prog="python -m xraylib", description=__doc__)
    commands = main.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser("report", help=report.__doc__)
    command.set_defaults(call=report)
    data = commands.add_parser("data", help="the data sets").add_subparsers(required=True, metavar="COMMAND")
    command = data.add_parser("make", help=make_data.__doc__)
    command.add_argument("--profile", choices=PROFILES, default="laptop")
    command.set_defaults(call=make_data)
    command = data.add_parser("fetch", help=fetch_data.__doc__)
    command.add_argument("folder", nargs="?", default=sets.home() / "data" / "real")
    command.set_defaults(call=fetch_data)
    return main


def main() -> None:
    arguments = parser().parse_args()
    try:
        arguments.call(arguments)
    except (DataError, ParameterError, runs.RunError, TrainingError, fetch.FetchError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
