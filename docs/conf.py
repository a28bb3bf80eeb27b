"""Sphinx: `make docs` builds docs/_build/html."""

import importlib.metadata
import os
import pathlib
import shutil
import sys

here = pathlib.Path(__file__).parent
sys.path.insert(0, str(here))  # mathml.py, beside this file
project = "bayesjoint"
author = "The bayesjoint developers"
copyright = author
release = importlib.metadata.version("bayesjoint")
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "mathml", "sphinx.ext.viewcode"]
nb_execution_mode = "force"  # the tutorials' notebooks have no outputs of their own; blocks of other pages are run by tests
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_timeout = 600  # seconds a cell
os.environ.setdefault("TUTORIAL_DRAWS", "300")
os.environ.setdefault("OMP_NUM_THREADS", "1")
exclude_patterns = ["_build"]
shutil.rmtree(here / "tutorials", ignore_errors=True)
shutil.copytree(here.parent / "tutorials", here / "tutorials", ignore=shutil.ignore_patterns("*.py", ".*"))  # a page's links are seen from here
html_math_renderer = "mathml"
html_theme = "furo"
html_title = "bayesjoint"
html_static_path = ["_static"]
html_css_files = ["notebook.css", "pages.css"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
default_role = "py:obj"  # `Image.read` in a docstring
autodoc_typehints = "none"
autodoc_member_order = "bysource"
napoleon_google_docstring = False
napoleon_use_rtype = False
suppress_warnings = ["ref.python"]  # "shape" in the type of an attribute is no reference
