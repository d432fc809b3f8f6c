"""The notebooks as nbval runs them: in the tiny profile, with two seeds, the solutions of their exercises at the end.

    python tests/tiny.py FOLDER        writes them there, a folder anew
"""

import re
import shutil
import sys
from pathlib import Path

import nbformat
import papermill

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"


def solutions(notebook: nbformat.NotebookNode) -> list[str]:
    """The code under each folded "Solution"."""
    prose = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    return re.findall(r"<summary>Solution</summary>\s+```python\n(.*?)```", prose, re.DOTALL)


def main() -> None:
    folder = Path(sys.argv[1])
    shutil.rmtree(folder, ignore_errors=True)
    for path in sorted(NOTEBOOKS.rglob("*.ipynb")):
        target = folder / path.relative_to(NOTEBOOKS)
        target.parent.mkdir(parents=True, exist_ok=True)
        notebook = papermill.execute_notebook(path, None, {"profile": "tiny", "n_seeds": 2}, prepare_only=True)
        notebook.cells += [nbformat.v4.new_code_cell(source) for source in solutions(notebook)]
        nbformat.write(notebook, target)


if __name__ == "__main__":
    main()
