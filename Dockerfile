# Builds with Docker and with Podman: docker build --tag gatekeeper . [--platform linux/arm64]
# images/README.md says what is in it, what was left out, and which others there are.

# Any Debian with Python 3.11 or newer, pip, gcc and binutils, for the platform that is built for.
ARG PYTHON_IMAGE=docker.io/library/python:3.11-bookworm

FROM ${PYTHON_IMAGE} AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY gatekeeper gatekeeper
RUN pip install --no-cache-dir --no-compile --target /packages .
COPY images images
# The CA bundle is that of the Python packages under the name that everybody mounts theirs over.
RUN python3 images/tree.py /packages /out/opt/gatekeeper \
    && cp -R images/root/. /out/ \
    && mkdir -p /out/etc/ssl/certs /out/usr/local/bin /out/tmp \
    && chmod 1777 /out/tmp \
    && ln -s /opt/gatekeeper/bin/gatekeeper /out/usr/local/bin/gatekeeper \
    && ln -s /opt/gatekeeper/lib/python3/site-packages/certifi/cacert.pem /out/etc/ssl/certs/ca-certificates.crt

FROM scratch
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
LABEL org.opencontainers.image.title="gatekeeper" \
      org.opencontainers.image.description="Holds a program's start until what it needs is really there" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}" \
      dev.gatekeeper.sbom="/opt/gatekeeper/share/gatekeeper.cdx.json" \
      dev.gatekeeper.left-out="/opt/gatekeeper/share/left-out.txt"
COPY --from=build /out/ /
ENV PATH=/usr/local/bin:/usr/bin:/bin \
    SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
USER 65532:65532
# There is no CMD on purpose: without arguments gatekeeper exits 2. A default that exits 0 would open the gate of a
# manifest that forgot them.
ENTRYPOINT ["gatekeeper"]
