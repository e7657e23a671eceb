#!/usr/bin/env bash
# Prints the path of a Chromium: $CHROMIUM, or one that is installed, or Debian's, which it installs if it may.
set -euo pipefail

if [[ -n ${CHROMIUM:-} ]]; then
    echo "$CHROMIUM"
    exit
fi
find_chromium() { command -v chromium || command -v chromium-browser || command -v google-chrome; }

if ! find_chromium; then
    if [[ $EUID -ne 0 ]] || ! command -v apt-get >/dev/null; then
        echo "The browser tests need Chromium. Install it (on Debian: sudo apt-get install chromium fonts-dejavu-core)" >&2
        echo "or name one: CHROMIUM=/path/to/chromium make test" >&2
        exit 1
    fi
    {
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core
    } >&2
    find_chromium
fi
