"""Command-line interface: ``python -m xraylib``, or ``xraylib`` for short."""

import argparse
import errno
import os
import sys
from pathlib import Path

try:
    from . import datasets, params, published, sweep, tables, volumes
    from .cli import Parser, add_command, non_negative, parameter_values, voxel_size
    from .contrast import CONTRASTS
    from .errors import ParameterError, RunError, XraylibError, one_line_message, printable
    from .experiments import EXPERIMENTS
    from .files import atomic_file, home, load_plugins, name_in_errors
    from .formats.download import download_real_data
    from .formats.outputs import check_worst, write_worst
    from .inference import load_weights
except KeyboardInterrupt:  # importing torch takes a second or more
    sys.exit("error: stopped before it began.")

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
INTERRUPTED = "stopped. Give the same command again to continue: what is complete is kept."


def report(_: argparse.Namespace) -> None:
    """Print all complete runs beside the poster's numbers, and write runs/summary.md."""
    path, runs = home() / "runs" / "summary.md", tables.complete_runs()
    if not runs:
        raise RunError(f"{path.parent} holds no complete run. Run a notebook to its end, "
                       "or `make run`.")
    summary = tables.summary(runs)
    with atomic_file(path, "w") as file:
        file.write(summary + "\n")
    print(f"{summary}\n\nWritten to {printable(path)}.")


def networks(_: argparse.Namespace) -> None:
    """List the trained networks that come with the library, and those that you have named."""
    for name, network in published.named_networks().items():
        print(f"{name:16} {network.good_for}")
    for name, path in published.own_networks().items():
        print(f"{name:16} Yours. Phases: {', '.join(load_weights(path).phases.names)}.")


def make_data(arguments: argparse.Namespace) -> None:
    """Generate the built-in slices of a profile."""
    dataset = datasets.open_dataset(arguments.profile)
    print(f"{len(dataset.slices)} slices and {len(dataset.test)} test slices are in "
          f"{home() / 'data' / 'built-in'}.")


def fetch_data(arguments: argparse.Namespace) -> None:
    """Download the real slices and their labels from Zenodo and GitHub."""
    download_real_data(arguments.folder)


def sweep_runs(arguments: argparse.Namespace) -> None:
    """Run an experiment for every combination of parameter values; complete runs are kept."""
    axes = parameter_values(arguments.parameters, "-p NAME=VALUE, -p NAME=A,B,C or -p NAME=0:5")
    fixed = {name: axes.pop(name, "") for name in ("profile", "data_dir")}
    fixed = params.check_parameters(**fixed)
    values = {name: sweep.parse_values(text) for name, text in axes.items()}
    configs = sweep.parameter_grid(arguments.experiment, values, **fixed)
    dataset = datasets.open_dataset(fixed["profile"], fixed["data_dir"])
    runs = sweep.run_sweep(configs, dataset, arguments.use_published, arguments.workers,
                           arguments.scheduler)
    print(tables.summary(runs))


def predict(arguments: argparse.Namespace) -> None:
    """Segment a volume of any size: a folder of TIFFs, or one TIFF with many pages."""
    source, target = arguments.source, arguments.target
    count, folder = arguments.worst or ("", "")
    if arguments.worst:
        check_worst(count, Path(folder), target)
    paths = volumes.predict_volume(
        published.network_file(arguments.network), source, target, arguments.preview,
        arguments.tile, arguments.workers, arguments.scheduler, contrast=arguments.contrast,
        voxel_nm=arguments.voxel_nm, stack=arguments.stack, probabilities=arguments.probabilities,
        uncertainty=arguments.uncertainty or bool(arguments.worst))
    print(printable(f"The segmentation is {paths[0]}." if arguments.stack else
                    f"{len(paths)} segmented slices are in {target}."))
    if arguments.worst:
        names = write_worst(Path(folder), int(count), source, target)
        print(printable(f"The {len(names)} most uncertain slices are in {folder}: "
                        f"{', '.join(names)}."))


def make_parser() -> argparse.ArgumentParser:
    """Build the parser of the command line."""
    plugins = load_plugins()
    workers = argparse.ArgumentParser(add_help=False)
    workers.add_argument("--workers", type=non_negative, default=0,
                         help="number of local processes (default: none, run in this one)")
    workers.add_argument("--scheduler", default="", help="address of a Dask cluster, tcp://...")

    parser = Parser(prog="python -m xraylib", description=__doc__)
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
    command.add_argument("--contrast", choices=CONTRASTS, default="", help="how grey levels become "
                         "those of the training set (default: none for files of the same type, "
                         "else percentiles)")
    command.add_argument("--voxel-nm", type=voxel_size, metavar="Z,Y,X",
                         help="size of a voxel in nm, or one number (default: as IN says)")
    command.add_argument("--stack", action="store_true", help="write one file for all slices")
    command.add_argument("--probabilities", action="store_true",
                         help="also write the probability of each phase, float16")
    command.add_argument("--uncertainty", action="store_true",
                         help="also write 100 minus the highest probability in per cent, uint8")
    command.add_argument("--worst", nargs=2, metavar=("N", "FOLDER"), help="also write the N most "
                         "uncertain slices and their labels into a new data set, to correct them")
    data = commands.add_parser("data", help="commands for data sets")
    data_commands = data.add_subparsers(required=True, metavar="COMMAND")
    command = add_command(data_commands, make_data, "make")
    command.add_argument("--profile", choices=sorted(datasets.SIZES), default="laptop")
    command = add_command(data_commands, fetch_data, "fetch")
    command.add_argument("folder", nargs="?", type=Path, default=home() / "data" / "real")
    for plugin in plugins:
        plugin.add_commands(commands, data_commands)
    return parser


def system_message(error: OSError) -> str:
    """Describe an operating-system error in one line: where, what, and what to do about it."""
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
    """Run the command. Bad input, operating-system errors and Ctrl-C end in a one-line error."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # the caller has closed it
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w"))
        getattr(sys, name).reconfigure(errors="backslashreplace")  # not every output is UTF-8
    try:
        if "" in sys.argv:
            raise ParameterError("an argument is empty, as an unset variable is. Give it, or leave "
                                 "it out.")
        arguments = make_parser().parse_args()
        arguments.call(arguments)
        with name_in_errors(Path("standard output")):
            sys.stdout.flush()
        return
    except XraylibError as error:
        message = str(error)
    except OSError as error:
        if error.filename in (None, "standard output"):  # else Python flushes stdout again
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):  # the pipe is closed, as by `... | head`
            sys.exit(1)
        message = system_message(error)
    except MemoryError:
        message = ("there is not enough memory. Give the same command with fewer workers, "
                   "smaller tiles or smaller crops.")
    except KeyboardInterrupt:
        message = INTERRUPTED
    sys.exit(f"error: {printable(message)}")


if __name__ == "__main__":
    main()
