# make demo: see it work   make test: the fast tests   make check: style and types
PYTHON ?= python3
PIP := .venv/bin/python -m pip --disable-pip-version-check --quiet
RUN := .venv/bin/python
ROOMS := backbones detector export network faults data evaluation video insight training classifier inference api examples house system
JOBS ?= 2

.PHONY: demo test test-slow check clean

demo: .venv/.installed
	@rm -rf demo
	$(RUN) -m data.scenes demo/scenes --frames 500 --min-height 50 --video demo/clip.mp4
	$(RUN) detect.py demo/clip.mp4 --output demo/at-once
	$(RUN) train.py configs/demo.yaml --name training
	$(RUN) evaluate.py --weights demo/training/best.pt --data demo/scenes --split val --report demo/report
	$(RUN) detect.py demo/clip.mp4 --weights demo/training/best.pt --conf 0.4 --output demo/detections --save video,kitti,json
	@echo
	@echo "Look at:  demo/at-once/video/clip.mp4      a drawn dashcam clip, seen by the shipped model, which knows real streets"
	@echo "          demo/detections/video/clip.mp4   the same clip after fine-tuning on drawn scenes"
	@echo "          demo/report/index.html           what the detector finds and misses"
	@echo "          demo/training/                   curves of the training, weights, metrics.csv"

# Each room in a process of its own: the native libraries of all of them together are more than one process bears.
# JOBS rooms at a time, the longest first; a room's output comes when it is through.
test: .venv/.installed-dev
	@echo $(ROOMS) | xargs -n 1 -P $(JOBS) sh -c \
		'said=$$(OMP_NUM_THREADS=1 $(RUN) -m pytest tests/$$0 2>&1); ended=$$?; echo "tests/$$0"; echo "$$said"; [ $$ended = 0 ] || exit 255'

test-slow: .venv/.installed-dev
	@for room in $(ROOMS); do echo "tests/$$room"; $(RUN) -m pytest -m slow tests/$$room || [ $$? -eq 5 ] || exit 1; done

check: .venv/.installed-dev
	$(RUN) -m ruff check .
	$(RUN) -m mypy

clean:
	rm -rf .venv demo runs

.venv/bin/python:
	@echo "Making .venv (Python environment) ..."
	@$(PYTHON) -m venv .venv || { rm -rf .venv; $(PYTHON) -m pip install --quiet --user virtualenv && $(PYTHON) -m virtualenv --quiet .venv; }

.venv/.installed: requirements.txt | .venv/bin/python
	@echo "Installing requirements.txt into .venv (once, about 5 GB with torch's CUDA libraries; a few minutes) ..."
	@$(PIP) install -r requirements.txt
	@touch $@

.venv/.installed-dev: requirements-dev.txt requirements-export.txt .venv/.installed
	@echo "Installing requirements-dev.txt into .venv (once) ..."
	@$(PIP) install -r requirements-dev.txt
	@touch $@
