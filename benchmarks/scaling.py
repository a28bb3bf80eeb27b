"""Time and memory of a Levenberg-Marquardt step as the number of sources grows: three images of 1000 x 1000 pixels, a window for each source.

usage: python benchmarks/scaling.py [--no-write] [--counts N ...]

Each run is in a process of its own; those of steps alternate between the counts, three rounds of them, and medians are given. A step is one linearisation (all derivatives and their products), its solution, and one trial with fluxes
and skies solved for. What does not grow with the sources (residuals and skies of three million pixels) is the fixed part: that of a fit by least
squares of the times against the counts, beside a scene of no source but its sky.
"""

import argparse
import json
import resource
import subprocess
import sys
import time

import numpy as np
from page import circumstances, table, write

import bayesjoint as bj
from bayesjoint.infer.lm import _Trial, linearise, solve

SIDE, SCALE = 1000, 0.3
COUNTS = (1, 10, 30, 100)
REPEATS, ROUNDS = 5, 3


def images():
    made = {"g": (1.0, 1.0), "r": (0.8, 1.2), "i": (0.9, 1.5)}
    return [
        bj.Image(np.zeros((SIDE, SIDE)), sigma=s, psf=bj.PSF.moffat(f, 3.0, SCALE), pixel_scale=SCALE, zeropoint=25.0, band=b)
        for b, (f, s) in made.items()
    ]


def scene(count):
    rng = np.random.default_rng(7)
    half = 0.45 * SIDE * SCALE
    x, y = rng.uniform(-half, half, (2, count))
    sources, values = [], {}
    for k in range(count):
        n, size = f"s{k}", float(np.exp(rng.normal(np.log(1.0), 0.3)))
        sources.append(
            bj.Sersic(n, position=(x[k], y[k]), window=10.0, **{p: bj.start(v) for p, v in (("n", 1.5), ("r_eff", size), ("q", 0.6), ("pa", 40.0))})
        )
        values |= {f"{n}.x": x[k], f"{n}.y": y[k], f"{n}.q": 0.6, f"{n}.pa": 40.0, f"{n}.n": 1.5, f"{n}.r_eff": size}
        values |= {f"{n}.flux[{b}]": 1e5 for b in "gri"}
    made = bj.Scene([*sources, bj.Sky()], images())
    values |= {f"sky.level[{b}]": 0.0 for b in "gri"}
    return made.with_images(made.simulate(values, 1)), values


def made_of(count):
    if count:
        return scene(count)
    return bj.Scene([bj.Sky()], images()), {f"sky.level[{b}]": 0.0 for b in "gri"}


def steps(count):
    """Seconds of a step."""
    made, values = made_of(count)
    z, times = made.unconstrain(values), []
    for _ in range(REPEATS + 1):
        t = time.perf_counter()
        state = linearise(made, z, True)
        _Trial(made, z, True)(z + 0 * solve(state.precision, state.gradient, 1e-3))
        times.append(time.perf_counter() - t)
    return {"step": float(np.median(times[1:]))}


def whole(count):
    """Seconds of the automatic fit, how it ended, and the most memory that the process held."""
    made, values = made_of(count)
    components, pixels = made.components, made.images
    del made
    t = time.perf_counter()
    best = bj.Scene(components, pixels).fit(progress=False)
    seconds = time.perf_counter() - t
    off = [(best.values[k] - v) / best.errors[k] for k, v in values.items()]
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {
        "fit": seconds,
        "iterations": len(best.history) - 1,
        "converged": best.converged,
        "gib": memory,
        "parameters": len(best.names),
        "rms": float(np.std(off)),
    }


def alone(part, count):
    out = subprocess.run([sys.executable, __file__, part, str(count)], capture_output=True, text=True, check=True).stdout
    return json.loads(out.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=int, nargs="+", default=list(COUNTS))
    parser.add_argument("--no-write", action="store_true")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--whole", type=int)
    options = parser.parse_args()
    for work, count in ((steps, options.steps), (whole, options.whole)):
        if count is not None:
            print(json.dumps(work(count)))
            return
    counts = (0, *options.counts)
    rounds = [{n: alone("--steps", n)["step"] for n in counts} for _ in range(ROUNDS)]
    found = {n: {"step": float(np.median([r[n] for r in rounds])), **alone("--whole", n)} for n in counts}
    print(rounds, found, flush=True)
    bare = found[0]["step"]
    rows = [
        (
            n,
            f["parameters"],
            f"{f['step']:.3f}",
            f"{1000 * (f['step'] - bare) / n:.2f}" if n else "",
            f"{f['gib']:.2f}",
            f"{f['fit']:.1f}",
            f["iterations"],
            "yes" if f["converged"] else "NO",
        )
        for n, f in found.items()
    ]
    lines = table(
        (
            "sources",
            "parameters",
            "a step, s",
            "a source above none, ms",
            "memory, GiB",
            "scene and fit from positions, s",
            "iterations",
            "converged",
        ),
        rows,
    )
    if 10 in found and 100 in found:
        each = {n: (found[n]["step"] - bare) / n for n in (10, 100)}
        lines += ["", f"A source at 100 takes {each[100] / each[10]:.2f} of what one takes at 10; the fixed part is {bare:.3f} s a step."]
    print(*lines, sep="\n")
    if not options.no_write:
        write([*circumstances("python benchmarks/scaling.py", {"bayesjoint": sys.executable}), "", *lines], "benchmarks/scaling.py")


if __name__ == "__main__":
    main()
