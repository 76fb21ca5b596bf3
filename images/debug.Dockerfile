# docker build --file images/debug.Dockerfile --build-arg GATEKEEPER=gatekeeper --tag gatekeeper:debug .
# The default image in a busybox, to look around in: a shell, nslookup, wget, nc. For nothing that stays.

ARG GATEKEEPER=gatekeeper
ARG BUSYBOX_IMAGE=docker.io/library/busybox:stable-musl

FROM ${GATEKEEPER} AS gatekeeper

FROM ${BUSYBOX_IMAGE}
LABEL org.opencontainers.image.title="gatekeeper, with a shell" \
      org.opencontainers.image.licenses="Apache-2.0 AND GPL-2.0-only"
COPY --from=gatekeeper / /
ENV PATH=/usr/local/bin:/usr/bin:/bin \
    SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
USER 65532:65532
ENTRYPOINT ["gatekeeper"]
