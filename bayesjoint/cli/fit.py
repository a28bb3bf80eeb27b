"""``bayesjoint fit``: images of one patch of sky, fitted jointly and sampled."""

from __future__ import annotations

import argparse
import pathlib
from typing import Any

import shtab

from bayesjoint.cli import options as given
from bayesjoint.cli.files import read, speaking_of_options
from bayesjoint.cli.folder import RUN, claim, document, images_told

__all__ = ["add", "components", "run"]

DESCRIPTION = """\
Fit several FITS images of one object at once and sample the joint posterior.

what a file must hold
  science pixels; their noise (or --sigma, --variance, --ivar with a file or number, or --estimate-noise); a celestial WCS, or the
  keyword PIXSCALE (or --pixel-scale). Mask, PSF and zeropoint are used where they are there, or come from other files (--mask,
  --psf). Files of surveys are read as each lays them out; a path may name an extension: f.fits[SCI,2], f.fits[3].
  'bayesjoint info FILE.fits' says what is found, and what was decided.

bands and zeropoints
  Images of one band share their fluxes. The band is the header's BAND or FILTER, else the file's name; --bands says otherwise,
  in the files' order. With AB zeropoints (MAGZERO, or --zeropoint, one for all or one a file) fluxes are in nJy and tables have
  magnitudes; without, fluxes are in image units.

the model
  --model is a sum of sersic, exponential, point, sky and plane: 'sersic+sky' (default), 'sersic+point+sky' (the point shares the
  galaxy's centre), 'sersic+exponential+sky' (bulge and disc of one centre), 'sersic+sersic+sky' (the same, named by size: the
  smaller is the bulge). Fluxes of components on one centre are not negative, and many shapes are compared before the fit, so that
  it ends at the highest maximum. Structure is shared by all images; every band has a flux of its own, every image a sky.
  --sky says what is known of it: free (default), border (near the level of the image's border, where a galaxy fills the image),
  none. --scene takes any other model: a YAML file that scene.save, best.save or an earlier run wrote, or one made by hand:

    bayesjoint: scene
    version: 1
    components:
    - {type: Sersic, name: galaxy, parameters: {n: {prior: {LogNormal: {loc: 1.2, scale: 0.3}}}}}
    - {type: Point, name: agn, parameters: {x: {shared: galaxy.x}, y: {shared: galaxy.y}}}
    - {type: Sky, name: sky}

  Where it holds values, the fit begins there. Without files on the command line, the images are those that a run.yaml beside
  it names.
"""
EPILOG = """\
examples:
  bayesjoint fit KiDS_r.fits SDSS_r.fits --bands KiDS_r,SDSS_r --out run/
  bayesjoint fit r.fits i.fits --sampler laplace --zeropoint 22.5,25.1 --json > result.json
  bayesjoint fit cutout.fits --estimate-noise --pixel-scale 0.2 --psf none
  bayesjoint fit g.fits r.fits --sigma g_rms.fits,r_rms.fits --mask bad.fits --psf g=g.psf --psf r=r.psf
  bayesjoint fit 'flc.fits[SCI,2]' --bad-bits BADPIX,SATURATED,12
  bayesjoint fit r.fits i.fits --psf moffat:3       Moffat functions as wide as the files' PSFs in their place
  bayesjoint fit --scene agn.yaml r.fits i.fits --out agn/
  bayesjoint fit --scene run/scene.yaml --sampler svi --out again/
  bayesjoint fit r.fits i.fits --force              sample although the fit has not converged: at your own risk
  bayesjoint fit r.fits i.fits --checkpoint run/chains --overwrite      stopped? the same command goes on

results in --out: table.ecsv (one row a source), posterior.nc (for bj.load and ArviZ), scene.yaml (the model and its maximum),
run.yaml (files and command), residuals.png, corner.png. A fit that has not converged, or is singular at a bound, is written but not
sampled, unless with --force. Exit status: 0 done, 2 bad input, 3 such a fit, or with --strict a posterior that has not converged.
"""


def add(commands: Any) -> None:
    """Add the command."""
    parser = given.command(commands, "fit", run, "fit FITS images jointly, and sample", DESCRIPTION, EPILOG)
    parser.add_argument("files", nargs="*", metavar="FILE.fits", help="images of one patch of sky").complete = shtab.FILE
    parser.add_argument("--model", help="components, joined by + (default sersic+sky)")
    parser.add_argument(
        "--sky",
        choices=("free", "border", "none"),
        help="sky of each image: free (default), held near the level of its border, or none",
    )
    parser.add_argument(
        "--scene", type=pathlib.Path, metavar="FILE.yaml", help="a model as scene.save writes it, in place of --model"
    ).complete = shtab.FILE
    given.files(parser)
    given.sampling(parser, draws=1000, out="run")


def run(options: argparse.Namespace) -> int:
    """Run it."""
    given.check_sampling(options)
    if options.scene is not None and options.model is not None:
        raise ValueError("--model and --scene both say what to fit: give one of them.")
    if options.scene is not None and options.sky is not None:
        raise ValueError("--sky must go with --model; a --scene says what its sky is. Leave --sky out.")
    told, start = given.told(options), None
    if options.scene is not None:
        start = _values(options.scene)
        told = told or _beside(options)
    elif not told:
        raise ValueError("There is nothing to fit. Name the FITS files, or give a --scene with a run.yaml beside it.")
    claim(options.out, options.overwrite)
    parts = None if options.scene is not None else components(options.model or "sersic+sky", options.sky)
    with speaking_of_options():
        images = read(told)
        from bayesjoint.cli.running import run
        from bayesjoint.scene import Scene

        scene = Scene(parts, images) if parts is not None else Scene.load(options.scene, images)
        return run(scene, told, options, start=start)


def components(model: str, sky: str | None = None) -> list[Any]:
    """Components of a model such as ``sersic+point+sky``.

    Parameters
    ----------
    model : str
        Kinds, joined by +.
    sky : {"free", "border", "none"}, optional
        What is known of the sky; default, what the model says.

    Raises
    ------
    ValueError
        For an unknown component, or none that shines.
    """
    from bayesjoint.sky import Exponential, Point, Sersic, Sky

    kinds = [k.strip().lower() for k in model.split("+")]
    unknown = [k for k in kinds if k not in ("sersic", "exponential", "point", "sky", "plane")]
    galaxies = [k for k in kinds if k in ("sersic", "exponential")]
    if (
        unknown
        or not {"sersic", "exponential", "point"} & set(kinds)
        or len(galaxies) > 2
        or galaxies == ["exponential", "exponential"]
        or kinds.count("point") > 1
        or ("sky" in kinds) + ("plane" in kinds) > 1
    ):
        raise ValueError(
            "--model must be made of sersic and exponential (two of them at most), point, and sky or plane, joined by '+'; "
            f"got {model!r}. Give for example sersic+exponential+sky."
        )
    made: list[Any] = []
    if len(galaxies) == 2:
        disc = Exponential if "exponential" in galaxies else Sersic
        bulge = Sersic("bulge")
        made += [bulge, disc("disc", x=bulge.x, y=bulge.y)]
    elif galaxies:
        made.append((Sersic if galaxies == ["sersic"] else Exponential)("galaxy"))
    if "point" in kinds:
        made.append(Point("point", x=made[0].x, y=made[0].y) if made else Point("point"))
    if sky != "none" and ("sky" in kinds or "plane" in kinds or sky is not None):
        level = {"level": "border"} if sky == "border" else {}
        made.append(Sky(order=int("plane" in kinds), **level))
    return made


def _values(scene: pathlib.Path) -> dict[str, float] | None:
    """Where a scene's file says to begin."""
    if not scene.is_file():
        raise ValueError(f"There is no file {str(scene)!r} to load a scene from. Give another --scene.")
    values = document(scene).get("values")
    if values is not None and not isinstance(values, dict):
        raise ValueError(
            f"{scene}: 'values' must be a mapping from parameters to numbers. Correct it, or leave it out."
        )
    return values or None


def _beside(options: argparse.Namespace) -> list[dict[str, Any]]:
    """The images that a run.yaml beside the scene names."""
    made = options.scene.parent / RUN
    if not made.is_file():
        raise ValueError(f"There are no images to fit: there is no {RUN} beside {options.scene} that names them. Name the FITS files.")
    given_ = {"--estimate-noise": options.estimate_noise}
    given_ |= {f"--{k.replace('_', '-')}": getattr(options, k) is not None for k in ("bands", "names", "zeropoint", "pixel_scale", "bad_bits", *given.COMPANIONS)}
    if any(given_.values()):
        said = " and ".join(k for k, there in given_.items() if there)
        raise ValueError(f"{said} must be for files on the command line; the images come from {made}. Name the files, or leave it out.")
    return images_told(made)
