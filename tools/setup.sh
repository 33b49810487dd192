# Sourced by tools/test and tools/demo: a Python, its libraries and the paths that the checkout's plays need.
# shellcheck shell=bash
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${PARADEDB_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/paradedb}
started=$SECONDS

# One line of progress with the seconds since the start.
step() { printf '%4ds  %s\n' $((SECONDS - started)) "$*"; }

# The first Python that ansible-core runs on.
find_python() {
    local candidate
    for candidate in python3.14 python3.13 python3.12 python3 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.1[2-4]*/bin/python3; do
        if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 12))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    echo "No Python 3.12 or newer with venv was found; install one (Debian: python3 python3-venv)." >&2
    return 1
}

# A virtual environment for exactly these requirements, made once.
ensure_venv() {
    local python key
    python=$(find_python)
    key=$({ "$python" -V; cat "$root"/requirements-dev*.txt; } | sha256sum | cut -c1-12)
    venv=$cache/venv-$key
    if [ ! -e "$venv/ready" ]; then
        step "installing Python packages (once)"
        rm -rf "$venv"
        "$python" -m venv "$venv"
        "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$root/requirements-dev.txt"
        "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps -r "$root/requirements-dev-backup.txt"
        touch "$venv/ready"
    fi
    PATH=$venv/bin:$PATH
    # Does nothing when the collection there came from the pinned wheel.
    python3 "$root/tools/images" kubernetes-core "$cache/collections" >/dev/null
}

export ANSIBLE_COLLECTIONS_PATH=$root/collections:$cache/collections
export ANSIBLE_ROLES_PATH=$root/roles
export PYTHONPATH=$root/runner/src
export ANSIBLE_LOCALHOST_WARNING=0 ANSIBLE_INVENTORY_UNPARSED_WARNING=0
export PARADEDB_TOOLS_IMAGE=localhost/paradedb-operator:dev
export PARADEDB_POOLER_IMAGE=localhost/paradedb-pgbouncer:dev
