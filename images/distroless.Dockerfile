# docker build --file images/distroless.Dockerfile --tag gatekeeper:distroless .
# With the drivers of servers that are logged in to: --build-arg EXTRAS=postgres,redis
# Both stages must have the same minor version of Python, because one compiles what the other runs.

ARG PYTHON_IMAGE=docker.io/library/python:3.11-bookworm
ARG BASE_IMAGE=gcr.io/distroless/python3-debian12:latest

FROM ${PYTHON_IMAGE} AS build
ARG EXTRAS=
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY gatekeeper gatekeeper
RUN pip install --no-cache-dir --no-compile --target /out/usr/local/lib/python3.11/dist-packages ".${EXTRAS:+[$EXTRAS]}" \
    && rm -r /out/usr/local/lib/python3.11/dist-packages/bin
COPY images/gatekeeper /out/usr/local/bin/gatekeeper

# Debian's Python and CA bundle without a shell, a package manager or pip.
FROM ${BASE_IMAGE}
ARG BASE_IMAGE
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
LABEL org.opencontainers.image.title="gatekeeper" \
      org.opencontainers.image.description="Holds a program's start until what it needs is really there" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}" \
      org.opencontainers.image.base.name="${BASE_IMAGE}"
COPY --from=build /out/ /
# The base carries its library as source only, and who runs this image may write nothing: compile all of it once, here.
# Unchecked, because a builder may change the times of files, and a cache that is thought stale is compiled anew each time.
RUN ["/usr/bin/python3", "-m", "compileall", "-q", "-j", "0", "--invalidation-mode", "unchecked-hash", \
     "/usr/lib/python3.11", "/usr/local/lib/python3.11/dist-packages"]
ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
USER 65532:65532
# There is no CMD on purpose: without arguments gatekeeper exits 2. A default that exits 0 would open the gate of a
# manifest that forgot them.
ENTRYPOINT ["gatekeeper"]
