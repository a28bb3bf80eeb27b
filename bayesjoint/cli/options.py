"""Options: what several commands take."""

from __future__ import annotations

import argparse
import pathlib
from typing import Any

import shtab

from bayesjoint.cli.files import beta

__all__ = ["check_sampling", "command", "sampling", "speech", "told"]


def command(commands: Any, name: str, run: Any, help: str, description: str, epilog: str) -> argparse.ArgumentParser:
    """Add a command that calls `run`; its description and examples stand as they are written."""
    made = commands.add_parser(name, help=help, description=description, epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.set_defaults(run=run)
    return made


def speech(parser: argparse.ArgumentParser, quiet: str = "no warnings, no words") -> None:
    """Add what a command says, and how."""
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output, for scripts, in place of words")
    parser.add_argument("--quiet", action="store_true", help=quiet)


def sampling(parser: argparse.ArgumentParser, draws: int, out: str) -> None:
    """Add how to sample, and where to write."""
    parser.add_argument(
        "--sampler",
        choices=("nuts", "svi", "laplace", "none"),
        default="nuts",
        help="how to sample the posterior (default nuts; laplace: seconds; none: the fit alone)",
    )
    parser.add_argument("--draws", type=int, default=draws, help="draws a chain (default %(default)s)")
    parser.add_argument("--warmup", type=int, help="warm-up steps a chain (default: 30, and 100 where the posterior is far from Normal)")
    parser.add_argument("--chains", type=int, default=4, help="chains of nuts (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the random numbers (default %(default)s)")
    parser.add_argument(
        "--out", type=pathlib.Path, default=pathlib.Path(out), help=f"folder of the results (default {out}/)"
    ).complete = shtab.DIRECTORY
    parser.add_argument(
        "--checkpoint",
        type=pathlib.Path,
        help="folder in which nuts keeps its chains as they grow; a run that was stopped goes on from there (with --overwrite)",
    ).complete = shtab.DIRECTORY
    parser.add_argument("--overwrite", action="store_true", help="put the results in the place of an earlier run's in that folder")
    parser.add_argument("--strict", action="store_true", help="exit status 3 where the fit or the posterior has not converged")
    speech(parser, "no progress bars, no warnings, no summary")


def check_sampling(options: argparse.Namespace) -> None:
    """Refuse what sampling cannot do with, before anything is read.

    Raises
    ------
    ValueError
        For a number that is too small, or a checkpoint of what keeps none.
    """
    for name, least in (("draws", 1), ("chains", 1), ("warmup", 0), ("seed", 0)):
        if getattr(options, name) is not None and getattr(options, name) < least:
            raise ValueError(f"--{name} is to be at least {least}, and {getattr(options, name)} came.")
    if options.checkpoint is not None and options.sampler != "nuts":
        raise ValueError(f"--checkpoint is for --sampler nuts, and {options.sampler} came.")


def told(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Each file, with what the options say of it: arguments of `bayesjoint.Image.read`; none where no file is named.

    Raises
    ------
    ValueError
        For lists of another length than the files', and for words where numbers belong.
    """
    if options.psf not in ("file", "none"):
        beta(options.psf)
    if not options.files:
        return []
    out: list[dict[str, Any]] = [{"file": f} for f in options.files]
    for name, key, kind in (("bands", "band", str), ("zeropoint", "zeropoint", float), ("pixel_scale", "pixel_scale", float)):
        given = getattr(options, name)
        if given is None:
            continue
        option, values = f"--{name.replace('_', '-')}", [v.strip() for v in given.split(",")]
        if len(values) == 1 and kind is float:
            values *= len(out)
        if len(values) != len(out):
            raise ValueError(f"{option} is to name one a file, {len(out)} of them joined by commas, and {len(values)} came.")
        for one, value in zip(out, values, strict=True):
            try:
                one[key] = kind(value)
            except ValueError:
                raise ValueError(f"{option} takes numbers, and {value!r} came.") from None
    for one in out:
        if options.psf != "file":
            one["psf"] = None if options.psf == "none" else options.psf
        if options.estimate_noise:
            one["variance"] = "estimate"
    return out
