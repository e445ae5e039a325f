# make demo: everything from one command.  make test: lint, types, layers, tests.  make browser: the page in Chromium.  make test-engines: Spark, which
# needs Java, MLflow, Ray, ONNX Runtime from JavaScript, which needs Node.js.  make fuzz: damaged files for half an hour, then kills.  make bench: the quoted figures, part by part (interrupted, it goes on where it was);
# make bench-publication: those of docs/choosing.md; make bench-speed, make bench-growth: those of docs/performance.md, half
# an hour each, the former beside the commit BEFORE, and with ADBENCH=FOLDER on its tables.  Each sets up .venv first.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
BEFORE ?= f4e290c

.PHONY: setup demo test test-engines browser lint fuzz bench bench-publication bench-speed bench-growth clean

setup: $(READY)

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed; name one: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv $(VENV) \
		|| { echo "Python's venv module is needed; on Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	$(BIN)/python -m pip install --disable-pip-version-check --quiet -r requirements.lock
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation -e .
	touch $@

demo: $(READY)
	$(BIN)/fivefold demo -o out/demo --force

lint: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint
	$(BIN)/python -m pytest

test-engines: $(READY)
	@command -v java >/dev/null || echo "Spark's test is skipped: it needs Java, apt-get install default-jre-headless"
	$(BIN)/python -m pip install --disable-pip-version-check --quiet pyspark==4.3.0 mlflow-skinny==3.17.2 \
		SQLAlchemy==2.1.9 alembic==1.20.1 sqlparse==0.6.1 'ray[data,train]==2.60.0' nbclient==0.11.0 ipykernel==7.4.0
	@command -v npm >/dev/null && npm install --prefix out/node --ignore-scripts --no-audit --no-fund --silent onnxruntime-node@1.30.0 \
		|| echo "The example in JavaScript is skipped: it needs Node.js, apt-get install nodejs npm"
	FIVEFOLD_ENGINES=1 $(BIN)/python -m pytest -n0 -rs tests/test_spark.py tests/test_onnx.py tests/test_mlflow.py tests/test_ray.py tests/test_notebooks.py tests/test_everywhere.py

browser: $(READY)
	@command -v chromium >/dev/null || echo "The page's tests are skipped: they need Chromium, apt-get install chromium"
	$(BIN)/python -m pytest -n0 -rs tests/serve/test_page.py

fuzz: $(READY)
	FIVEFOLD_FUZZ_SECONDS=1800 FIVEFOLD_FUZZ_FILES=1000000 $(BIN)/python -m pytest -n0 tests/test_fuzz.py
	$(BIN)/python tools/kills.py

bench: $(READY)
	$(BIN)/python benchmarks/bench.py
	$(BIN)/python tools/figures.py

bench-publication: demo
	$(BIN)/python benchmarks/elbo.py
	$(BIN)/python benchmarks/mnist.py out/demo/model
	$(BIN)/python tools/figures.py

bench-speed: $(READY)
	test -d out/before || git worktree add --force --detach out/before $(BEFORE)
	$(BIN)/python benchmarks/speed.py --before out/before $(if $(ADBENCH),--adbench $(ADBENCH))
	$(BIN)/python tools/figures.py

bench-growth: $(READY)
	$(BIN)/python benchmarks/growth.py
	$(BIN)/python tools/figures.py

clean:
	rm -rf $(VENV) out
