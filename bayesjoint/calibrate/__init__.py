"""Calibration: whether a scene's posteriors hold the truth as often as they say, found by simulation.

Run, check, plot: `sbc` draws truths from the priors, simulates images, fits, samples, and ranks each truth among its draws; `check` says in
words whether the ranks are uniform, as they are where everything is right; `plot` shows them.
"""

from bayesjoint.calibrate.calibration import Calibration
from bayesjoint.calibrate.picture import plot
from bayesjoint.calibrate.run import sbc
from bayesjoint.calibrate.verdict import Verdict, check

__all__ = ["Calibration", "Verdict", "check", "plot", "sbc"]
