#!/usr/bin/env bash
# Makes models/faultline-tiny-f16.hf.arrow again: the embedded model in HuggingFace Transformers, all values, prompt and four steps.
# The trace's manifest names the versions. The demo and tests compare against it.
set -euo pipefail
cd "$(dirname "$0")/.."
npx --no-install tsx src/cli/main.ts reference hf models/faultline-tiny-f16.gguf \
  -p "In the beginning God created the heaven and" -n 4 --capture full -o models/faultline-tiny-f16.hf.arrow
