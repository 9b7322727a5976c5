#!/bin/sh
# Fills the environment that an image is: first what the process needs, then the package itself, so that a changed line
# of ours does not install everything anew.
#
#   install.sh dependencies   what $EXTRAS need and $PACKAGES, as requirements.lock pins them, less $WITHOUT, plus $DRIVERS
#   install.sh package        the package, from the sources in this folder
#
# $WITHOUT names packages that others ask for and our process never imports.
set -eu

ENVIRONMENT=/opt/trimtab
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_QUIET=1 PIP_ROOT_USER_ACTION=ignore

# Each list is words for a command, so they are not quoted.
# shellcheck disable=SC2086
dependencies() {
    python3 -m venv "$ENVIRONMENT"
    pip="$ENVIRONMENT/bin/python3 -m pip"
    python3 requirements.py $EXTRAS --without $WITHOUT >/tmp/wanted.txt
    $pip install --constraint requirements.lock --requirement /tmp/wanted.txt ${PACKAGES:-} ${DRIVERS:-}
    test -z "$WITHOUT" || $pip uninstall --yes $WITHOUT
    # Tests of libraries, headers and static archives are a tenth of the size, and nothing loads them.
    find "$ENVIRONMENT/lib" -depth -type d \( -name tests -o -name include \) -exec rm -rf {} +
    find "$ENVIRONMENT/lib" -name '*.a' -delete
}

package() {
    python3 -m venv /tmp/builder
    /tmp/builder/bin/python3 -m pip install --constraint requirements.lock setuptools wheel
    /tmp/builder/bin/python3 -m pip wheel --no-deps --no-build-isolation --wheel-dir /tmp/wheel .
    "$ENVIRONMENT/bin/python3" -m pip install --no-deps /tmp/wheel/*.whl
    "$ENVIRONMENT/bin/python3" -m pip uninstall --yes pip
}

"$1"
