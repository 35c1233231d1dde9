// What the tests of the action share: where the tools are, a place that serves releases, and
// releases to serve.
import { createHash } from "node:crypto";
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import http from "node:http";
import os from "node:os";
import path from "node:path";
import { after } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";
import { gzipSync } from "node:zlib";

export const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");
const CACHE = process.env.KITT_CACHE_DIR
  ?? path.join(process.env.XDG_CACHE_HOME ?? path.join(os.homedir(), ".cache"), "kitt-action");
const TOOLS = path.join(process.env.KITT_TEST_SHARED ?? path.resolve(ROOT, "../shared"), "tools");
export const COMPOSITE = path.join(CACHE, "composite");
const RUNNER = path.join(COMPOSITE, "run-composite.mjs");
const FAKE_GITHUB = path.join(TOOLS, "fake-github.mjs");

// The triple a release has for this machine, as action/install.sh finds it.
export const TARGET = { "linux-x64": "x86_64-unknown-linux-gnu", "linux-arm64": "aarch64-unknown-linux-gnu", "darwin-arm64": "aarch64-apple-darwin" }[`${process.platform}-${process.arch}`];
export const VERSION = "0.1.0";
export const ARCHIVE = `kitt-${TARGET}.tar.gz`;

// The runner and the fake GitHub live outside the repository. Where they must be there
// (KITT_TEST_GITHUB=required), their absence fails; elsewhere it is a reason to skip.
function needs(file, how) {
  if (fs.existsSync(file)) return false;
  const reason = `${file} is missing: ${how}`;
  if (process.env.KITT_TEST_GITHUB === "required") throw new Error(reason);
  return reason;
}
export const withoutRunner = needs(RUNNER, "run scripts/setup.sh beside the project's tools");
export const { runComposite } = withoutRunner ? {} : await import(pathToFileURL(RUNNER));

export const withoutGitHub = needs(FAKE_GITHUB, "it is part of the project's tools");
export async function fakeGitHub(options) {
  const { startFakeGitHub } = await import(pathToFileURL(FAKE_GITHUB));
  const spec = execFileSync(path.join(ROOT, "scripts/github-spec.sh"), { encoding: "utf8" }).trim();
  const server = await startFakeGitHub({ spec, ...options });
  servers.push(server);
  return server;
}

// The binary that was just built.
export const BINARY = process.env.KITT_TEST_BINARY ?? path.join(process.env.CARGO_TARGET_DIR ?? path.join(ROOT, "target"), "debug/kitt");
export function withoutBinary() {
  if (fs.existsSync(BINARY)) return false;
  const reason = `${BINARY} is missing: cargo build`;
  if (process.env.KITT_TEST_BINARY) throw new Error(reason);
  return reason;
}

// At the end of the file's tests, not of the test or hook that asked.
const made = [];
export const servers = [];
after(async () => {
  await Promise.all(servers.map((server) => server.close()));
  for (const dir of made) fs.rmSync(dir, { recursive: true, force: true });
});
export function scratch() {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "kitt-test-"));
  made.push(dir);
  return dir;
}

export const sha256 = (file) => createHash("sha256").update(fs.readFileSync(file)).digest("hex");

// A checkout of the action as GitHub would lay it on a runner, with the pin a release would have.
export function actionCheckout({ base, sum } = {}) {
  const dir = scratch();
  fs.copyFileSync(path.join(ROOT, "action.yml"), path.join(dir, "action.yml"));
  fs.cpSync(path.join(ROOT, "action"), path.join(dir, "action"), { recursive: true });
  if (base) {
    fs.mkdirSync(path.join(dir, "scripts"));
    fs.copyFileSync(path.join(ROOT, "scripts/pin.sh"), path.join(dir, "scripts/pin.sh"));
    const sums = path.join(dir, "sha256.sum");
    fs.writeFileSync(sums, `${"0".repeat(64)} *source.tar.gz\n${sum} *${ARCHIVE}\n`);
    execFileSync("bash", [path.join(dir, "scripts/pin.sh"), VERSION, sums, base]);
  }
  return dir;
}

// Packs a file as `kitt` the way dist packs a release: DIR/<tag>/<archive>.
export function packRelease(binary, dir = scratch(), version = VERSION) {
  const stage = path.join(scratch(), `kitt-${TARGET}`);
  fs.mkdirSync(stage);
  fs.copyFileSync(binary, path.join(stage, "kitt"));
  fs.chmodSync(path.join(stage, "kitt"), 0o755);
  for (const name of ["README.md", "LICENSE", "CHANGELOG.md"]) fs.writeFileSync(path.join(stage, name), name);
  const tag = path.join(dir, `kitt-v${version}`);
  fs.mkdirSync(tag, { recursive: true });
  const archive = path.join(tag, ARCHIVE);
  fs.writeFileSync(archive, gzipSync(execFileSync("tar", ["-cf", "-", "-C", path.dirname(stage), path.basename(stage)], { maxBuffer: 2 ** 31 - 1 }), { level: 1 }));
  return { dir, archive, sum: sha256(archive) };
}

// A kitt that only writes down how it was called: KITT_TEST_TRACE gets a line of arguments and
// the KITT_* variables of each call, in JSON.
export function standIn(text = "kitt 0.1.0 (stand-in)") {
  const file = path.join(scratch(), "kitt");
  fs.writeFileSync(file, `#!/bin/sh
[ "$1" != --version ] || { echo '${text}'; exit 0; }
exec "${process.execPath}" -e '
  const own = Object.fromEntries(Object.entries(process.env).filter(([k]) => k.startsWith("KITT_")));
  require("fs").appendFileSync(process.env.KITT_TEST_TRACE, JSON.stringify({ args: process.argv.slice(1), env: own }) + "\\n");
' "$@"
`);
  fs.chmodSync(file, 0o755);
  return file;
}
export const trace = (file) => (fs.existsSync(file) ? fs.readFileSync(file, "utf8").trim().split("\n").map((line) => JSON.parse(line)) : []);

// Serves DIR on loopback, answers the first `failures` requests with 502, keeps a log.
export async function releaseServer(dir, { failures = 0 } = {}) {
  const requests = [];
  const server = http.createServer((request, response) => {
    requests.push({ path: request.url, headers: request.headers });
    const file = path.join(dir, decodeURIComponent(new URL(request.url, "http://x").pathname));
    if (requests.length <= failures) response.writeHead(502).end("bad gateway");
    else if (!fs.existsSync(file)) response.writeHead(404).end("not found");
    else response.writeHead(200).end(fs.readFileSync(file));
  });
  await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
  servers.push({ close: () => new Promise((done) => (server.closeAllConnections(), server.close(done))) });
  return { url: `http://127.0.0.1:${server.address().port}`, requests };
}

// What the two nested actions do, as far as kitt-action sees it: artifacts are folders of one
// directory, and every call is written down with its inputs.
export function artifactActions({ refuse = false } = {}) {
  const store = scratch();
  const calls = path.join(scratch(), "calls");
  const make = (main, inputs) => {
    const dir = scratch();
    fs.writeFileSync(path.join(dir, "action.yml"), `name: t\ndescription: t\ninputs:\n${inputs.map((name) => `  ${name}: {description: t}\n`).join("")}runs: {using: node24, main: main.cjs}\n`);
    fs.writeFileSync(path.join(dir, "main.cjs"), `
      const fs = require("node:fs"), path = require("node:path");
      const input = (name) => process.env["INPUT_" + name.toUpperCase()];
      const inputs = Object.fromEntries(${JSON.stringify(inputs)}.map((name) => [name, input(name)]));
      fs.appendFileSync(${JSON.stringify(calls)}, JSON.stringify({ action: ${JSON.stringify(main.name)}, inputs }) + "\\n");
      const store = ${JSON.stringify(store)};
      (${main})({ fs, path, input, store });
    `);
    return dir;
  };
  const upload = ({ fs, path, input, store }) => {
    // One path, or a file on each line; these go side by side.
    const [from, ...more] = input("path").split("\n").filter(Boolean);
    const to = path.join(store, encodeURIComponent(input("name")));
    if (!more.length && fs.existsSync(from) && fs.statSync(from).isDirectory()) return fs.cpSync(from, to, { recursive: true });
    for (const file of [from, ...more].filter((name) => name && fs.existsSync(name))) fs.cpSync(file, path.join(to, path.basename(file)), { recursive: true });
  };
  const refused = () => {
    console.log("::error::Failed to CreateArtifact: an artifact with this name already exists");
    process.exit(1);
  };
  const download = ({ fs, path, input, store }) => {
    const from = path.join(store, encodeURIComponent(input("name")));
    if (!fs.existsSync(from)) {
      console.log("::error::Unable to download artifact(s): Artifact not found for name: " + input("name"));
      process.exit(1);
    }
    fs.cpSync(from, input("path"), { recursive: true });
  };
  return {
    store,
    calls: () => trace(calls),
    uses: {
      "actions/upload-artifact": make(refuse ? refused : upload, ["name", "path", "if-no-files-found", "overwrite"]),
      "actions/download-artifact": make(download, ["name", "path", "run-id", "github-token"]),
    },
  };
}
