"""Images without a PSF beside the same with one: time of a gradient and of a fit, and the error of
the plan, of one Sersic and a sky in 121 x 121 pixels at a signal-to-noise of 200.

usage: python benchmarks/without_psf.py

Times are of one thread's own work (CPU seconds), so that what else runs counts for little.
"""

import logging
import time

import numpy as np
import torch

import bayesjoint as bj

SIZE, SNR, REPEATS = 121, 200.0, 25
CASES = ((1.0, 8.0, 0.6), (4.0, 8.0, 0.6), (2.5, 12.0, 0.15), (4.0, 3.0, 0.9))
"""Sersic index, half-light radius in pixels, axis ratio."""


def made(n, r_eff, q, psf):
    image = bj.Image(
        np.zeros((SIZE, SIZE)), sigma=1.0, psf=psf, pixel_scale=1.0, zeropoint=31.4, band="r"
    )
    truth = {"g.x": 0.3, "g.y": -0.4, "g.q": q, "g.pa": 30.0, "g.n": n, "g.r_eff": r_eff}
    truth |= {"g.flux[r]": 1.0, "sky.level[r]": 0.0}
    scene = bj.Scene([bj.Sersic("g"), bj.Sky()], image).replanned(truth)
    truth["g.flux[r]"] = SNR / np.linalg.norm(scene.render(truth)["r"])
    return scene.simulate(truth, 1)[0]


def measured(image):
    """Milliseconds of a gradient, seconds of scene and fit, and the error of the plan in sigma."""
    begun = time.process_time()
    best = bj.Scene([bj.Sersic("g"), bj.Sky()], image).fit(progress=False)
    seconds, times = time.process_time() - begun, []
    z = best.z.clone().requires_grad_(True)
    for _ in range(REPEATS):
        begun = time.process_time()
        torch.autograd.grad(best.scene.log_density(z), z)
        times.append(time.process_time() - begun)
    return 1e3 * float(np.median(times)), seconds, best.render_errors["r"]


def main():
    torch.set_num_threads(1)
    logging.getLogger("bayesjoint").setLevel(logging.ERROR)
    measured(made(1.0, 5.0, 0.7, None))  # what is imported and cached at first
    print("n    r_eff q     gradient, ms        scene and fit, s    plan's error, sigma")
    for case in CASES:
        a, b = (measured(made(*case, psf)) for psf in (bj.PSF.gaussian(3.5, 1.0), None))
        times = "    ".join(
            f"{x:5.2f} {y:5.2f} = {y / x:4.2f}" for x, y in zip(a[:2], b[:2], strict=True)
        )
        print(f"{case[0]:3.1f} {case[1]:5.1f} {case[2]:5.2f}   {times}    {a[2]:.1e} {b[2]:.1e}")


if __name__ == "__main__":
    main()
