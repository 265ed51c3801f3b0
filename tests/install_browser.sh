#!/usr/bin/env bash
# Make sure that the browser tests find a Chromium: the one named by $CHROMIUM, one on the PATH, or playwright's own;
# else install Debian's, else playwright's. Usage: install_browser.sh PYTHON
set -euo pipefail
python=$1

on_path() { command -v chromium || command -v chromium-browser || command -v google-chrome; }

of_playwright() {
    "$python" - <<'PY'
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

with sync_playwright() as playwright:
    path = Path(playwright.chromium.executable_path)
print(path)
sys.exit(not path.exists())
PY
}

if [ -n "${CHROMIUM:-}" ]; then
    [ -x "$CHROMIUM" ] || { echo "CHROMIUM is '$CHROMIUM', which is no program. Unset it or name one." >&2; exit 1; }
    echo "Browser: $CHROMIUM"
elif browser=$(on_path) || browser=$(of_playwright); then
    echo "Browser: $browser"
elif "$(dirname "$0")/apt_install.sh" chromium fonts-liberation && browser=$(on_path); then
    echo "Browser: $browser"
else
    "$python" -m playwright install chromium
fi
