#!/usr/bin/env bash
#
# Builds the website from the pages in the repository into website/site. Needs
# MkDocs and its theme Material: apt-get install mkdocs mkdocs-material

set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")"

rm -rf .pages site
mkdir .pages
(cd .. && git ls-files -z '*.md' '*.svg' '*.png' website/dark.css | xargs -0 cp --parents -t website/.pages)
mkdocs build --strict --quiet
