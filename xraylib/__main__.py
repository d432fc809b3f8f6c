"""``python -m xraylib``: what the notebooks do not need to be open for."""

import argparse
import hashlib
import shutil
import sys
from itertools import product
from pathlib import Path

from . import fetch, runs, sets, sweep, volumes
from .data import DataError
from .parameters import ParameterError, check
from .predict import WeightsError, load_weights, replace
from .profiles import EXPERIMENTS, PROFILES, configure
from .train import TrainingError

ERRORS = (DataError, ParameterError, runs.RunError, sweep.SweepError, TrainingError, WeightsError, fetch.FetchError)


def report(_: argparse.Namespace) -> None:
    """Write runs/summary.md, a table over all complete runs beside the poster's numbers, and print it."""
    path = sets.home() / "runs" / "summary.md"
    path.parent.mkdir(exist_ok=True)
    replace(path, lambda part: part.write_text(runs.summary(runs.complete()) + "\n"))
    print(path.read_text() + f"\nwritten to {path}")


def make_data(arguments: argparse.Namespace) -> None:
    """Make the built-in slices of a profile, so that the first notebook need not."""
    source = sets.open_source(arguments.profile)
    print(f"{len(source.slices)} + {len(source.test)} slices in {sets.home() / 'data' / 'built-in'}")


def fetch_data(arguments: argparse.Namespace) -> None:
    """Fetch the real slices and their labels from where their authors keep them."""
    fetch.fetch(arguments.folder)


def publish(_: argparse.Namespace) -> None:
    """Copy the runs behind the stored notebooks (laptop profile, built-in data, seeds 0 to 2) to data/published/.

    Snapshots come with the first seed where a notebook shows them; of the sweep, the fewest and the most slices come
    with weights.
    """
    fingerprint, sizes = sets.open_source("laptop").fingerprint, PROFILES["laptop"].sizes
    shown = [(name, n) for name in EXPERIMENTS for n in (sizes if name == "04_size_sweep" else [None])]
    for (experiment, n_train), seed in product(shown, range(3)):
        config = configure(experiment, {"profile": "laptop"}, n_train=n_train, seed=seed)
        run = runs.load(runs.folder_of(config, fingerprint))
        names = ["config.json", "history.csv", "result.json"]
        if n_train in (None, sizes[0], sizes[-1]):
            names += ["model.safetensors"]
        if seed == 0 and experiment in ("01_baseline", "03_noisy_val"):
            names += [f"epochs/{path.name}" for path in (run.folder / "epochs").iterdir()]
        for name in names:
            target = runs.folder_of(config, fingerprint, sets.shipped() / "published") / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(run.folder / name, target)
        if (experiment, seed) == ("03_noisy_val", 0):       # the README's figure
            shutil.copyfile(run.folder / "figures" / "same_slice.png", sets.shipped() / "published" / "same_slice.png")


def run_sweep(arguments: argparse.Namespace) -> None:
    """Run a grid: every combination of the parameters' values, each in a folder of its own; complete runs are kept."""
    axes = {}
    for item in arguments.parameters:
        name, equals, text = item.partition("=")
        if not equals:
            raise ParameterError(f"-p {item} has no value; write -p NAME=VALUE, NAME=A,B,C or NAME=0:5.")
        axes[name] = text
    fixed = check(**{name: axes.pop(name, "") for name in ("profile", "data_dir")})
    configs = sweep.grid(arguments.experiment, {name: sweep.values(text) for name, text in axes.items()}, **fixed)
    source = sets.open_source(**fixed)
    print(runs.summary(sweep.sweep(configs, source, workers=arguments.workers, scheduler=arguments.scheduler)))


def predict(arguments: argparse.Namespace) -> None:
    """Segment a volume of any size, a folder of TIFFs or one TIFF of many pages, into a folder of uint8 TIFFs."""
    weights = arguments.run / "model.safetensors" if arguments.run.is_dir() else arguments.run
    model = runs.load(arguments.run).model() if arguments.run.is_dir() else load_weights(weights)
    name = hashlib.blake2b(weights.read_bytes(), digest_size=6).hexdigest()
    paths = volumes.predict_volume(model, name, arguments.source, arguments.target, arguments.preview, arguments.tile)
    print(f"{len(paths)} slices, 0 = pore, 128 = YSZ, 255 = nickel, in {arguments.target}")


def whole(text: str) -> int:
    """A whole number, 0 or more."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number, 0 or more")
    return int(text)


def parser() -> argparse.ArgumentParser:
    main = argparse.ArgumentParser(prog="python -m xraylib", description=__doc__)
    commands = main.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser("report", help=report.__doc__)
    command.set_defaults(call=report)
    command = commands.add_parser("sweep", help=run_sweep.__doc__, description=run_sweep.__doc__)
    command.add_argument("experiment", choices=EXPERIMENTS)
    command.add_argument("-p", dest="parameters", action="append", default=[], metavar="NAME=VALUES",
                         help="5,10,15 or 0:5 (0 to 4); again for each parameter")
    command.add_argument("--workers", type=whole, default=0, help="local processes (default: this one)")
    command.add_argument("--scheduler", default="", help="address of a Dask cluster, tcp://...")
    command.set_defaults(call=run_sweep)
    command = commands.add_parser("predict", help=predict.__doc__, description=predict.__doc__)
    command.add_argument("run", type=Path, metavar="RUN", help="a run folder, or its model.safetensors")
    command.add_argument("source", type=Path, metavar="IN", help="a folder of TIFFs, or a TIFF of many pages")
    command.add_argument("target", type=Path, metavar="OUT", help="folder for the segmented slices")
    command.add_argument("--preview", type=whole, default=0, metavar="N", help="a colour PNG of every N-th slice")
    command.add_argument("--tile", type=whole, default=0, metavar="PX", help="side of the tiles (default: by network)")
    command.set_defaults(call=predict)
    command = commands.add_parser("publish", help=publish.__doc__.splitlines()[0])
    command.set_defaults(call=publish)
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
    except ERRORS as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
