"""Page: tables as Markdown, what a run was made with, and its place in docs/benchmarks.md."""

import datetime
import json
import os
import pathlib
import platform
import subprocess

PAGE = pathlib.Path(__file__).resolve().parents[1] / "docs/benchmarks.md"
LIST = "import json, platform, importlib.metadata as m; print(json.dumps({p: m.version(p) for p in %r} | {'Python': platform.python_version()}))"
PACKAGES = {
    "bayesjoint": ("bayesjoint", "torch", "pyro-ppl", "numpy", "scipy", "astropy", "arviz"),
    "AstroPhot": ("astrophot", "caskade", "torch", "numpy", "scipy", "astropy"),
    "pysersic": ("pysersic", "jax", "jaxlib", "numpyro", "equinox", "interpax", "numpy", "astropy", "arviz"),
}


def table(header, rows):
    """Lines of a Markdown table whose columns are of one width, the first to the left, the others to the right."""
    cells = [[str(c) for c in row] for row in [header, *rows]]
    widths = [max(len(row[k]) for row in cells) for k in range(len(header))]
    lines = ["| " + " | ".join(c.ljust(w) if not k else c.rjust(w) for k, (c, w) in enumerate(zip(r, widths, strict=True))) + " |" for r in cells]
    rule = "|" + "|".join("-" * (w + 2) if not k else "-" * (w + 1) + ":" for k, w in enumerate(widths)) + "|"
    return [lines[0], rule, *lines[1:]]


def processor():
    """The processor's name and the cores that may be used; no host's name."""
    info = pathlib.Path("/proc/cpuinfo")
    names = [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")] if info.exists() else []
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{names[0] if names else platform.processor() or platform.machine()}, {cores} cores"


def circumstances(command, pythons):
    """How, when, with what and on what a run was made."""
    where = PAGE.parents[1]
    state = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, cwd=where).stdout.strip()
    threads = {k: os.environ[k] for k in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "XLA_FLAGS") if k in os.environ}
    lines = [f"Made by `{command}` on {datetime.date.today()}" + (f", commit {state}" if state else "") + ";", f"{processor()}, {platform.system()}"]
    lines[-1] += "".join(f", {k}={v}" for k, v in threads.items()) + "."
    lines.append("")
    for name, python in pythons.items():
        if python:
            found = subprocess.run([python, "-c", LIST % (PACKAGES[name],)], capture_output=True, text=True, check=True).stdout
            lines.append(f"* {name}: " + ", ".join(f"{k} {v}" for k, v in json.loads(found).items()))
    return lines


def write(lines, script="benchmarks/sampling.py"):
    """Put the lines between the page's marks of a script; the rest of the page stays as it is."""
    begin, end = f"<!-- begin: {script} -->", f"<!-- end: {script} -->"
    old = PAGE.read_text() if PAGE.exists() else f"# Benchmarks\n\n{begin}\n{end}\n"
    if old.count(begin) != 1 or old.count(end) != 1:
        raise SystemExit(f"{PAGE.name} is to hold one line {begin} and one line {end}: put them where the tables belong.")
    before, rest = old.split(begin)
    PAGE.write_text("\n".join([before + begin, "", *lines, "", end]) + rest.split(end)[1])
