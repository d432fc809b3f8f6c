"""Write the notebooks as nbval runs them: tiny, two seeds, folded solutions as cells at the end.

    python tools/prepare_notebooks.py FOLDER     (the folder is replaced)
"""

import re
import shutil
import sys
from pathlib import Path

import nbformat
import papermill

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
TINY = {"profile": "tiny", "n_seeds": 2}


def folded_solutions(notebook: nbformat.NotebookNode) -> list[str]:
    """Return the code under each folded "Solution" of the prose."""
    prose = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    return re.findall(r"<summary>Solution</summary>\s+```python\n(.*?)```", prose, re.DOTALL)


def prepared(path: Path) -> nbformat.NotebookNode:
    """Return one notebook with tiny parameters and its folded solutions; stored outputs stay."""
    known = papermill.inspect_notebook(path)
    tiny = {name: value for name, value in TINY.items() if name in known}
    notebook = papermill.execute_notebook(path, None, tiny, prepare_only=True, progress_bar=False)
    notebook.cells += [nbformat.v4.new_code_cell(code) for code in folded_solutions(notebook)]
    return notebook


def main() -> None:
    """Write every notebook into the folder that the command line names."""
    folder = Path(sys.argv[1])
    shutil.rmtree(folder, ignore_errors=True)
    for path in sorted(NOTEBOOKS.rglob("*.ipynb")):
        target = folder / path.relative_to(NOTEBOOKS)
        target.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(prepared(path), target)


if __name__ == "__main__":
    main()
