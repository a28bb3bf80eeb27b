"""Calibration of a two-band scene: ranks of truths by laplace and NUTS, at high and low signal-to-noise, and with faults planted.

usage: python benchmarks/calibrate.py [--simulations N] [--sampler laplace nuts] [--snr high low] [--priors lognormal normal]
                                      [--faults none sigma psf flux] [--write] [--resume] [--workers N]

With Normal priors on fluxes both samplers integrate fluxes and skies out; with LogNormal ones laplace integrates the skies out, nuts nothing.

--write puts the table into docs/calibration.md and the picture beside it; --resume takes runs that build/calibrate holds already.
"""

import argparse
import math
import pathlib
import sys
import time

import numpy as np
import pyro.distributions as dist

import bayesjoint as bj

ROOT = pathlib.Path(__file__).resolve().parents[1]
RUNS, PAGE, PICTURE = ROOT / "build" / "calibrate", ROOT / "docs" / "calibration.md", ROOT / "docs" / "calibration.png"
BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"
SNR = {"high": 350.0, "low": 24.0}
FAULTS = {"none": "none", "sigma": "noise σ × 1.1", "psf": "PSF FWHM × 1.1", "flux": "flux × 1.1"}
SEEDS = {"high": 1, "low": 2}
COLUMNS = ("S/N", "sampler", "fluxes' priors", "fault", "failed", "doubtful", "least uniform p", "mean square", "T²", "log likelihood", "coverage", "calibrated", "first 40", "s")  # fmt: skip


def images(fwhm=1.0, sigma=1.0):
    """Two empty images of one field of 12 arcsec, of different pixels, PSF, zeropoint and noise; the PSFs and noises times a factor."""
    g, i = bj.PSF.gaussian(1.1 * fwhm, 0.3), bj.PSF.gaussian(1.9 * fwhm, 0.5)
    return [
        bj.Image(np.zeros((40, 40)), sigma=1.0 * sigma, psf=g, pixel_scale=0.3, zeropoint=25.0, band="g"),
        bj.Image(np.zeros((24, 24)), sigma=0.75 * sigma, psf=i, pixel_scale=0.5, zeropoint=24.0, band="i"),
    ]


def scene(snr, priors="lognormal", **factors):
    """A Sérsic galaxy and a sky; `snr` is the root of the sum of (model / noise)² of the g image at the priors' medians (0.69 of it in i)."""

    def made(flux):
        place, flux = dist.Normal(0.0, 0.3), dist.LogNormal(math.log(flux), 0.25) if priors == "lognormal" else dist.Normal(flux, 0.25 * flux)
        n, size = dist.LogNormal(math.log(1.5), 0.35), dist.LogNormal(math.log(1.2), 0.3)
        components = [bj.Sersic("galaxy", x=place, y=place, n=n, r_eff=size, flux=flux), bj.Sky(level=dist.Normal(0.0, 0.3))]
        return bj.Scene(components, images(**factors))

    unit = made(1.0)
    middle = {"galaxy.q": 0.5, "galaxy.pa": 30.0, "galaxy.n": 1.5, "galaxy.r_eff": 1.2, "galaxy.flux[g]": 1.0, "galaxy.flux[i]": 1.0}
    model = bj.Scene([bj.Sersic("galaxy"), bj.Sky()], images()).render(dict.fromkeys(unit.names, 0.0) | middle)["g"]
    return made(snr / np.sqrt((model**2).sum()))


def planted(fault, snr, factor=1.1):
    """Who makes the images: None for the scene itself, or a function that plants a fault."""
    if fault == "none":
        return None
    wrong = scene(snr, **{"sigma": {"sigma": factor}, "psf": {"fwhm": factor}, "flux": {}}[fault])

    def simulate(values, seed):
        values = {k: v * (factor if fault == "flux" and ".flux[" in k else 1.0) for k, v in values.items()}
        return wrong.replanned(values).simulate(values, seed)

    return simulate


def runs(options):
    """What is to be run: faults are planted with laplace alone, LogNormal priors and at high S/N, if that is among what was asked for."""
    for fault in options.faults:
        for sampler in options.sampler:
            for priors in options.priors:
                for level in options.snr:
                    if fault == "none" or (level, sampler, priors) == ("high", "laplace", "lognormal"):
                        yield level, sampler, priors, fault


def calibration(level, sampler, priors, fault, options):
    """Run one, or take it from an earlier run."""
    path = RUNS / f"{level}_{sampler}_{priors}_{fault}_{options.simulations}.nc"
    if options.resume and path.exists():
        return bj.calibrate.Calibration.load(path)
    more = {"draws": 250} if sampler == "laplace" else {"draws": 100, "marginalize": "auto"}
    begun, simulate = time.perf_counter(), planted(fault, SNR[level])
    result = bj.calibrate.sbc(
        scene(SNR[level], priors),
        simulations=options.simulations,
        sampler=sampler,
        seed=SEEDS[level],
        simulate=simulate,
        workers=options.workers,
        **more,
    )
    result.info["seconds"] = time.perf_counter() - begun
    result.save(path)
    return result


def row(level, sampler, priors, fault, result, verdict):
    """One line of the table."""
    t, p = verdict.table, verdict.pooled
    early = bj.calibrate.check(result.first(40))
    last = t.loc["log likelihood"]
    cells = (
        level, sampler, priors, FAULTS[fault], int(result.failed.sum()), int(result.doubtful.sum()),
        f"{t['uniform_p'].min():.2g} ({t['uniform_p'].idxmin()})", f"{p['variance']:.3f} ± {p['variance_sd']:.3f} (p {p['variance_p']:.2g})",
        f"{p['means']:.2f} (p {p['means_p']:.2g})", f"{last['mean']:+.2f} (p {last['mean_p']:.2g})",
        ", ".join(f"{100 * t[f'cover_{c}'].iloc[:-1].mean():.0f}" for c in (50, 80, 95)) + " %",
        *("yes" if v.calibrated else "NO" for v in (verdict, early)), f"{result.info['seconds']:.0f}",
    )  # fmt: skip
    return "| " + " | ".join(str(c) for c in cells) + " |"


def write(lines, said, drawn, simulations):
    """Put the table into the page, and the picture beside it."""
    bj.calibrate.plot(drawn)[0].figure.savefig(PICTURE, dpi=90)
    head, rest = PAGE.read_text().split(BEGIN)
    said = "\n".join(f"* {s}" for s in said)
    asked = " ".join(a for a in sys.argv[1:] if a != "--resume")
    command = f"`python benchmarks/calibrate.py {asked}`, {simulations} simulations a line:"
    PAGE.write_text(
        f"{head}{BEGIN}\n{command}\n\n" + "\n".join(lines) + f"\n\nWhat the check says of the faults:\n\n{said}\n{END}{rest.split(END)[1]}"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulations", type=int, default=200)
    parser.add_argument("--sampler", nargs="+", choices=("laplace", "nuts"), default=["laplace", "nuts"])
    parser.add_argument("--snr", nargs="+", choices=tuple(SNR), default=list(SNR))
    parser.add_argument("--priors", nargs="+", choices=("lognormal", "normal"), default=["lognormal", "normal"])
    parser.add_argument("--faults", nargs="+", choices=tuple(FAULTS), default=list(FAULTS))
    parser.add_argument("--workers", type=int, default=None)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--resume", action="store_true")
    options = parser.parse_args()
    RUNS.mkdir(parents=True, exist_ok=True)
    lines, said, drawn = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)], [], None
    print(*lines, sep="\n", flush=True)
    for which in runs(options):
        result = calibration(*which, options)
        verdict = bj.calibrate.check(result)
        lines.append(row(*which, result, verdict))
        print(lines[-1], flush=True)
        level, sampler, priors, fault = which
        said += [f"{level} S/N, {sampler}, {priors}, {FAULTS[fault]}: {r}" for r in verdict.reasons[:3]]
        drawn = result if drawn is None else drawn
    print(*said, sep="\n")
    if options.write:
        write(lines, said, drawn, options.simulations)


if __name__ == "__main__":
    main()
