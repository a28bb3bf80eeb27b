"""Folder: what a run leaves behind, and how it is taken up again."""

from __future__ import annotations

import pathlib
from functools import cached_property
from typing import TYPE_CHECKING, Any

from bayesjoint.cli.files import absolute, read

if TYPE_CHECKING:
    from bayesjoint.infer.fit import Fit
    from bayesjoint.posterior import Posterior
    from bayesjoint.scene import Scene

__all__ = ["KINDS", "OURS", "PLOTS", "RUN", "SCENE", "Folder", "claim", "clear", "document", "images_told"]

SCENE, RUN, POSTERIOR = "scene.yaml", "run.yaml", "posterior.nc"
OURS = ("table.ecsv", POSTERIOR, SCENE, RUN, "residuals.png", "corner.png", "report.html")
PLOTS = "plots"
MOVED = 0.1
"""Errors from its saved value up to which a parameter of a fit made again is still there."""
KINDS = ("panels", "image", "components", "profile", "sed", "light_curve", "colour", "corner", "history", "trace", "rank")
"""Pictures that `bayesjoint plot` makes; their files begin with these names."""


def claim(out: pathlib.Path, overwrite: bool, *more: str) -> None:
    """Refuse a folder where something of anybody's would be lost; files called as in `more` count too.

    Raises
    ------
    ValueError
        Where it holds results already and `overwrite` is False, or is a file.
    """
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out is to be a folder, and {str(out)!r} is a file.")
    there = [n for n in (*OURS, *more) if (out / n).exists()]
    if there and not overwrite:
        raise ValueError(f"{out} holds {', '.join(there)} already: give another --out, or --overwrite to replace them.")


def clear(out: pathlib.Path) -> None:
    """Take away what an earlier run left, so that nothing of it stands beside the new; a file of another name in `PLOTS` is not ours."""
    names = _drawn(out)
    stale = [p for p in (out / PLOTS).glob("*") if p.stem in names and p.suffix in (".png", ".pdf", ".svg")]
    for path in (*(out / n for n in OURS), *stale):
        path.unlink(missing_ok=True)


def _drawn(out: pathlib.Path) -> set[str]:
    """Names that `bayesjoint plot` gives to pictures of the run in a folder; none where there is no run."""
    if not (out / RUN).is_file():
        return set()
    try:
        scene = document(out / SCENE)
        parts = [e["name"] for e in (*scene["components"], *scene["images"])]
    except (OSError, ValueError, KeyError, TypeError):  # what cannot be read says nothing of what is ours
        return set()
    return {*KINDS, *(f"{k}_{n}" for k in KINDS for n in parts)}


def document(path: pathlib.Path) -> dict[str, Any]:
    """A YAML file's mapping; nothing that it names is run.

    Raises
    ------
    ValueError
        If it holds none.
    """
    import yaml

    try:
        found = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as e:
        raise ValueError(f"{path} cannot be read as YAML: {str(e).splitlines()[0]}.") from e
    if not isinstance(found, dict):
        raise ValueError(f"{path} is to hold a mapping, as bayesjoint writes it.")
    return found


def images_told(path: pathlib.Path) -> list[dict[str, Any]]:
    """Files of a ``run.yaml``, with what it says of each.

    Raises
    ------
    ValueError
        If it names none.
    """
    told = document(path).get("images")
    if not isinstance(told, list) or not told or not all(isinstance(t, dict) and isinstance(t.get("file"), str) for t in told):
        raise ValueError(f"{path} is to name images, a list of mappings that begin with 'file:', as bayesjoint fit writes it: run it again.")
    return absolute(told, path.parent)


class Folder:
    """A run that ``bayesjoint fit`` or ``demo`` wrote; each part is read when it is asked for.

    Parameters
    ----------
    path : path
        The folder.

    Raises
    ------
    ValueError
        If it holds no run.
    """

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path
        if not ((path / RUN).is_file() and (path / SCENE).is_file()):
            raise ValueError(f"{path} is to be a folder that bayesjoint fit or demo wrote, and it holds no {RUN} and {SCENE}.")
        self.told = images_told(path / RUN)
        run = document(path / RUN)
        self.command, self.history, self.ended = str(run.get("command", "")), run.get("history"), run.get("fit")

    @cached_property
    def scene(self) -> Scene:
        """The scene on its images, with the plan of the fit."""
        from bayesjoint.scene import Scene

        return Scene.load(self.path / SCENE, read(self.told))

    @cached_property
    def best(self) -> Fit:
        """The fit, by a step or two from the values that were saved, with the history that led there and the words that ended it.

        One that had not converged and goes on to another place has its own.
        """
        saved = document(self.path / SCENE).get("values") or {}
        best = self.scene.fit(start=saved, progress=False)
        for site in self.scene.layout.sites:
            off = best.values[site.name] - saved.get(site.name, best.values[site.name])
            if abs((off + 90) % 180 - 90 if site.spec.cyclic else off) > MOVED * best.errors[site.name]:
                return best
        if self.history:
            best.history = self.history
        if isinstance(self.ended, dict) and {"converged", "verdict", "remarks"} <= set(self.ended):
            best.converged, best.verdict, best.remarks = (self.ended[k] for k in ("converged", "verdict", "remarks"))
            best.message = "\n".join([best.verdict, *best.remarks])
        return best

    @cached_property
    def post(self) -> Posterior | None:
        """The posterior with its scene, if one was sampled; without a fit."""
        from bayesjoint.posterior import load

        if not (self.path / POSTERIOR).is_file():
            return None
        post = load(self.path / POSTERIOR)
        post.scene = self.scene
        return post
