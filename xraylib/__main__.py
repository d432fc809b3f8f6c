"""``python -m xraylib``: what the notebooks do not need to be open for."""

import argparse
import errno
import os
import re
import sys
from pathlib import Path

from .experiments import EXPERIMENTS
from .files import home, replace, said
from .predict.network import WeightsError
from .predict.volumes import predict_volume
from .runs import folder, sweep, tables
from .runs.folder import RunError
from .runs.parameters import ParameterError, check
from .slices import convert, fetch, sets
from .slices.tiff import DataError
from .train import TrainingError
from .workers import WorkersError

ERRORS = (DataError, ParameterError, RunError, sweep.SweepError, TrainingError, WeightsError, WorkersError,
          fetch.FetchError)
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
SHORT = re.compile(r"\d+ requested and \d+ written")     # numpy says so where a disk is full, and gives no number


def report(_: argparse.Namespace) -> None:
    """Write runs/summary.md, a table over all complete runs beside the poster's numbers, and print it."""
    path, runs = home() / "runs" / "summary.md", tables.complete()
    if not runs:
        raise RunError(f"{path.parent} holds no complete run; run a notebook to its end, or `make run`.")
    replace(path, lambda part: part.write_text(tables.summary(runs) + "\n"))
    print(path.read_text() + f"\nwritten to {path}")


def make_data(arguments: argparse.Namespace) -> None:
    """Make the built-in slices of a profile, so that the first notebook need not."""
    source = sets.open_source(arguments.profile)
    print(f"{len(source.slices)} + {len(source.test)} slices in {home() / 'data' / 'built-in'}")


def fetch_data(arguments: argparse.Namespace) -> None:
    """Fetch the real slices and their labels from where their authors keep them."""
    fetch.fetch(arguments.folder)


def convert_data(arguments: argparse.Namespace) -> None:
    """Copy a labelled data set of 8-bit or floating-point images, or of labels 0, 1, 2, into one that can be used."""
    print(f"{convert.convert(arguments.source, arguments.target)} In {arguments.target}")


def run_sweep(arguments: argparse.Namespace) -> None:
    """Run a grid: every combination of the parameters' values, each in a folder of its own; complete runs are kept."""
    axes = {}
    for item in arguments.parameters:
        name, equals, text = item.partition("=")
        if not equals:
            raise ParameterError(f"-p {item} has no value; write -p NAME=VALUE, NAME=A,B,C or NAME=0:5.")
        if name in axes:
            raise ParameterError(f"-p {name} is given twice; list all its values in one: -p {name}=A,B,C.")
        axes[name] = text
    fixed = check(**{name: axes.pop(name, "") for name in ("profile", "data_dir")})
    configs = sweep.grid(arguments.experiment, {name: sweep.values(text) for name, text in axes.items()}, **fixed)
    source = sets.open_source(**fixed)
    print(tables.summary(sweep.sweep(configs, source, workers=arguments.workers, scheduler=arguments.scheduler)))


def predict(arguments: argparse.Namespace) -> None:
    """Segment a volume of any size, a folder of TIFFs or one TIFF of many pages, into a folder of uint8 TIFFs."""
    weights = folder.load(arguments.run).weights if arguments.run.is_dir() else arguments.run
    paths = predict_volume(weights, arguments.source, arguments.target, arguments.preview, arguments.tile,
                           arguments.workers, arguments.scheduler)
    print(f"{len(paths)} slices, 0 = pore, 128 = YSZ, 255 = nickel, in {arguments.target}")


def whole(text: str) -> int:
    """A whole number, 0 or more."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number, 0 or more")
    return int(text)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    spread = argparse.ArgumentParser(add_help=False)
    spread.add_argument("--workers", type=whole, default=0, help="local processes (default: this one)")
    spread.add_argument("--scheduler", default="", help="address of a Dask cluster, tcp://...")

    main = argparse.ArgumentParser(prog="python -m xraylib", description=__doc__)
    commands = main.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser("report", help=report.__doc__)
    command.set_defaults(call=report)
    command = commands.add_parser("sweep", help=run_sweep.__doc__, description=run_sweep.__doc__, parents=[spread])
    command.add_argument("experiment", choices=EXPERIMENTS)
    command.add_argument("-p", dest="parameters", action="append", default=[], metavar="NAME=VALUES",
                         help="5,10,15 or 0:5 (0 to 4); again for each parameter")
    command.set_defaults(call=run_sweep)
    command = commands.add_parser("predict", help=predict.__doc__, description=predict.__doc__, parents=[spread])
    command.add_argument("run", type=Path, metavar="RUN", help="a run folder, or its model.safetensors")
    command.add_argument("source", type=Path, metavar="IN", help="a folder of TIFFs, or a TIFF of many pages")
    command.add_argument("target", type=Path, metavar="OUT", help="folder for the segmented slices")
    command.add_argument("--preview", type=whole, default=0, metavar="N", help="a colour PNG of every N-th slice")
    command.add_argument("--tile", type=whole, default=0, metavar="PX", help="side of the tiles (default: by network)")
    command.set_defaults(call=predict)
    data = commands.add_parser("data", help="the data sets").add_subparsers(required=True, metavar="COMMAND")
    command = data.add_parser("make", help=make_data.__doc__)
    command.add_argument("--profile", choices=sets.SIZES, default="laptop")
    command.set_defaults(call=make_data)
    command = data.add_parser("fetch", help=fetch_data.__doc__)
    command.add_argument("folder", nargs="?", default=home() / "data" / "real")
    command.set_defaults(call=fetch_data)
    command = data.add_parser("convert", help=convert_data.__doc__, description=convert_data.__doc__)
    command.add_argument("source", type=Path, metavar="IN", help="a folder that holds data/ and labels/")
    command.add_argument("target", type=Path, metavar="OUT", help="a new folder for the converted copy")
    command.set_defaults(call=convert_data)
    return main


def of_the_disk(error: OSError) -> str:
    """What the system refused, where, and what to do, in one sentence."""
    if SHORT.fullmatch(str(error)):
        error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    where = f"{error.filename}: " if error.filename is not None else ""
    if error.errno in FULL:
        todo = "make room, and give the same command again: what is whole is kept"
    elif isinstance(error, FileNotFoundError):
        todo = "check the path"
    else:
        todo = "take another folder, or mend this one; XRAYLIB_HOME says where data/ and runs/ are " \
               f"({home().absolute()})"
    return f"{where}{error.strerror or said(error)}; {todo}."


def main() -> None:
    """Run the command; what is wrong with the input, what the system refuses, and Ctrl-C are one sentence."""
    try:
        arguments = parser().parse_args()
        arguments.call(arguments)
        sys.stdout.flush()
        return
    except ERRORS as error:
        sentence = str(error)
    except BrokenPipeError:                                  # as of `... | head`: nobody reads on
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        sentence = of_the_disk(error)
    except MemoryError:
        sentence = "there is not enough memory; give the same command with fewer workers or smaller tiles or crops."
    except KeyboardInterrupt:
        sentence = "stopped; give the same command again, and it goes on: what is complete is kept."
    sys.exit(f"error: {sentence}".replace("\n", "\\n"))     # a path may hold a line's end


if __name__ == "__main__":
    main()
