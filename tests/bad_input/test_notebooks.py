"""Notebooks with parameters, data or published files that they cannot use.

They stop with one line before anything is trained. The cells run in this process, which takes a
second, and not by papermill.
"""

import shutil
from functools import partial
from pathlib import Path

import matplotlib
import nbformat
import pytest
from bad_input.spoiling import Cases

from xraylib import published
from xraylib.files import packaged_data

ROOT = Path(__file__).resolve().parents[2]
CASES = Cases()


def run_notebook(name: str, **parameters: object) -> None:
    """Run the cells of a notebook in the tiny profile, on the good set unless told otherwise."""
    matplotlib.use("agg")
    (path,) = (ROOT / "notebooks").rglob(f"{name}_*.ipynb")
    scope: dict = {}
    for cell in nbformat.read(path, 4).cells:
        if cell.cell_type == "code":
            exec(cell.source, scope)
            if "parameters" in cell.metadata.get("tags", []):
                scope |= {"profile": "tiny", "data_dir": "set", "use_published": False} | parameters


def tables() -> Path:
    """The folder of published tables: a copy, to be damaged."""
    folder = Path("shipped/published/tables")
    if not folder.exists():
        shutil.copytree(packaged_data() / "published/tables", folder)
    return folder


def changed(name: str) -> None:
    """A published table has another number."""
    path = tables() / f"{name}.json"
    path.write_text(path.read_text().replace("0.9", "0.8", 1))


WHOLE = "it must be a whole number from 1 to 100000 or None (the default)."
REINSTALL = "It came with the library: install the library again"
for name, message, parameters in [
    ("01", f"n_train is 0.3; {WHOLE}", {"n_train": 0.3}),
    ("01", f"n_train is 1e-09; {WHOLE}", {"n_train": 1e-9}),
    ("01", "n_train + n_val is 1 + 12 = 13, but there are", {"n_val": 12}),
    ("06", "crops is []; it must be a list of sides in px, as [32, 64].", {"crops": []}),
    ("06", "crop is 8, but with padding 'valid' and depth 4 each crop needs a margin of 92 px",
     {"padding": "valid", "depth": 4, "crops": [8, 32]}),
    ("06", "crop is 16, but with padding 'valid' and depth 4 each crop needs a margin of 92 px",
     {"padding": "valid", "depth": 4, "crops": [16, 32]}),
    ("06", "crop is 16, but with padding 'valid' and depth 6 each crop needs a margin of 380 px",
     {"depth": 6, "crops": [16, 32]}),
    ("09", "set holds 12 labelled slices. At least 20 are needed to train and test.", {}),
]:
    CASES.add(f"{name} with {parameters}", message, partial(run_notebook, name, **parameters))
for name, table in (("03", "batch_norm"), ("07", "noisy"), ("08", "unlabelled"), ("10", "methods"),
                    ("10", "real")):
    CASES.add(f"{name} without its table {table}", f"{table}.json is damaged ( ... No such file "
              f"... {REINSTALL}", partial(run_notebook, name),
              lambda table=table: (tables() / f"{table}.json").unlink())
    CASES.add(f"{name} with a damaged table {table}", f"{table}.json is damaged (its rows were "
              f"changed). {REINSTALL}", partial(run_notebook, name), partial(changed, table))


@pytest.mark.parametrize("name", CASES)
def test_it_is_one_line_before_anything_is_trained(name, refuse, monkeypatch):
    if "table" in name:
        monkeypatch.setattr(published, "packaged_data", lambda: Path("shipped").absolute())
    refuse(*CASES[name])
