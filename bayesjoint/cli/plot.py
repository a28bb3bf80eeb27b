"""``bayesjoint plot``: pictures of a run."""

from __future__ import annotations

import argparse
import pathlib
from typing import Any

import shtab

from bayesjoint.cli import options as given
from bayesjoint.cli.folder import KINDS, PLOTS, Folder

__all__ = ["add", "run"]

DESCRIPTION = """\
Draw pictures of a run. Nothing is sampled again; a run without draws is fitted anew from its own maximum, in a step or two.

what
  panels       data, model and residuals of every image      image        an image alone, on the sky
  components   each source's light alone                     colour       data and model in three colours
  profile      surface brightness of a source by radius      sed          brightness by band
  light_curve  a transient's flux by epoch                   history      the way to the maximum
  corner       the posterior, two parameters at a time       trace, rank  chains, by ArviZ
"""
EPILOG = """\
examples:
  bayesjoint plot run/                                        all that there is something for, into run/plots/
  bayesjoint plot run/ --what corner --out corner.pdf
  bayesjoint plot run/ --what profile --source bulge disc --format svg
  bayesjoint plot run/ --what image components --image r
"""


def add(commands: Any) -> None:
    """Add the command."""
    parser = given.command(commands, "plot", run, "pictures of a run", DESCRIPTION, EPILOG)
    parser.add_argument(
        "folder", type=pathlib.Path, metavar="RUN", help="what demo or fit wrote; the images are to be where they were"
    ).complete = shtab.DIRECTORY
    parser.add_argument("--what", nargs="+", action="extend", choices=KINDS, help="which pictures (default: all that there is something for)")
    parser.add_argument("--source", nargs="+", action="extend", metavar="NAME", help="sources of profile, sed, light_curve, components (default all)")
    parser.add_argument("--image", nargs="+", action="extend", metavar="NAME", help="images of panels, image, components, profile (default all)")
    parser.add_argument("--parameter", nargs="+", action="extend", metavar="NAME", help="parameters of corner, trace, rank (default all but skies)")
    parser.add_argument(
        "--out", type=pathlib.Path, help="a file, for one picture (its suffix says the format), or a folder (default RUN/plots/)"
    ).complete = shtab.FILE
    parser.add_argument("--format", choices=("png", "pdf", "svg"), default="png", help="of files in a folder (default png)")
    parser.add_argument("--dpi", type=int, default=120, help="dots an inch (default %(default)s)")
    given.speech(parser)


def run(options: argparse.Namespace) -> int:
    """Run it."""
    if options.dpi < 10:
        raise ValueError(f"--dpi is to be at least 10, and {options.dpi} came.")
    made = Folder(options.folder)
    from bayesjoint.cli.pictures import figures
    from bayesjoint.cli.running import picture

    found = list(figures(made, options.what, options.source, options.image, options.parameter))
    paths = _paths([name for name, _ in found], options)
    for (_, figure), path in zip(found, paths, strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(figure, path, options.dpi)
    if options.json:
        from bayesjoint.cli.summary import say

        say({"files": paths})
    elif not options.quiet:
        print("\n".join(map(str, paths)))
    return 0


def _paths(names: list[str], options: argparse.Namespace) -> list[pathlib.Path]:
    """Where each goes."""
    out = options.out or options.folder / PLOTS
    if not out.suffix or out.is_dir():
        return [out / f"{name}.{options.format}" for name in names]
    if out.suffix.lower() not in (".png", ".pdf", ".svg", ".jpg", ".eps"):
        raise ValueError(f"--out is to end in .png, .pdf, .svg, .jpg or .eps, or to be a folder, and {str(out)!r} came.")
    if len(names) > 1:
        raise ValueError(
            f"{len(names)} pictures do not go into one file ({', '.join(names)}): choose one by --what, --source or --image, or give a folder."
        )
    return [out]
