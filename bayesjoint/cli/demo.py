"""``bayesjoint demo``: three simulated bands, fitted."""

from __future__ import annotations

import argparse
from typing import Any

from bayesjoint.cli import options as given
from bayesjoint.cli.folder import RUN, claim, document

__all__ = ["add", "run"]

DESCRIPTION = """\
Simulate three bands of one galaxy, fit them jointly, and write images and results: something to try all else on.
"""
EPILOG = """\
examples:
  bayesjoint demo                                 into demo/: r.fits, W1.fits, NUV.fits, and what fit writes
  bayesjoint demo --sampler laplace --draws 1000  in seconds
  bayesjoint demo --json --quiet | jq .converged
"""


def add(commands: Any) -> None:
    """Add the command."""
    parser = given.command(commands, "demo", run, "simulate three bands of one galaxy, fit them jointly, write the results", DESCRIPTION, EPILOG)
    given.sampling(parser, draws=400, out="demo")


def run(options: argparse.Namespace) -> int:
    """Run it; what an earlier demo left is replaced, what anybody else left is not."""
    given.check_sampling(options)
    from bayesjoint.cli.running import run
    from bayesjoint.examples import three_bands
    from bayesjoint.scene import Scene
    from bayesjoint.sky import Sersic, Sky

    images, truth = three_bands(seed=options.seed)
    files = {im.name: options.out / f"{im.name}.fits" for im in images}
    made = options.out / RUN
    may = options.overwrite or (made.is_file() and str(document(made).get("command", "")).startswith("bayesjoint demo"))
    claim(options.out, may, *(f.name for f in files.values()))
    options.out.mkdir(parents=True, exist_ok=True)
    for im in images:
        im.write(files[im.name], overwrite=True)
    status = run(Scene([Sersic("galaxy"), Sky()], images), [{"file": str(f)} for f in files.values()], options, truth=truth)
    if not (options.quiet or options.json):
        print(f"The same from these files:  bayesjoint fit {' '.join(map(str, files.values()))} --out run/")
        print(f"One page of it all:         bayesjoint report {options.out}/")
    return status
