"""Calibration of a two-band scene: ranks of truths by laplace and NUTS, at high and low signal-to-noise, and with faults planted.

usage: python benchmarks/calibrate.py [--simulations N] [--sampler laplace nuts] [--snr high low] [--faults none sigma psf flux]
                                      [--write] [--resume] [--workers N]

--write puts the table into docs/calibration.md and the picture beside it; --resume takes runs that build/calibrate holds already.
"""

import argparse
import math
import pathlib
import time

import numpy as np
import pyro.distributions as dist

import bayesjoint as bj

ROOT = pathlib.Path(__file__).resolve().parents[1]
RUNS, PAGE, PICTURE = ROOT / "build" / "calibrate", ROOT / "docs" / "calibration.md", ROOT / "docs" / "calibration.png"
BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"
SNR = {"high": 350.0, "low": 24.0}
FAULTS = {"none": "none", "sigma": "noise σ × 1.1", "psf": "PSF FWHM × 1.1", "flux": "flux × 1.1"}
COLUMNS = (
    "S/N",
    "sampler",
    "fault",
    "failed",
    "doubtful",
    "least uniform p",
    "mean square",
    "p",
    "T²",
    "p",
    "coverage 50, 80, 95 %",
    "calibrated",
    "first 40",
    "s",
)


def images(fwhm=1.0, sigma=1.0):
    """Two empty images of one field of 12 arcsec, of different pixels, PSF, zeropoint and noise; the PSFs and noises times a factor."""
    g, i = bj.PSF.gaussian(1.1 * fwhm, 0.3), bj.PSF.gaussian(1.9 * fwhm, 0.5)
    return [
        bj.Image(np.zeros((40, 40)), sigma=1.0 * sigma, psf=g, pixel_scale=0.3, zeropoint=25.0, band="g"),
        bj.Image(np.zeros((24, 24)), sigma=0.75 * sigma, psf=i, pixel_scale=0.5, zeropoint=24.0, band="i"),
    ]


def scene(snr, **factors):
    """A Sérsic galaxy and a sky; `snr` is the root of the sum of (model / noise)² of the g image at the priors' medians (0.69 of it in i)."""

    def made(flux):
        place, flux = dist.Normal(0.0, 0.3), dist.LogNormal(math.log(flux), 0.25)
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


def row(level, sampler, fault, result, seconds):
    """One line of the table."""
    v = bj.calibrate.check(result)
    part = 40 if len(result) > 40 else len(result)
    early = bj.calibrate.check(result.first(part))
    least = v.table["uniform_p"].idxmin()
    cover = ", ".join(f"{100 * v.table[f'cover_{c}'].iloc[:-1].mean():.0f}" for c in (50, 80, 95))
    p = v.pooled
    words = ("yes" if v.calibrated else "NO", "yes" if early.calibrated else "NO")
    cells = (
        level, sampler, FAULTS[fault], int(result.failed.sum()), int(result.doubtful.sum()), f"{v.table['uniform_p'].min():.2g} ({least})",
        f"{p['variance']:.3f} ± {p['variance_sd']:.3f}", f"{p['variance_p']:.2g}", f"{p['means']:.2f}", f"{p['means_p']:.2g}", cover, *words, f"{seconds:.0f}",
    )  # fmt: skip
    return "| " + " | ".join(str(c) for c in cells) + " |", v


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulations", type=int, default=200)
    parser.add_argument("--sampler", nargs="+", choices=("laplace", "nuts"), default=["laplace", "nuts"])
    parser.add_argument("--snr", nargs="+", choices=tuple(SNR), default=list(SNR))
    parser.add_argument("--faults", nargs="+", choices=tuple(FAULTS), default=list(FAULTS), help="planted with laplace alone")
    parser.add_argument("--workers", type=int, default=None)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--resume", action="store_true")
    options = parser.parse_args()
    RUNS.mkdir(parents=True, exist_ok=True)
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    print(*lines, sep="\n", flush=True)
    said, drawn = [], None
    for fault in options.faults:
        for sampler in options.sampler if fault == "none" else [s for s in options.sampler if s == "laplace"]:
            for level in options.snr:
                path = RUNS / f"{level}_{sampler}_{fault}_{options.simulations}.nc"
                if options.resume and path.exists():
                    result = bj.calibrate.Calibration.load(path)
                else:
                    begun = time.perf_counter()
                    draws = 250 if fault != "none" else None  # a planted fault needs no fine ranks
                    result = bj.calibrate.sbc(
                        scene(SNR[level]),
                        simulations=options.simulations,
                        sampler=sampler,
                        draws=draws,
                        seed=1,
                        simulate=planted(fault, SNR[level]),
                        workers=options.workers,
                    )
                    result.info["seconds"] = time.perf_counter() - begun
                    result.save(path)
                line, verdict = row(level, sampler, fault, result, result.info["seconds"])
                print(line, flush=True)
                lines.append(line)
                said += [f"{level} S/N, {sampler}, {FAULTS[fault]}: {r}" for r in verdict.reasons[:4]]
                if drawn is None:
                    drawn = result
    print(*said, sep="\n")
    if options.write:
        figure = bj.calibrate.plot(drawn)[0].figure
        figure.savefig(PICTURE, dpi=90)
        text = PAGE.read_text()
        head, rest = text.split(BEGIN)
        said = "\n".join(f"* {s}" for s in said)
        command = f"`python benchmarks/calibrate.py --simulations {options.simulations} --write`"
        PAGE.write_text(f"{head}{BEGIN}\n{command}\n\n" + "\n".join(lines) + f"\n\n{said}\n{END}{rest.split(END)[1]}")


if __name__ == "__main__":
    main()
