# syntax=docker/dockerfile:1
# The images that hack/build-image.sh makes without Docker, for those who build with it:
#
#   docker build --tag ghcr.io/netting-dev/netting .
#   docker build --tag ghcr.io/netting-dev/netting-test-app --target netting-test-app .
#   docker buildx build --platform linux/amd64,linux/arm64 --tag ghcr.io/netting-dev/netting .
#
# Binaries are cross-compiled on the builder's own architecture. Only the few commands of the stage
# `base` run on the image's, by emulation (binfmt_misc) where the two differ. What goes into an image
# is said in hack/image, once for both ways, and hack/test-dockerfile.sh compares what comes out.
ARG RUST_VERSION=1.95
ARG DEBIAN_VERSION=bookworm

FROM debian:${DEBIAN_VERSION}-slim AS base
WORKDIR /src
COPY hack hack
COPY LICENSE .
RUN hack/image/stage.sh packages \
 && hack/image/stage.sh base netting /base/netting \
 && hack/image/stage.sh base netting-test-app /base/netting-test-app

FROM --platform=$BUILDPLATFORM rust:${RUST_VERSION}-slim-${DEBIAN_VERSION} AS toolchain
ARG TARGETARCH
WORKDIR /src
COPY hack hack
RUN hack/image/stage.sh toolchain "$TARGETARCH"
COPY . .

FROM toolchain AS netting-binaries
ARG TARGETARCH
ARG PROFILE=release
ARG SOURCE_DATE_EPOCH
COPY --from=base /base/netting/var/lib/dpkg/status.d /packages
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target,id=netting-target-$TARGETARCH \
    hack/image/stage.sh binaries "$TARGETARCH" netting /binaries /packages "$PROFILE"

FROM toolchain AS netting-test-app-binaries
ARG TARGETARCH
ARG PROFILE=release
ARG SOURCE_DATE_EPOCH
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target,id=netting-target-$TARGETARCH \
    hack/image/stage.sh binaries "$TARGETARCH" netting-test-app /binaries /packages "$PROFILE"

FROM scratch AS netting-test-app
ARG CREATED
ARG REVISION=unknown
ARG PROFILE=release
COPY --from=base /base/netting-test-app/ /
COPY --from=netting-test-app-binaries /binaries/ /
ENV PATH=/netting:/usr/sbin:/usr/bin
WORKDIR /
LABEL org.opencontainers.image.title="netting-test-app" \
      org.opencontainers.image.description="The application that the end-to-end tests of Netting deploy" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.created="$CREATED" \
      org.opencontainers.image.source="https://github.com/netting-dev/netting" \
      org.opencontainers.image.licenses="Apache-2.0" \
      dev.netting.profile="$PROFILE"
# Not the sidecar's user, whose traffic is never redirected.
USER 65534:65534

# The last stage is what is built if nobody names one. It has no entry point: each container says
# which of the programs it runs, by its path.
FROM scratch AS netting
ARG CREATED
ARG REVISION=unknown
ARG PROFILE=release
COPY --from=base /base/netting/ /
COPY --from=netting-binaries /binaries/ /
ENV PATH=/netting:/usr/sbin:/usr/bin
WORKDIR /
LABEL org.opencontainers.image.title="netting" \
      org.opencontainers.image.description="A service mesh for Kubernetes: sidecar, init container, catalog, webhook and command" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.created="$CREATED" \
      org.opencontainers.image.source="https://github.com/netting-dev/netting" \
      org.opencontainers.image.licenses="Apache-2.0" \
      dev.netting.profile="$PROFILE"
USER 4150:4150
