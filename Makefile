PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test fast lint docs notebooks arviz1 bench calibrate clean

# the environment: made once, and again when what it is made from changes
$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) torch
	$(INSTALL) -e ".[test]"
	touch $@

demo: $(VENV)/.ready          ## environment, installation, and the main job on simulated images; results in demo/
	$(BIN)/bayesjoint demo --out demo

# a process a core, of one thread each: the images of most tests are too small for more
JOBS ?= auto
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(JOBS) --dist worksteal

test: $(VENV)/.ready          ## all tests, the slow ones too (real fields need BAYESJOINT_DATA or ../shared/data)
	$(PYTEST)

fast: $(VENV)/.ready          ## the default suite without the slow tests
	$(PYTEST) -m "not slow"

lint: $(VENV)/.ready          ## ruff
	$(BIN)/ruff check .

notebooks: $(VENV)/.ready     ## tutorials/*.ipynb from the scripts beside them
	$(BIN)/python docs/make_notebooks.py

docs: $(VENV)/.ready          ## pages in docs/_build/html, the tutorials run anew; a warning is an error
	$(INSTALL) -e ".[docs]"
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html

# ArviZ 1.x is for Python 3.12 and later: an environment of its own, without torch
PYTHON312 ?= python3.12
ARVIZ1 = $(VENV)-arviz1
SEAM = -m pytest -q -p no:cacheprovider --confcutdir=tests/seam
$(ARVIZ1)/.ready: tests/seam/requirements.txt
	$(PYTHON312) -m venv $(ARVIZ1)
	$(ARVIZ1)/bin/python -m pip install --quiet --disable-pip-version-check -r tests/seam/requirements.txt
	touch $@

arviz1: $(VENV)/.ready $(ARVIZ1)/.ready  ## the ArviZ seam with ArviZ 1.x, and files across both versions in both directions
	$(BIN)/python tests/seam/exchange.py $(ARVIZ1)/by_0.nc
	$(ARVIZ1)/bin/python tests/seam/exchange.py $(ARVIZ1)/by_1.nc
	BAYESJOINT_EXCHANGED=$(ARVIZ1)/by_0.nc $(ARVIZ1)/bin/python $(SEAM) tests/seam
	BAYESJOINT_EXCHANGED=$(ARVIZ1)/by_1.nc $(BIN)/python $(SEAM) tests/seam/test_exchange.py

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
	rm -rf $(VENV) $(ARVIZ1) $(VENV)-astrophot $(VENV)-pysersic demo run build docs/_build docs/tutorials *.egg-info
