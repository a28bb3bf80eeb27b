PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test fast lint docs notebooks bench calibrate clean

# the environment: made once, and again when what it is made from changes
$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) torch
	$(INSTALL) -e ".[test]"
	touch $@

demo: $(VENV)/.ready          ## environment, installation, and the main job on simulated images; results in demo/
	$(BIN)/bayesjoint demo --out demo

test: $(VENV)/.ready          ## all tests, the slow ones too (real fields need BAYESJOINT_DATA or ../shared/data)
	$(BIN)/python -m pytest -q

fast: $(VENV)/.ready          ## the default suite without the slow tests
	$(BIN)/python -m pytest -q -m "not slow"

lint: $(VENV)/.ready          ## ruff
	$(BIN)/ruff check .

notebooks: $(VENV)/.ready     ## tutorials/*.ipynb from the scripts beside them
	$(BIN)/python docs/make_notebooks.py

docs: $(VENV)/.ready          ## pages in docs/_build/html, the tutorials run anew; a warning is an error
	$(INSTALL) -e ".[docs]"
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html

# peers, in environments of their own: AstroPhot patches Pyro for every module of its process, pysersic needs JAX
$(VENV)-astrophot/.ready: benchmarks/astrophot.txt
	$(PYTHON) -m venv $(VENV)-astrophot
	$(VENV)-astrophot/bin/python -m pip install --quiet --disable-pip-version-check -r benchmarks/astrophot.txt
	touch $@

$(VENV)-pysersic/.ready: benchmarks/pysersic.txt
	$(PYTHON) -m venv $(VENV)-pysersic
	$(VENV)-pysersic/bin/python -m pip install --quiet --disable-pip-version-check -r benchmarks/pysersic.txt
	touch $@

bench: $(VENV)/.ready $(VENV)-astrophot/.ready $(VENV)-pysersic/.ready  ## accuracy and time of rendering, fitting and sampling, beside peers
	$(BIN)/python benchmarks/sampling.py --astrophot $(VENV)-astrophot/bin/python --pysersic $(VENV)-pysersic/bin/python
	$(BIN)/python benchmarks/scaling.py
	$(BIN)/python benchmarks/render.py --astrophot $(VENV)-astrophot/bin/python
	$(BIN)/python benchmarks/real_fields.py

calibrate: $(VENV)/.ready     ## ranks of 200 simulated truths by laplace and NUTS, and planted faults (hours); into docs/calibration.md
	$(BIN)/python benchmarks/calibrate.py --simulations 200 --write

clean:
	rm -rf $(VENV) $(VENV)-astrophot $(VENV)-pysersic demo run build docs/_build *.egg-info
