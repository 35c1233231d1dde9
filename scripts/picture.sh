#!/bin/sh
# Shows a comment the way GitHub does: picture.sh COMMENT.md OUT.png [light|dark] [WIDTH]
# An HTML file in the place of COMMENT.md is photographed as it is.
# Needs node, npm and chromium; what else it needs goes into the cache folder.
set -eu

if [ $# -lt 2 ]; then
    echo "usage: picture.sh COMMENT.md OUT.png [light|dark] [WIDTH]" >&2
    exit 2
fi
source=$1
picture=$2
theme=${3:-light}
width=${4:-1012}
marked=18.2.1
style=5.9.0
emoji=15.0.0
cache=${KITT_CACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/kitt-action}/picture-$marked-$style

if [ ! -d "$cache/node_modules/marked" ]; then
    mkdir -p "$cache"
    npm install --prefix "$cache" --silent --no-audit --no-fund --ignore-scripts \
        "marked@$marked" "github-markdown-css@$style" "@twemoji/svg@$emoji" >&2
fi
for browser in chromium chromium-browser google-chrome; do
    command -v "$browser" >/dev/null && break
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM

cat >"$work/page.mjs" <<'JS'
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
const [modules, source, target, theme] = process.argv.slice(2);
const text = readFileSync(source, "utf8");

// Machines without an emoji font show boxes: pictures take their place.
const emoji = (html) =>
  html.replace(/(\p{Extended_Pictographic})\ufe0f?/gu, (whole, letter) => {
    const file = `${modules}/@twemoji/svg/${letter.codePointAt(0).toString(16)}.svg`;
    const style = "height:1em;width:1em;vertical-align:-0.1em;background:none";
    return existsSync(file) ? `<img style="${style}" src="${pathToFileURL(file)}">` : whole;
  });

async function comment() {
  const { marked } = await import(pathToFileURL(`${modules}/marked/lib/marked.esm.js`));
  const css = readFileSync(`${modules}/github-markdown-css/github-markdown-${theme}.css`, "utf8");
  const alert = /<blockquote>\s*<p>\[!(CAUTION|WARNING|NOTE|TIP|IMPORTANT)\]\s*([\s\S]*?)<\/blockquote>/g;
  const body = marked.parse(text, { gfm: true }).replace(alert, (_, kind, inner) => {
    const word = kind.toLowerCase();
    const title = word[0].toUpperCase() + word.slice(1);
    return `<div class="markdown-alert markdown-alert-${word}"><p class="markdown-alert-title">${title}</p><p>${inner}</div>`;
  });
  const back = theme === "dark" ? "#0d1117" : "#ffffff";
  return `<!doctype html><meta charset="utf-8"><style>${css}
html,body{margin:0;background:${back}} .markdown-body{padding:24px 32px;font-size:14px}</style>
<body><article class="markdown-body">${body}</article>`;
}

const html = source.endsWith(".html")
  ? text.replace(/<meta http-equiv="Content-Security-Policy"[^>]*>/, "")
  : await comment();
const start = html.indexOf("<body");
writeFileSync(target, html.slice(0, start) + emoji(html.slice(start)));
JS
node "$work/page.mjs" "$cache/node_modules" "$source" "$work/page.html" "$theme"

# The page's height is measured first: a screenshot has the window's size.
cat >>"$work/page.html" <<'HTML'
<script>document.documentElement.dataset.height = Math.ceil(document.documentElement.getBoundingClientRect().height)</script>
HTML

scheme=
[ "$theme" = dark ] && scheme=--blink-settings=preferredColorScheme=0
photograph() {
    # shellcheck disable=SC2086 # an empty scheme is no argument
    "$browser" --headless --no-sandbox --disable-gpu --disable-quic --no-first-run \
        --disable-background-networking --disable-component-update --disable-sync \
        --hide-scrollbars --virtual-time-budget=10000 --user-data-dir="$work/profile" $scheme "$@" \
        "file://$work/page.html" 2>"$work/log"
}
height=$(photograph --window-size="$width,800" --dump-dom |
    sed -n 's/.*data-height="\([0-9]*\)".*/\1/p' | head -n 1)
photograph --window-size="$width,${height:-2000}" --screenshot="$work/picture.png" >/dev/null ||
    { cat "$work/log" >&2; exit 1; }
mv "$work/picture.png" "$picture"
