#!/bin/sh
# Builds images: build.sh [IMAGE...], all but gaudi where none is named. It reads
#
#   ENGINE      podman or docker
#   BASE        base image; in a release by digest
#   GAUDI_BASE  the vendor's image that gaudi is built on
#   PREFIX      what stands before an image's name
#   TAG         tag; the package's version by default
#   PIP_CONF    a pip.conf for the build (an index of your own, where torch for CPUs is); it is in no layer
#   DRIVERS     packages for your databases and object stores, e.g. "psycopg[binary] boto3"
#   OPTIONS     more options of the engine's `build`
set -eu

cd "$(dirname "$0")/.."
ENGINE=${ENGINE:-podman}
version=$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)

build() {
    file=images/$1/Containerfile
    name=$(sed -n 's|.*image.title="trimtab/\([^"]*\)".*|\1|p' "$file")
    set -- --file "$file" --tag "${PREFIX:-trimtab}/$name:${TAG:-$version}"
    set -- "$@" --build-arg "VERSION=$version" --build-arg "REVISION=$revision" --build-arg "DRIVERS=${DRIVERS:-}"
    test -z "${BASE:-}" || set -- "$@" --build-arg "BASE=$BASE"
    test -z "${GAUDI_BASE:-}" || set -- "$@" --build-arg "GAUDI_BASE=$GAUDI_BASE"
    test -z "${PIP_CONF:-}" || set -- "$@" --secret "id=pip,src=$PIP_CONF"
    test "$ENGINE" != podman || set -- "$@" --format docker # the OCI format knows no health check
    # shellcheck disable=SC2086
    "$ENGINE" build "$@" ${OPTIONS:-} .
}

test $# -gt 0 || set -- pipeline serving controller
for image in "$@"; do
    build "$image"
done
