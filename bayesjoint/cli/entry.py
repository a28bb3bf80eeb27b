"""Entry: what ``bayesjoint`` on the command line calls."""

from __future__ import annotations

import argparse
import logging
import os
import shlex
import sys
from collections.abc import Sequence

import shtab

from bayesjoint import __version__
from bayesjoint.cli import demo, fit, info, plot, report

__all__ = ["main", "parser"]

DESCRIPTION = "Bayesian joint modelling of astronomical images: several images of one patch of sky in, one joint posterior out."
EPILOG = """\
examples:
  bayesjoint demo                                     simulate three bands, fit them, see what comes out
  bayesjoint info r.fits i.fits                       what files are taken for, and what they lack
  bayesjoint fit r.fits i.fits --out run/             fit one galaxy in both at once, and sample
  bayesjoint fit --scene scene.yaml r.fits i.fits     the same with a model of your own
  bayesjoint plot run/ --what profile corner          pictures of a run
  bayesjoint report run/                              one HTML page of it

'bayesjoint COMMAND --help' says more of each. Tab completion: eval "$(bayesjoint --print-completion bash)" in ~/.bashrc (zsh, tcsh: alike).

exit status:
  0  done;  2  bad input, one sentence on standard error;  3  the fit has not converged (with --strict: nor the posterior);  130  stopped by Ctrl-C
"""


def parser() -> argparse.ArgumentParser:
    """All commands with their options."""
    made = argparse.ArgumentParser(prog="bayesjoint", description=DESCRIPTION, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--version", action="version", version=__version__)
    shtab.add_argument_to(made, ["--print-completion"], help="print the script that completes commands and options in this shell")
    commands = made.add_subparsers(required=True, metavar="COMMAND", title="commands")
    for command in (demo, fit, plot, report, info):
        command.add(commands)
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments; default, those of the process.

    Returns
    -------
    int
        The exit status: 0, or 2 for bad input (with one sentence on standard error), 3 for a fit that did not converge, and for a posterior
        where ``--strict`` asked.
    """
    options = parser().parse_args(argv)
    options.command = shlex.join(["bayesjoint", *(sys.argv[1:] if argv is None else argv)])
    logging.basicConfig(level=logging.ERROR if options.quiet else logging.WARNING, format="%(message)s")
    try:
        status = options.run(options)
        sys.stdout.flush()  # what is in the buffer may find nobody, too
        return status
    except BrokenPipeError:  # nobody reads on: what is left in the buffer has nowhere to go
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (ValueError, TypeError, OSError, ImportError) as e:
        message = " ".join(str(e).split())
        print(f"bayesjoint: {message}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("bayesjoint: stopped.", file=sys.stderr)
        return 130
