"""Sphinx: `make docs` builds docs/_build/html."""

import importlib.metadata

project = "bayesjoint"
author = "The bayesjoint developers"
copyright = author
release = importlib.metadata.version("bayesjoint")
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax", "sphinx.ext.viewcode"]
nb_execution_mode = "off"  # tests run every block
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "bayesjoint"
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
autodoc_typehints = "none"
autodoc_member_order = "bysource"
napoleon_google_docstring = False
napoleon_use_rtype = False
suppress_warnings = ["ref.python"]  # "shape" in the type of an attribute is no reference
