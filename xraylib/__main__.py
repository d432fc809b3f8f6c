"""Command-line interface: ``python -m xraylib``, or ``xraylib`` for short."""

import argparse
import errno
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import convert, datasets, download, params, published, sweep, tables, volumes
from .errors import ParameterError, RunError, XraylibError, one_line_message
from .experiments import EXPERIMENTS
from .files import atomic_file, home, load_plugins

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
SHORT_WRITE = re.compile(r"\d+ requested and \d+ written")  # numpy's message when a disk is full
INTERRUPTED = "stopped. Give the same command again to continue: what is complete is kept."


def report(_: argparse.Namespace) -> None:
    """Print all complete runs beside the poster's numbers, and write runs/summary.md."""
    path, runs = home() / "runs" / "summary.md", tables.complete_runs()
    if not runs:
        raise RunError(f"{path.parent} holds no complete run. Run a notebook to its end, "
                       "or `make run`.")
    summary = tables.summary(runs)
    with atomic_file(path, "w", encoding="utf-8") as file:
        file.write(summary + "\n")
    print(f"{summary}\n\nWritten to {path}.")


def networks(_: argparse.Namespace) -> None:
    """List the trained networks that come with the library, with what each is good for."""
    for name, network in published.named_networks().items():
        print(f"{name:16} {network.good_for}")


def make_data(arguments: argparse.Namespace) -> None:
    """Generate the built-in slices of a profile."""
    dataset = datasets.open_dataset(arguments.profile)
    print(f"{len(dataset.slices)} slices and {len(dataset.test)} test slices are in "
          f"{home() / 'data' / 'built-in'}.")


def fetch_data(arguments: argparse.Namespace) -> None:
    """Download the real slices and their labels from where their authors keep them."""
    download.download_real_data(arguments.folder)


def convert_data(arguments: argparse.Namespace) -> None:
    """Copy a labelled data set of another type into one that the library reads."""
    print(convert.convert_dataset(arguments.source, arguments.target))


def sweep_runs(arguments: argparse.Namespace) -> None:
    """Run an experiment for every combination of parameter values; complete runs are kept."""
    axes: dict[str, str] = {}
    for item in arguments.parameters:
        name, equals, text = item.partition("=")
        if not equals:
            raise ParameterError(f"-p {item} has no value. Write -p NAME=VALUE, NAME=A,B,C "
                                 "or NAME=0:5.")
        if name in axes:
            raise ParameterError(f"-p {name} is given twice. List all its values in one: "
                                 f"-p {name}=A,B,C.")
        axes[name] = text
    fixed = {name: axes.pop(name, "") for name in ("profile", "data_dir")}
    fixed = params.check_parameters(**fixed)
    values = {name: sweep.parse_values(text) for name, text in axes.items()}
    configs = sweep.parameter_grid(arguments.experiment, values, **fixed)
    runs = sweep.run_sweep(configs, datasets.open_dataset(**fixed), arguments.use_published,
                           arguments.workers, arguments.scheduler)
    print(tables.summary(runs))


def predict(arguments: argparse.Namespace) -> None:
    """Segment a volume of any size: a folder of TIFFs, or one TIFF with many pages."""
    weights = published.network_file(arguments.network)
    paths = volumes.predict_volume(weights, arguments.source, arguments.target, arguments.preview,
                                   arguments.tile, arguments.workers, arguments.scheduler)
    print(f"{len(paths)} segmented slices are in {arguments.target}.")


def non_negative(text: str) -> int:
    """Parse a whole number, 0 or more."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number, 0 or more")
    return int(text)


def add_command(commands: Any, call: Callable[[argparse.Namespace], None], name: str,
                **options: Any) -> argparse.ArgumentParser:
    """Add a command whose help is the docstring of the function that it calls."""
    parser = commands.add_parser(name, help=call.__doc__, description=call.__doc__, **options)
    parser.set_defaults(call=call)
    return parser


def make_parser() -> argparse.ArgumentParser:
    """Build the parser of the command line."""
    load_plugins()
    workers = argparse.ArgumentParser(add_help=False)
    workers.add_argument("--workers", type=non_negative, default=0,
                         help="number of local processes (default: none, run in this one)")
    workers.add_argument("--scheduler", default="", help="address of a Dask cluster, tcp://...")

    parser = argparse.ArgumentParser(prog="python -m xraylib", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    add_command(commands, report, "report")
    add_command(commands, networks, "networks")
    command = add_command(commands, sweep_runs, "sweep", parents=[workers])
    command.add_argument("experiment", choices=sorted(EXPERIMENTS))
    command.add_argument("-p", dest="parameters", action="append", default=[],
                         metavar="NAME=VALUES", help="5,10,15 or 0:5 (0 to 4); repeatable")
    command.add_argument("--use-published", action="store_true",
                         help="take published runs instead of training them again")
    command = add_command(commands, predict, "predict", parents=[workers])
    command.add_argument("network", metavar="NETWORK",
                         help="a name (see the command networks), a run folder or a weights file")
    command.add_argument("source", type=Path, metavar="IN", help="folder of TIFFs, or one TIFF")
    command.add_argument("target", type=Path, metavar="OUT", help="folder for the segmentation")
    command.add_argument("--preview", type=non_negative, default=0, metavar="N",
                         help="also write a colour PNG of every N-th slice")
    command.add_argument("--tile", type=non_negative, default=0, metavar="PX",
                         help="side of the tiles (default: as memory allows)")
    data = commands.add_parser("data", help="commands for data sets")
    commands = data.add_subparsers(required=True, metavar="COMMAND")
    command = add_command(commands, make_data, "make")
    command.add_argument("--profile", choices=sorted(datasets.SIZES), default="laptop")
    command = add_command(commands, fetch_data, "fetch")
    command.add_argument("folder", nargs="?", type=Path, default=home() / "data" / "real")
    command = add_command(commands, convert_data, "convert")
    command.add_argument("source", type=Path, metavar="IN", help="folder with data/ and labels/")
    command.add_argument("target", type=Path, metavar="OUT", help="new folder for the copy")
    return parser


def system_message(error: OSError) -> str:
    """Say in one line what the system refused, where, and what to do."""
    if SHORT_WRITE.fullmatch(str(error)):
        error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    where = f"{error.filename}: " if error.filename is not None else ""
    if error.errno in DISK_FULL:
        remedy = "Make room and give the same command again: what is complete is kept."
    elif isinstance(error, FileNotFoundError):
        remedy = "Check the path."
    else:
        remedy = ("Choose another folder, or change this one. XRAYLIB_HOME sets where data/ and "
                  f"runs/ are ({home().absolute()}).")
    return f"{where}{error.strerror or one_line_message(error)}. {remedy}"


def main() -> None:
    """Run the command. Bad input, a refusal by the system and Ctrl-C end in one-line errors."""
    try:
        arguments = make_parser().parse_args()
        arguments.call(arguments)
        sys.stdout.flush()
        return
    except XraylibError as error:
        message = str(error)
    except BrokenPipeError:  # nobody reads on, as in `... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        message = system_message(error)
    except MemoryError:
        message = ("there is not enough memory. Give the same command with fewer workers, "
                   "smaller tiles or smaller crops.")
    except KeyboardInterrupt:
        message = INTERRUPTED
    sys.exit(f"error: {message}".replace("\n", "\\n"))  # a path may hold a line break


if __name__ == "__main__":
    main()
