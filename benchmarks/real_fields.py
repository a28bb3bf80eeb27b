"""Real fields: fits and NUTS posteriors against independent values, as one table.

usage: python benchmarks/real_fields.py [--draws N]
"""

import argparse
import csv
import os
import pathlib
import time

import numpy as np

import bayesjoint as bj

ROOT = pathlib.Path(__file__).resolve().parents[1]
DATA = pathlib.Path(os.environ.get("BAYESJOINT_DATA", ROOT.parent / "shared" / "data"))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--draws", type=int, default=500)
    draws = parser.parse_args().draws
    lines = (DATA / "reference/check_gama_single_sersic.csv").read_text().splitlines()
    print("galaxy   images      s   chi2r   dmag  dr_eff    dPA      dq  n (ref)          R-hat  min ESS  div  grad/ESS  NUTS s")
    for ref in csv.DictReader(line for line in lines if not line.startswith("#")):
        for files in (("KiDS_r",), ("KiDS_r", "SDSS_r")):
            images = [bj.Image.read(DATA / f"real/gama_{ref['cataid']}/{f}.fits", band=f) for f in files]
            t = time.perf_counter()
            best = bj.Scene([bj.Sersic("g"), bj.Sky()], images).fit(progress=False)
            fit_s, v = time.perf_counter() - t, best.values
            t = time.perf_counter()
            post = best.nuts(draws=draws, chains=4, seed=1, progress=False)
            nuts_s, s = time.perf_counter() - t, post.summary()
            ess = s["ess_bulk"].min()
            dpa = (v["g.pa"] - float(ref["pa_deg_ccw_from_y"]) + 90) % 180 - 90
            print(
                f"{ref['cataid']}   {len(files)}      {fit_s:5.1f}  {best.chi2 / best.dof:6.2f} {31.4 - 2.5 * np.log10(v['g.flux[KiDS_r]']) - float(ref['mag_r_ab']):+6.3f} {100 * (v['g.r_eff'] / float(ref['re_arcsec']) - 1):+6.1f}% "
                f"{dpa:+6.2f} {v['g.q'] - float(ref['q']):+7.4f}  {v['g.n']:.3f} ({float(ref['n']):.3f})  {s['r_hat'].max():6.4f}  {ess:7.0f}  {int(post._groups['sample_stats']['diverging'].sum()):3d}  {post.info['gradients'] / ess:8.2f}  {nuts_s:6.1f}"
                + ("" if best.converged and post.converged else "  NOT converged: " + " ".join([best.message, *post.reasons])),
                flush=True,
            )


if __name__ == "__main__":
    main()
