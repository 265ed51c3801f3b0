#!/usr/bin/env bash
# Install Debian or Ubuntu packages, as root or with a sudo that asks for no password. Usage: apt_install.sh PACKAGE...
set -euo pipefail

if ! command -v apt-get >/dev/null; then
    echo "There is no apt-get here. Install $* with the package manager of this system." >&2
    exit 1
fi
as_root=()
if [ "$(id -u)" -ne 0 ]; then
    as_root=(sudo -n)
    if ! sudo -n true 2>/dev/null; then
        echo "Installing $* needs root, and sudo asks for a password. Run: sudo apt-get install $*" >&2
        exit 1
    fi
fi
"${as_root[@]}" apt-get update -q
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@"
