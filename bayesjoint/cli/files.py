"""Files: images read as a command line or a ``run.yaml`` says."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bayesjoint.images import Image

__all__ = ["absolute", "read"]


def read(told: Sequence[Mapping[str, Any]]) -> list[Image]:
    """Images of files; those of one name in different folders are told apart by their folders.

    Parameters
    ----------
    told : sequence of mapping
        ``file``, and arguments of `bayesjoint.Image.read` that replace what the file says.

    Raises
    ------
    ValueError, OSError
        For a file that is not there or lacks something; the sentence begins with its name.
    """
    from bayesjoint.images import Image

    files, images = [one["file"] for one in told], []
    for one in told:
        try:
            images.append(Image.read(one["file"], **{k: v for k, v in one.items() if k != "file"}))
        except ValueError as e:
            raise ValueError(f"{one['file']}: {e}") from e
    names = [im.name for im in images]
    for k, path in enumerate(files):
        if names.count(names[k]) > 1 and len(set(files)) == len(files):
            images[k] = images[k].replace(name=f"{pathlib.Path(path).resolve().parent.name}_{names[k]}")
    return images


def absolute(told: Sequence[Mapping[str, Any]], folder: pathlib.Path | None = None) -> list[dict[str, Any]]:
    """The same with whole paths, from `folder` on (default, where the process is); addresses stay."""
    start = pathlib.Path() if folder is None else folder
    return [{**one, "file": one["file"] if "://" in one["file"] else str((start / pathlib.Path(one["file"]).expanduser()).resolve())} for one in told]
