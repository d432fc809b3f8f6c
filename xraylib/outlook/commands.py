"""Commands for the reader's own data: data inspect, train, measure, export."""

import argparse
import csv
from pathlib import Path
from typing import Any

from ..cli import add_command, non_negative, parameter_values, voxel_size
from ..datasets import make_dataset, open_dataset
from ..errors import ParameterError, printable
from ..files import atomic_file, atomic_folder, expand_user, real_path
from ..formats.reading import load_folders
from ..params import check_parameters
from ..sweep import NOTEBOOK_ONLY, parse_values
from ..tables import markdown_table
from .export import export_network
from .inspect_data import inspect_folder, voxel_sentence
from .measure import HEADER, measure_volume
from .own_material import (
    check_name,
    check_name_is_free,
    cross_validate,
    name_network,
    train_final,
)
from .segmentations import open_segmentation


def inspect(arguments: argparse.Namespace) -> None:
    """Say what a folder of slices holds and what is odd, and write its dataset.toml."""
    inspection = inspect_folder(arguments.folder, arguments.labels, arguments.voxel_nm)
    print(inspection)
    figure = inspection.figure()
    if figure is not None:
        path = inspection.folder / "inspection.png"
        try:
            with atomic_file(path) as file:
                figure.savefig(file, format="png", dpi=110, bbox_inches="tight")
            print(f"A slice and its labels are drawn in {printable(path)}.")
        except OSError as error:
            print(f"{printable(path)} could not be written ({error.strerror}).")


def train(arguments: argparse.Namespace) -> None:
    """Train a network on labelled slices, score it on labels that it has not seen, and name it."""
    check_name(arguments.name)
    values: dict[str, Any] = {"profile": ""}
    for name, text in parameter_values(arguments.parameters, "-p steps=3000").items():
        if name in NOTEBOOK_ONLY:
            raise ParameterError(f"-p {name}: train does not use {name}. Change what a run depends "
                                 "on, such as -p steps=3000.")
        values[name], *more = parse_values(text)
        if more:
            raise ParameterError(f"-p {name}={text}: give one value, as in -p steps=3000.")
    parameters = check_parameters(**values)
    folders = [str(expand_user(folder)) for folder in arguments.folders]
    if len(folders) == 1:
        dataset = open_dataset(parameters["profile"], folders[0], min_slices=1)
    else:
        name = " + ".join(folders)
        dataset = make_dataset(load_folders(folders), name, (parameters["profile"], name))
    print(voxel_sentence(dataset.slices.voxel_nm))
    check_name_is_free(arguments.name, dataset, parameters)
    checked = cross_validate(dataset, parameters)
    print(f"\n{checked.sentence}\n\n{checked.table()}\n")
    path = name_network(train_final(dataset, parameters), arguments.name)
    print(f"The network {arguments.name} is {printable(path)}. Segment a volume of the same "
          f"scan with:\n    python -m xraylib predict {arguments.name} VOLUME OUT --preview 50")


def measure(arguments: argparse.Namespace) -> None:
    """Measure a segmentation: volume fractions, interfaces, triple-phase boundary, percolation."""
    source = real_path(arguments.segmentation)
    out = expand_user(arguments.out or source.with_name(f"{source.stem}-measured"))
    if out.exists():
        raise ParameterError(f"{out} exists. Name another folder with --out.")
    segmentation = open_segmentation(source, arguments.voxel_nm)
    triple = arguments.triple.split(",") if arguments.triple else None
    measured = measure_volume(segmentation.labels, segmentation.voxel_nm, segmentation.phases,
                              triple, arguments.parts, segmentation.neighbours,
                              arguments.tortuosity)
    rows = measured.table()
    with atomic_folder(out) as part:
        with (part / "measurements.csv").open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            table.writerow(HEADER)
            table.writerows(rows)
        measured.figure().savefig(part / "measurements.png", dpi=110)
    print("\n".join([*segmentation.notes, voxel_sentence(segmentation.voxel_nm), "",
                     markdown_table(HEADER, rows), "", *measured.notes]))
    print(f"The table and a figure are in {printable(out)}.")


def export(arguments: argparse.Namespace) -> None:
    """Write a network as ONNX and as a bioimage.io package, for web pages, Fiji and ilastik."""
    paths = export_network(arguments.network, arguments.folder)
    print("ONNX Runtime and PyTorch agree on the built-in slices. Written:",
          *map(printable, paths), sep="\n    ")


def add_commands(commands: Any, data_commands: Any) -> None:
    """Add the commands of this file to the parser of the command line.

    Args:
        commands, data_commands: the sub-parsers of the program, and of its command `data`.
    """
    command = add_command(data_commands, inspect, "inspect")
    command.add_argument("folder", type=Path, metavar="FOLDER", help="see docs/own-data.md")
    command.add_argument("--labels", default="", metavar="MAP", help="what each label value means, "
                         "as in 1=pore,2=YSZ,0=ignore; it is written into dataset.toml")
    command.add_argument("--voxel-nm", type=voxel_size, metavar="Z,Y,X",
                         help="size of a voxel in nm, or one number; likewise")
    command = add_command(commands, train, "train")
    command.add_argument("folders", nargs="+", metavar="FOLDER", help="labelled slices")
    command.add_argument("--name", required=True, help="of the network, for predict")
    command.add_argument("-p", dest="parameters", action="append", default=[],
                         metavar="NAME=VALUE", help="a parameter of the recipe; repeatable")
    command = add_command(commands, measure, "measure")
    command.add_argument("segmentation", type=Path, metavar="SEGMENTATION",
                         help="what predict wrote, or a folder or stack of masks")
    command.add_argument("--voxel-nm", type=voxel_size, metavar="Z,Y,X",
                         help="size of a voxel in nm, or one number (default: as the files say)")
    command.add_argument("--triple", metavar="A,B,C",
                         help="the phases whose triple-phase boundary is measured (default: all)")
    command.add_argument("--parts", type=non_negative, default=8, metavar="N",
                         help="sub-volumes for the uncertainty (default: 8)")
    command.add_argument("--tortuosity", action="store_true",
                         help="also compute tortuosities, which takes minutes (needs taufactor)")
    command.add_argument("--out", type=Path, metavar="FOLDER", help="where to write")
    command = add_command(commands, export, "export")
    command.add_argument("network", metavar="NETWORK",
                         help="a name (see the command networks), a run folder or a weights file")
    command.add_argument("folder", type=Path, metavar="OUT", help="folder for the three files")
