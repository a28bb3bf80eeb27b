"""Words: numbers with their errors as one writes them, in text and in LaTeX."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["latex", "rounded"]


def latex(rows: Sequence[tuple[str, float, float, str]]) -> str:
    """A table of parameters in LaTeX (for booktabs): name, value and error to the error's second figure, unit."""
    special = str.maketrans({c: f"\\{c}" for c in "_%&#$"})
    lines = [r"\begin{tabular}{lrl}", r"\toprule", r"parameter & value & unit \\", r"\midrule"]
    for name, value, error, unit in rows:
        number = rounded(value, error, tex=True).replace("$", "").replace("±", r"\pm").replace("×", r"\times")
        lines.append(f"{name.translate(special)} & ${number}$ & {unit.translate(special)} \\\\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def rounded(value: float, error: float, *, tex: bool = False) -> str:
    """Value and error in words, to the error's second figure: ``12.34 ± 0.05``, ``(1.234 ± 0.005)e7``, or the latter's power in TeX."""
    if not (np.isfinite(value) and np.isfinite(error)) or error <= 0:
        return f"{value:.5g}"
    power = int(np.floor(np.log10(max(abs(value), error))))
    shift = 0 if -4 <= power < 6 else power
    v, e = value / 10.0**shift, error / 10.0**shift
    figures = max(0, 1 - int(np.floor(np.log10(e))))
    text = f"{v:.{figures}f} ± {e:.{figures}f}"
    if not shift:
        return text
    return f"({text}) × $10^{{{shift}}}$" if tex else f"({text})e{shift}"
