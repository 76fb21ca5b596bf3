# Everything a newcomer needs, each target making what it needs itself: make demo, make test.
PYTHON ?= python3
BIN := .venv/bin
APT := $(shell [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && echo yes)

# What the tests drive for real, installed where that is possible; elsewhere the tests that miss it say so. The third
# and fourth line stand in for the image's bases, which come from no registry in a test.
PACKAGES := podman runc crun conmon netavark aardvark-dns catatonit docker-compose iptables iproute2 systemd-container \
	util-linux bind9 tini dumb-init libsystemd0 golang-github-coreos-go-systemd-dev $(if $(shell command -v go),,golang-go) \
	python3 python3-pip python3.11-minimal libpython3.11-stdlib ca-certificates netbase tzdata media-types \
	libsqlite3-0 libnsl2 libtirpc3 s6 supervisor gcc libc6-dev binutils busybox-static musl patch
# The servers whose protocols are spoken; Maven fetches Kafka.
PACKAGES += etcd-server influxdb mariadb-client-core mariadb-server-core maven memcached mosquitto nats-server pgbouncer \
	postgresql python3-qpid-proton rabbitmq-server redis-server zookeeper
# What would put out another mail server or keeper of the time, or open a door into the machine that somebody works at.
PACKAGES += $(if $(if $(CI),,$(wildcard /usr/sbin/sendmail)),,exim4-daemon-light) \
	$(if $(if $(CI),,$(wildcard /run/systemd/system)),,chrony openssh-server slapd)
BENCH_PACKAGES := wait-for-it postgresql redis-server mariadb-server-core gcc libc6-dev $(if $(shell command -v npm),,npm)
# What the labels of an image say of its sources: their commit, and its time unless SOURCE_DATE_EPOCH says another. The
# two dates are those of Linux and of macOS.
REVISION = $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
CREATED = $(shell at=$${SOURCE_DATE_EPOCH:-$$(git log -1 --format=%ct 2>/dev/null || echo 0)}; form=+%Y-%m-%dT%H:%M:%SZ; \
	date -u -d "@$$at" "$$form" 2>/dev/null || date -u -r "$$at" "$$form")
# Tests are shared out to one process more than there are processors: most of them wait for something at times.
WORKERS = $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)

.PHONY: demo test lint format bench image clean packages bench-packages

demo: .venv/made
	$(BIN)/gatekeeper demo

test: .venv/made packages
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -n $(WORKERS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

lint: .venv/made
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: .venv/made
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: .venv/made bench-packages
	PYTHONPATH=tests $(BIN)/python -m bench

image:
	@$(if $(APT),command -v podman >/dev/null || command -v docker >/dev/null || { $(call install,podman buildah); },true)
	@command -v podman >/dev/null || command -v docker >/dev/null || { echo 'an image is built by podman or docker: install one' >&2; exit 1; }
	$$(command -v podman || command -v docker) build --build-arg REVISION=$(REVISION) --build-arg CREATED=$(CREATED) --tag gatekeeper .

clean:
	rm -rf .venv .coverage .coverage.* .mypy_cache .pytest_cache .ruff_cache build dist

.venv/made: pyproject.toml
	$(PYTHON) -m venv .venv || { [ "$(APT)" ] && $(call install,python3-venv) && $(PYTHON) -m venv .venv; }
	$(BIN)/pip install --quiet --editable '.[dev]'
	touch $@

packages:
	@$(if $(APT),$(call install,$(PACKAGES)) || echo 'not all packages are to be had: tests that miss one are left out', \
		echo 'not root, or no apt-get: tests that miss a program are left out')

bench-packages:
	@$(if $(APT),$(call install,$(BENCH_PACKAGES)) || echo 'not all tools are to be had: those are left out', \
		echo 'not root, or no apt-get: tools that are missing are left out')

# Installs what is missing of the packages $(1); the lists of a fresh machine may be empty or old.
define install
missing=$$(for each in $(1); do dpkg-query -W -f '$${Status}\n' $$each 2>/dev/null | grep -q 'ok installed' || echo $$each; done); \
	[ -z "$$missing" ] || { apt-get update -qq && \
	DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $$missing >/dev/null; }
endef
