"""Write the notebooks as nbval runs them: tiny and with two seeds.

    python tools/prepare_notebooks.py FOLDER     (the folder is replaced)
"""

import shutil
import sys
from pathlib import Path

import nbformat
import papermill

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
TINY = {"profile": "tiny", "n_seeds": 2}
OTHERS = {"example": "sandstone"}  # a notebook with this parameter is also run with this value


def prepared(path: Path, **values: str) -> nbformat.NotebookNode:
    """Return one notebook with tiny parameters and other values; stored outputs stay."""
    known = papermill.inspect_notebook(path)
    tiny = {name: value for name, value in (TINY | values).items() if name in known}
    return papermill.execute_notebook(path, None, tiny, prepare_only=True, progress_bar=False)


def main() -> None:
    """Write every notebook into the folder that the command line names."""
    folder = Path(sys.argv[1])
    shutil.rmtree(folder, ignore_errors=True)
    for path in sorted(NOTEBOOKS.rglob("*.ipynb")):
        target = folder / path.relative_to(NOTEBOOKS)
        target.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(prepared(path), target)
        for name in OTHERS.keys() & papermill.inspect_notebook(path).keys():
            other = target.with_stem(f"{target.stem}-{OTHERS[name]}")
            nbformat.write(prepared(path, **{name: OTHERS[name]}), other)


if __name__ == "__main__":
    main()
