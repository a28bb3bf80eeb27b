"""Notebooks beside the scripts of tutorials/: `make notebooks`."""

from pathlib import Path

import jupytext
import nbformat

TUTORIALS = Path(__file__).resolve().parent.parent / "tutorials"


def text(script: Path) -> str:
    """The notebook of a script in percent format: without outputs, its cells numbered, so that it changes only where the script does."""
    notebook = jupytext.read(script)
    for k, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{k}"
    notebook.metadata["jupytext"].pop("text_representation", None)
    return nbformat.writes(notebook) + "\n"


if __name__ == "__main__":
    for script in sorted(TUTORIALS.glob("*.py")):
        script.with_suffix(".ipynb").write_text(text(script))
