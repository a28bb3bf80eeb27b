"""Sampling and fitting: ours beside pysersic's NUTS and AstroPhot's Levenberg-Marquardt, one after another in one run.

usage: python benchmarks/sampling.py [--astrophot PYTHON] [--pysersic PYTHON] [--only PART ...] [--no-write]

Every task runs in a process of its own, alone. Times are wall time without imports, from images in memory to the result. All parts together,
with both peers, replace the tables in docs/benchmarks.md; a part alone is only printed. It takes some twenty minutes on two cores:
let nothing else run.
"""

import argparse
import sys

import numpy as np
from cases import DATA
from measure import by_site, compared, diagnosed, moments, run, run_drawing
from page import circumstances, table, write

REPEATS = 3


def gal1(peers):
    """One real galaxy: NUTS, the maximum, and both posteriors beside one another."""
    columns, posteriors = {}, {}
    if peers["pysersic"]:
        found, draws = run_drawing(peers["pysersic"], "drive_pysersic", "nuts")
        columns["pysersic"] = column(found["wall_s"], draws, found, run(peers["pysersic"], "drive_pysersic", "map"))
        posteriors["pysersic"] = draws
    found, draws = run_drawing(sys.executable, "drive_ours", "sample", "gal1")
    posteriors["ours"] = by_site(found["names"], draws["nuts"])
    columns["ours"] = our_column(found, draws)
    lines = ["## One galaxy, 121 x 121 pixels (HSC, gal1): NUTS", "", *beside(columns), *notes(found)]
    if peers["pysersic"]:
        a, b, off = moments(posteriors["pysersic"]), moments(posteriors["ours"]), compared(posteriors["pysersic"], posteriors["ours"])
        rows = [(f"`{s}`", *(f"{v:.6g}" for v in (*b[s], *a[s])), f"{off[s][0]:+.2f}", f"{off[s][1]:.3f}") for s in b]
        lines += ["", "pysersic's posterior by our sites; difference of the means in units of our standard deviation:", ""]
        lines += table(("site", "mean, ours", "sd, ours", "mean, pysersic", "sd, pysersic", "difference / sd", "sd ratio"), rows)
    return lines + approximations(found, draws, {k: float(c["bulk ESS / s"]) for k, c in columns.items()})


def our_column(found, draws):
    maximum = {"first_s": found["fit_s"], "warm_s": found["warm_fit_s"]}
    return column(found["wall_s"], by_site(found["names"], draws["nuts"]), found["nuts"], maximum)


def column(wall, draws, found, maximum):
    """Figures of one sampler's run, by what they are."""
    d = diagnosed(draws)
    chains, count = next(iter(draws.values())).shape
    return {
        "images to draws, s": f"{wall:.1f}",
        "chains x draws": f"{chains} x {count}",
        "smallest bulk ESS": f"{d['bulk']:.0f}",
        "smallest tail ESS": f"{d['tail']:.0f}",
        "bulk ESS / s": f"{d['bulk'] / wall:.2f}",
        "gradients an effective draw": f"{found['gradients'] / d['bulk']:.1f}",
        "the same without warm-up": f"{found['drawing'] / d['bulk']:.1f}",
        "largest R-hat": f"{d['r_hat']:.4f}",
        "divergences": str(found["divergences"]),
        "images to the maximum, s": f"{maximum['first_s']:.2f}",
        "again in its process, s": f"{maximum['warm_s']:.2f}",
    }


BETTER = {
    "bulk ESS / s": 1,
    "gradients an effective draw": -1,
    "the same without warm-up": -1,
    "images to the maximum, s": -1,
    "again in its process, s": -1,
}
"""Figures that compare, and whether more is better or less."""


def beside(columns):
    """A row a figure, a column a code; with a peer also the factor by which ours is better."""
    rows = [(key, *(c[key] for c in columns.values())) for key in columns["ours"]]
    if len(columns) == 1:
        return table(("", "ours"), rows)
    numbers = {key: [float(c[key]) for c in columns.values()] for key in BETTER}
    factors = {key: f"{(ours / peer) ** BETTER[key]:.1f}" for key, (peer, ours) in numbers.items()}
    return table(("", *columns, "factor"), [(*row, factors.get(row[0], "")) for row in rows])


def notes(found):
    said = [] if found["converged"] else ["The fit did not converge."]
    said += [f"Not to be trusted: {r}" for r in found["nuts"]["reasons"]]
    return ["", " ".join(said)] if said else []


def approximations(found, draws, rates):
    """Laplace and SVI against NUTS of the same scene, and their effective draws a second beside the `rates` of NUTS."""
    nuts = by_site(found["names"], draws["nuts"])
    rows = []
    for name, f in found["approximations"].items():
        ours = by_site(found["names"], draws[name])
        off, ess = compared(ours, nuts), diagnosed(ours)["bulk"]
        site = max(off, key=lambda s: abs(off[s][0]))
        wide = max(off, key=lambda s: abs(np.log(off[s][1])))
        size = draws[name].shape[0] * draws[name].shape[1]
        wall = found["fit_s"] + f["seconds"]
        where = f"{off[site][0]:+.3f} (`{site}`)", f"{off[wide][1]:.3f} (`{wide}`)"
        rate = f"{ess / wall:.1f}", *(f"{ess / wall / r:.1f}" for r in rates.values())
        rows.append((name, f"{wall:.1f}", size, f["evaluations"], f"{f['k_hat']:.2f}", f"{ess:.0f}", *rate, *where))
    ess = diagnosed(nuts)
    mean, sd = np.sqrt(1 / ess["bulk"] + 1 / size), np.sqrt(0.5 / ess["sd"] + 0.5 / size)
    lines = [
        "",
        f"Ours by way of the fit, against our NUTS, worst site (finite draws alone make about {mean:.2f} sd in a mean and {sd:.2f} in a ratio):",
        "",
    ]
    times = (f"times {'our' if k == 'ours' else k + chr(39) + 's'} NUTS" for k in rates)
    header = ("", "images to draws, s", "draws", "densities", "k-hat", "smallest bulk ESS", "bulk ESS / s", *times)
    return lines + table((*header, "difference of means / sd", "sd ratio"), rows)


def lm(case, title, peers):
    """Automatic start and LM, alternately in fresh processes; medians."""
    tasks = {"ours": (sys.executable, "drive_ours", "fit", case)}
    if peers["AstroPhot"]:
        tasks = {"AstroPhot": (peers["AstroPhot"], "drive_astrophot", case)} | tasks
    found = {k: [] for k in tasks}
    for _ in range(REPEATS):
        for k, task in tasks.items():
            found[k].append(run(*task))
    rows, times = [], {}
    for k, f in found.items():
        times[k] = {t: float(np.median([one[t] for one in f])) for t in ("first_s", "warm_s")}
        last, z = f[-1], f[-1]["worst"]
        ended = last.get("message") or ("success" if last["converged"] else "not converged")
        seconds = (f"{t:.2f}" for t in times[k].values())
        rows.append((k, *seconds, last["iterations"], ended, last["parameters"], f"{last['chi2']:.2f}", f"{z['z']:.2f} (`{z['site']}`)"))
    if peers["AstroPhot"]:
        factors = (f"{times['AstroPhot'][t] / times['ours'][t]:.2f}" for t in ("first_s", "warm_s"))
        rows.append(("ratio", *factors, "", "", "", f"{found['AstroPhot'][-1]['chi2'] / found['ours'][-1]['chi2']:.5f}", ""))
    header = ("", "first in its process, s", "again, s", "iterations", "ended", "parameters", "chi2", "farthest from the truth / error")
    said = f"Images in memory to convergence, median of {REPEATS} processes each, alternately. Ours fits a sky level an image as well."
    return [f"## {title}: automatic start and LM", "", said, "", *table(header, rows)]


def leda(peers):
    """Three images jointly: NUTS, and what approximates it."""
    found, draws = run_drawing(sys.executable, "drive_ours", "sample", "leda")
    column = our_column(found, draws)
    lines = ["## Three images jointly (sim/leda): NUTS", "", *beside({"ours": column}), *notes(found)]
    return lines + approximations(found, draws, {"ours": float(column["bulk ESS / s"])})


PARTS = {
    "gal1": gal1,
    "leda-lm": lambda peers: lm("leda", "Three images jointly (sim/leda)", peers),
    "group-lm": lambda peers: lm("group", "Four overlapping galaxies in three bands, from rough places (sim/group)", peers),
    "supernova-lm": lambda peers: lm("supernova", "A supernova on its host, eight epochs (sim/supernova)", peers),
    "leda": leda,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--astrophot", help="interpreter of an environment made from benchmarks/astrophot.txt")
    parser.add_argument("--pysersic", help="interpreter of an environment made from benchmarks/pysersic.txt")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="parts to run, printed only")
    parser.add_argument("--no-write", action="store_true", help="leave docs/benchmarks.md as it is")
    options = parser.parse_args()
    if not (DATA / "sim").is_dir():
        print(f"The images are not at {DATA}: set BAYESJOINT_DATA.")
        return
    peers = {"AstroPhot": options.astrophot, "pysersic": options.pysersic}
    command = " ".join(["python benchmarks/sampling.py", *(f"--{k.lower()} PYTHON" for k, v in peers.items() if v)])
    lines = circumstances(command, {"bayesjoint": sys.executable, **peers})
    print("\n".join(lines), flush=True)
    for part in options.only:
        found = ["", *PARTS[part](peers)]
        print("\n".join(found), flush=True)
        lines += found
    if all(peers.values()) and set(options.only) == set(PARTS) and not options.no_write:
        write(lines)


if __name__ == "__main__":
    main()
