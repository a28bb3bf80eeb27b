"""Command line: ``bayesjoint demo``, ``bayesjoint fit A.fits B.fits ...``, ``bayesjoint report RUN/``, ``bayesjoint info A.fits``."""

from __future__ import annotations

import argparse
import json
import logging
import pathlib
import shlex
import sys
import time
from collections.abc import Sequence
from typing import Any

from bayesjoint import __version__

__all__ = ["main"]

FIT_HELP = """\
Fit several FITS images of one object at once and sample the joint posterior.

Each image needs its noise (extension VAR, ERR, IVAR or WHT) and a celestial WCS or PIXSCALE; MASK, PSF and MAGZERO are used
where they are there. The model is a sum of sersic, point, sky and plane: 'sersic+sky' (default), 'sersic+point+sky' (the point
shares the galaxy's centre), 'sersic+sersic+sky' (bulge and disc of one centre). Structure is shared by all images; every band
has a flux of its own, every image a sky.

example:
  bayesjoint fit KiDS_r.fits SDSS_r.fits --bands KiDS_r,SDSS_r --sampler nuts --out run/
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status (2 for bad input, with one sentence on standard error)."""
    parser = _parser()
    options = parser.parse_args(argv)
    options.arguments = None if argv is None else list(argv)
    logging.basicConfig(level=logging.ERROR if options.quiet else logging.WARNING, format="%(message)s")
    try:
        return options.run(options)
    except (ValueError, TypeError, OSError) as e:
        message = " ".join(str(e).split())
        print(f"bayesjoint: {message}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("bayesjoint: stopped.", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bayesjoint", description="Bayesian joint modelling of astronomical images.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="command")
    demo = commands.add_parser(
        "demo",
        help="simulate three bands of one galaxy, fit them jointly, write the results",
        description="Simulate three bands of one galaxy, fit them jointly, and write the results.",
    )
    _sampling(demo, draws=400)
    demo.add_argument("--out", type=pathlib.Path, default=pathlib.Path("demo"), help="folder of the results (default demo/)")
    demo.set_defaults(run=_demo)

    fit = commands.add_parser("fit", help="fit FITS images jointly", description=FIT_HELP, formatter_class=argparse.RawDescriptionHelpFormatter)
    _sampling(fit, draws=1000)
    fit.add_argument("files", nargs="+", metavar="FILE.fits", help="images of one patch of sky")
    fit.add_argument("--model", default="sersic+sky", help="components, joined by + (default sersic+sky)")
    fit.add_argument("--bands", help="band of each file, in order, joined by commas (default: the header's BAND, or the file's name)")
    fit.add_argument("--psf", choices=("file", "none"), default="file", help="none: ignore the files' PSF")
    fit.add_argument("--zeropoint", type=float, help="AB magnitude of one unit, for all files")
    fit.add_argument("--pixel-scale", type=float, help="arcsec per pixel, for files without a WCS")
    fit.add_argument("--estimate-noise", action="store_true", help="measure the noise from the pixels instead of reading it")
    fit.add_argument("--out", type=pathlib.Path, default=pathlib.Path("run"), help="folder of the results (default run/)")
    fit.set_defaults(run=_fit)

    page = commands.add_parser(
        "report",
        help="one HTML page of a run",
        description="Write RUN/report.html, one page that needs nothing else: verdicts, parameters, pictures, how to do it again, what to cite.",
    )
    page.add_argument("folder", type=pathlib.Path, metavar="RUN", help="what demo or fit wrote; the images are to be where they were")
    page.add_argument("--out", type=pathlib.Path, help="where to write it (default RUN/report.html)")
    page.add_argument("--quiet", action="store_true", help="no warnings, no words")
    page.set_defaults(run=_report)

    info = commands.add_parser(
        "info",
        help="what a FITS file is taken for",
        description="Say what a FITS file is taken for: shape, scale, noise, mask, PSF, zeropoint; what is missing is said as in a fit.",
    )
    info.add_argument("files", nargs="+", metavar="FILE.fits", help="images")
    info.add_argument("--json", action="store_true", help="as JSON, for scripts")
    info.add_argument("--quiet", action="store_true", help="no warnings")
    info.set_defaults(run=_info)
    return parser


def _sampling(parser: argparse.ArgumentParser, draws: int) -> None:
    parser.add_argument(
        "--sampler",
        choices=("nuts", "svi", "laplace", "none"),
        default="nuts",
        help="how to sample the posterior (default nuts; none: the fit alone)",
    )
    parser.add_argument("--draws", type=int, default=draws, help="draws a chain (default %(default)s)")
    parser.add_argument("--warmup", type=int, help="warm-up steps a chain (default: 30, and 100 where the posterior is far from Normal)")
    parser.add_argument("--chains", type=int, default=4, help="chains (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the random numbers (default %(default)s)")
    parser.add_argument("--quiet", action="store_true", help="no progress bars, no warnings, no summary")


def components(model: str) -> list[Any]:
    """Components of a model such as ``sersic+point+sky``.

    Raises
    ------
    ValueError
        For an unknown component, or none that shines.
    """
    from bayesjoint.sky import Point, Sersic, Sky, start

    kinds = [k.strip().lower() for k in model.split("+")]
    unknown = [k for k in kinds if k not in ("sersic", "point", "sky", "plane")]
    if (
        unknown
        or not {"sersic", "point"} & set(kinds)
        or kinds.count("sersic") > 2
        or kinds.count("point") > 1
        or ("sky" in kinds) + ("plane" in kinds) > 1
    ):
        raise ValueError(f"The model is to be made of sersic (once or twice), point, and sky or plane, joined by '+', and {model!r} came.")
    made: list[Any] = []
    if kinds.count("sersic") == 2:
        bulge = Sersic("bulge", n=start(3.0))
        made += [bulge, Sersic("disc", x=bulge.x, y=bulge.y, n=start(1.0))]
    elif "sersic" in kinds:
        made.append(Sersic("galaxy"))
    if "point" in kinds:
        made.append(Point("point", x=made[0].x, y=made[0].y) if made else Point("point"))
    if "sky" in kinds or "plane" in kinds:
        made.append(Sky(order=int("plane" in kinds)))
    return made


def _fit(options: argparse.Namespace) -> int:
    bands = None if options.bands is None else [b.strip() for b in options.bands.split(",")]
    if bands is not None and len(bands) != len(options.files):
        raise ValueError(f"--bands is to name one band a file, {len(options.files)} of them, and {len(bands)} came.")
    overrides: dict[str, Any] = {}
    if options.psf == "none":
        overrides["psf"] = None
    if options.zeropoint is not None:
        overrides["zeropoint"] = options.zeropoint
    if options.pixel_scale is not None:
        overrides["pixel_scale"] = options.pixel_scale
    if options.estimate_noise:
        overrides["variance"] = "estimate"
    parts, read = components(options.model), {"files": options.files, "bands": bands, "overrides": overrides}
    return _run(parts, _images(**read), options, read)


def _images(files: list[str], bands: list[str] | None, overrides: dict[str, Any]) -> list[Any]:
    """Images of files, of different names."""
    from bayesjoint.images import Image

    images = []
    for k, path in enumerate(files):
        own = {} if bands is None else {"band": bands[k]}
        try:
            images.append(Image.read(path, **overrides, **own))
        except ValueError as e:
            raise ValueError(f"{path}: {e}") from e
    names = [im.name for im in images]
    for k, path in enumerate(files):
        if names.count(names[k]) > 1 and len(set(files)) == len(files):  # one name in different folders
            images[k] = images[k].replace(name=f"{pathlib.Path(path).resolve().parent.name}_{names[k]}")
    return images


def _demo(options: argparse.Namespace) -> int:
    from bayesjoint.examples import three_bands

    images, truth = three_bands(seed=options.seed)
    options.out.mkdir(parents=True, exist_ok=True)
    for im in images:
        im.write(options.out / f"{im.name}.fits", overwrite=True)
    files = [str(options.out / f"{im.name}.fits") for im in images]
    status = _run(components("sersic+sky"), images, options, {"files": files, "bands": None, "overrides": {}}, truth)
    if not options.quiet:
        print(f"The same from these files:  bayesjoint fit {' '.join(files)} --out run/")
        print(f"One page of it all:         bayesjoint report {options.out}/")
    return status


def _report(options: argparse.Namespace) -> int:
    import yaml

    from bayesjoint.posterior import load
    from bayesjoint.report import report
    from bayesjoint.scene import Scene

    made, saved = (options.folder / n for n in ("run.yaml", "scene.yaml"))
    if not (made.is_file() and saved.is_file()):
        raise ValueError(f"{options.folder} is to be a folder that bayesjoint fit or demo wrote, and it holds no {made.name} and {saved.name}.")
    run = yaml.safe_load(made.read_text())
    if not isinstance(run, dict) or not {"files", "bands", "overrides", "command"} <= run.keys():
        raise ValueError(f"{made} is not what bayesjoint fit wrote there: run it again.")
    scene = Scene.load(saved, _images(run["files"], run["bands"], run["overrides"]))
    best = scene.fit(start=yaml.safe_load(saved.read_text())["values"], progress=False)
    post = None
    if (options.folder / "posterior.nc").is_file():
        post = load(options.folder / "posterior.nc")
        post.scene = best.scene
    out = options.out or options.folder / "report.html"
    report(post or best, out, fit=best, command=run["command"])
    if not options.quiet:
        print(f"{out}: {out.stat().st_size / 1e6:.1f} MB.")
    return 0


def _info(options: argparse.Namespace) -> int:
    found = []
    for path, im in zip(options.files, _images(options.files, None, {}), strict=True):
        middle = im.placement.sky_middle
        found.append(
            {
                "file": path, "name": im.name, "band": im.band, "shape": list(im.shape), "pixel_scale_arcsec": im.pixel_scale,
                "ra_deg": None if middle is None else float(middle.ra.deg), "dec_deg": None if middle is None else float(middle.dec.deg),
                "zeropoint_ab": im.zeropoint, "psf_fwhm_arcsec": None if im.psf is None else im.psf.fwhm * im.pixel_scale,
                "sigma": im.typical_sigma, "masked": int(im.mask.sum()), "epoch_mjd": im.epoch, "gain": im.gain,
            }
        )  # fmt: skip
    if options.json:
        print(json.dumps(found, indent=2))
        return 0
    for one in found:
        print(one.pop("file"))
        for key, value in one.items():
            shown = f"{value:.6g}" if isinstance(value, float) else value
            print(f"  {key:<20} {'not known' if value is None else shown}")
    return 0


def _run(parts: list[Any], images: list[Any], options: argparse.Namespace, read: dict[str, Any], truth: dict[str, float] | None = None) -> int:
    import yaml

    from bayesjoint.scene import Scene

    out, loud = options.out, not options.quiet
    for name, least in (("draws", 1), ("chains", 1), ("warmup", 0), ("seed", 0)):
        if getattr(options, name) is not None and getattr(options, name) < least:
            raise ValueError(f"--{name} is to be at least {least}, and {getattr(options, name)} came.")
    progress = loud and sys.stderr.isatty()
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out is to be a folder, and {str(out)!r} is a file.")
    out.mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()
    scene = Scene(parts, images)
    best = scene.fit(progress=progress)
    best.save(out / "scene.yaml")
    again = {
        "command": shlex.join(["bayesjoint", *(options.arguments or sys.argv[1:])]),
        **read,
        "files": [str(pathlib.Path(f).resolve()) for f in read["files"]],
    }
    (out / "run.yaml").write_text(yaml.safe_dump(again, sort_keys=False))
    _savefig(best.plot(), out / "residuals.png")
    if loud:
        print(best)
    if options.sampler == "none":
        best.table().write(out / "table.ecsv", overwrite=True)
        if loud:
            print(f"Done in {time.perf_counter() - began:.1f} s: {_listing(out)}")
        return 0
    if options.sampler == "nuts":
        post = best.nuts(draws=options.draws, warmup=options.warmup, chains=options.chains, seed=options.seed, progress=progress)
    elif options.sampler == "svi":
        post = best.svi(draws=options.draws, seed=options.seed, progress=progress)
    else:
        post = best.laplace(draws=options.draws, seed=options.seed)
    post.save(out / "posterior.nc")
    post.table().write(out / "table.ecsv", overwrite=True)
    _savefig(post.corner(truths=truth), out / "corner.png")
    if loud:
        print(f"\n{post}")
        print(post.summary())
        print(f"\nDone in {time.perf_counter() - began:.1f} s: {_listing(out)}")
    return 0


def _savefig(figure: Any, path: pathlib.Path) -> None:
    figure.savefig(path, dpi=90, bbox_inches="tight")


def _listing(out: pathlib.Path) -> str:
    return f"{out}/ holds " + ", ".join(
        n for n in ("table.ecsv", "posterior.nc", "scene.yaml", "run.yaml", "residuals.png", "corner.png") if (out / n).exists()
    )


if __name__ == "__main__":
    sys.exit(main())
