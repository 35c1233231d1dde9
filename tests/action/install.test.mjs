// action/install.sh on its own: every way to a binary, and every way that must not lead to one.
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { ARCHIVE, ROOT, TARGET, VERSION, actionCheckout, packRelease, releaseServer, scratch, sha256, standIn } from "./support.mjs";

const NONE = "0".repeat(64);

// Runs install.sh as the action's step does, with nothing else in the environment.
async function install(action, env = {}) {
  const temp = env.RUNNER_TEMP ?? scratch();
  const output = path.join(scratch(), "output");
  fs.writeFileSync(output, "");
  const child = spawn("bash", [path.join(action, "action/install.sh")], {
    cwd: env.PWD ?? scratch(),
    env: { PATH: process.env.PATH, HOME: temp, RUNNER_TEMP: temp, GITHUB_OUTPUT: output, ...env },
  });
  let log = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (data) => (log += data));
  const code = await new Promise((done) => child.on("close", done));
  const outputs = Object.fromEntries(fs.readFileSync(output, "utf8").split("\n").filter(Boolean).map((line) => [line.slice(0, line.indexOf("=")), line.slice(line.indexOf("=") + 1)]));
  return { code, log, outputs, temp };
}

async function released(options) {
  const release = packRelease(standIn());
  const server = await releaseServer(release.dir, options);
  return { ...release, ...server, action: actionCheckout({ base: server.url, sum: release.sum }) };
}

const refused = (run, message) => {
  assert.notEqual(run.code, 0, run.log);
  assert.match(run.log, message);
  assert.match(run.log, /^::error title=kitt could not be installed::/m);
  assert.equal(run.outputs.path, undefined);
};

test("the pinned release is downloaded, verified, unpacked and started", async () => {
  const release = await released();
  const run = await install(release.action);
  assert.equal(run.code, 0, run.log);
  assert.equal(run.outputs.path, `${run.outputs.scratch}/bin/kitt`);
  assert.ok(run.outputs.path.startsWith(run.temp));
  assert.match(run.log, /using kitt 0\.1\.0 \(stand-in\)/);
  assert.deepEqual(release.requests.map((r) => r.path), [`/kitt-v${VERSION}/${ARCHIVE}`]);
  assert.equal(release.requests[0].headers.authorization, undefined);
});

test("a wrong checksum stops before anything is unpacked or run", async () => {
  const release = packRelease(standIn());
  const server = await releaseServer(release.dir);
  const run = await install(actionCheckout({ base: server.url, sum: NONE }));
  refused(run, /has the SHA-256 [0-9a-f]{64}, expected is 0{64}: it was not unpacked/);
  assert.doesNotMatch(run.log, /stand-in/);
  assert.deepEqual(fs.readdirSync(run.temp, { recursive: true }).filter((name) => name.endsWith("/kitt")), []);
});

test("the tool cache is used, and re-hashed at each use", async () => {
  const release = await released();
  const cache = scratch();
  const env = { RUNNER_TOOL_CACHE: cache };
  assert.equal((await install(release.action, env)).code, 0);
  const again = await install(release.action, env);
  assert.match(again.log, /comes from the tool cache/);
  assert.equal(release.requests.length, 1);

  const kept = path.join(cache, "kitt-action", `${release.sum}-${ARCHIVE}`);
  const evil = packRelease(standIn("kitt 6.6.6 (planted)"));
  fs.copyFileSync(evil.archive, kept);
  const poisoned = await install(release.action, env);
  assert.equal(poisoned.code, 0, poisoned.log);
  assert.match(poisoned.log, /another SHA-256 than it should/);
  assert.doesNotMatch(poisoned.log, /planted/);
  assert.equal(release.requests.length, 2);
  assert.equal(sha256(kept), release.sum);

  fs.rmSync(kept);
  fs.symlinkSync(evil.archive, kept);
  const linked = await install(release.action, env);
  assert.equal(linked.code, 0, linked.log);
  assert.equal(release.requests.length, 3);
  assert.notEqual(sha256(evil.archive), release.sum, "what a planted link points at is left alone");
});

test("a cache that cannot be written costs a download, not the run", async () => {
  const release = await released();
  const file = path.join(scratch(), "not-a-directory");
  fs.writeFileSync(file, "");
  const run = await install(release.action, { RUNNER_TOOL_CACHE: file });
  assert.equal(run.code, 0, run.log);
});

test("two 502 and then an answer", async () => {
  const release = await released({ failures: 2 });
  const run = await install(release.action);
  assert.equal(run.code, 0, run.log);
  assert.equal(release.requests.length, 3);
});

test("wget serves where there is no curl", async () => {
  const release = await released();
  const bin = scratch();
  for (const tool of ["bash", "cat", "chmod", "cp", "cut", "dirname", "grep", "gzip", "mkdir", "mktemp", "mv", "rm", "sed", "sh", "sha256sum", "tar", "tr", "uname", "wget"]) {
    const found = process.env.PATH.split(":").map((dir) => path.join(dir, tool)).find((file) => fs.existsSync(file));
    if (found) fs.symlinkSync(found, path.join(bin, tool));
  }
  const run = await install(release.action, { PATH: bin });
  if (fs.existsSync(path.join(bin, "wget"))) assert.equal(run.code, 0, run.log);
  else refused(run, /neither curl nor wget/);
});

test("a release that is not there is named, with what to do", async () => {
  const release = await released();
  const run = await install(release.action, { KITT_INPUT_VERSION: "9.9.9", KITT_INPUT_CHECKSUM: NONE });
  refused(run, /kitt-v9\.9\.9\/.*could not be fetched.*404.*download-base-url.*binary-path/);
});

test("version and checksum go together", async () => {
  const release = await released();
  refused(await install(release.action, { KITT_INPUT_VERSION: "0.1.0" }), /version needs checksum/);
  refused(await install(release.action, { KITT_INPUT_CHECKSUM: NONE }), /checksum needs version/);
  refused(await install(release.action, { KITT_INPUT_VERSION: "0.1.0", KITT_INPUT_CHECKSUM: "abc" }), /checksum has 3 characters/);
  refused(await install(release.action, { KITT_INPUT_VERSION: "0.1.0", KITT_INPUT_CHECKSUM: "g".repeat(64) }), /not a SHA-256/);
  for (const version of ["../../evil/0.1.0", "latest", "1.2.3/x", "1.2.3 --help", "1..2", "$(touch pwned)"]) {
    refused(await install(release.action, { KITT_INPUT_VERSION: version, KITT_INPUT_CHECKSUM: NONE }), /is not a version/);
  }
  assert.equal(release.requests.length, 0);
  const upper = await install(release.action, { KITT_INPUT_VERSION: "v0.1.0", KITT_INPUT_CHECKSUM: release.sum.toUpperCase() });
  assert.equal(upper.code, 0, upper.log);
});

test("a commit that pins no release says so", async () => {
  const bare = actionCheckout();
  fs.writeFileSync(path.join(bare, "action/pin"), "# nothing yet\nbase https://github.com/org/kitt-action/releases/download\n");
  refused(await install(bare), new RegExp(`pins no released binary for kitt-${TARGET}.*binary-path`));
  const other = actionCheckout();
  fs.writeFileSync(path.join(other, "action/pin"), `base https://127.0.0.1:9\nversion 0.1.0\n${NONE} *kitt-other-target.tar.gz\n`);
  refused(await install(other), /pins no released binary/);
});

test("a platform without a release is told about binary-path", async () => {
  const release = await released();
  const bin = scratch();
  fs.writeFileSync(path.join(bin, "uname"), "#!/bin/sh\n[ \"$1\" = -s ] && echo MINGW64_NT-10.0 || echo x86_64\n", { mode: 0o755 });
  const run = await install(release.action, { PATH: `${bin}:${process.env.PATH}` });
  refused(run, /no released kitt for MINGW64_NT-10\.0 on x86_64.*binary-path/);
  assert.equal(release.requests.length, 0);
});

test("binary-path, from the input or the runner, needs no pin and no network", async () => {
  const bare = actionCheckout();
  const binary = standIn("kitt 7.0.0");
  const given = await install(bare, { KITT_INPUT_BINARY_PATH: binary });
  assert.equal(given.code, 0, given.log);
  assert.equal(given.outputs.path, binary);
  assert.deepEqual(fs.readdirSync(given.outputs.scratch), []);
  assert.equal((await install(bare, { KITT_INPUT_BINARY_PATH: "", KITT_BINARY_PATH: binary })).outputs.path, binary);
  const relative = await install(bare, { KITT_INPUT_BINARY_PATH: "kitt", PWD: path.dirname(binary) });
  assert.equal(relative.outputs.path, binary);
  refused(await install(bare, { KITT_INPUT_BINARY_PATH: "/nowhere/kitt" }), /not an executable file/);
  refused(await install(bare, { KITT_INPUT_BINARY_PATH: path.dirname(binary) }), /not an executable file/);
  refused(await install(bare, { KITT_INPUT_BINARY_PATH: `${binary}\npath=/bin/false` }), /control characters/);
});

test("a binary that does not start shows the loader's own words", async () => {
  const broken = path.join(scratch(), "kitt");
  fs.writeFileSync(broken, "#!/bin/sh\necho \"/lib/libc.so.6: version 'GLIBC_2.99' not found\" >&2\nexit 1\n", { mode: 0o755 });
  refused(await install(actionCheckout(), { KITT_INPUT_BINARY_PATH: broken }), /GLIBC_2\.99.*glibc 2\.28/);
});

test("a mirror: https, a mounted share, or this machine, and nothing else", async () => {
  const release = await released();
  const dead = actionCheckout({ base: "https://127.0.0.1:9/dead", sum: release.sum });
  const mirrored = await install(dead, { KITT_INPUT_DOWNLOAD_BASE_URL: `${release.url}/` });
  assert.equal(mirrored.code, 0, mirrored.log);
  const runners = await install(dead, { KITT_INPUT_DOWNLOAD_BASE_URL: "", KITT_DOWNLOAD_BASE_URL: `file://${release.dir}` });
  assert.equal(runners.code, 0, runners.log);
  const bad = {
    "http://mirror.example/kitt": /plain http is taken from this machine only/,
    "http://127.0.0.1.example/": /plain http/,
    "http://localhost.example/": /plain http/,
    "http://example/@127.0.0.1/": /plain http/,
    "http://127.0.0.1@example/": /user name or password/,
    "https://user:secret@mirror.example/": /user name or password/,
    "ftp://127.0.0.1/": /must start with https/,
    "file://relative": /must start with https/,
    "-o/etc/passwd": /must start with https/,
    "https://a b/": /white space/,
  };
  for (const [base, message] of Object.entries(bad)) {
    const run = await install(dead, { KITT_INPUT_DOWNLOAD_BASE_URL: base });
    refused(run, message);
    assert.doesNotMatch(run.log, /secret/);
  }
});

test("no input can write a workflow command or an output", async () => {
  const release = await released();
  const nasty = "x\n::set-output name=path::/evil\r\n##[set-output name=path;]/evil\n::error::%0A::add-mask::a";
  for (const name of ["BINARY_PATH", "DOWNLOAD_BASE_URL", "VERSION", "CHECKSUM"]) {
    const run = await install(release.action, { [`KITT_INPUT_${name}`]: nasty });
    refused(run, /./);
    assert.deepEqual(run.log.match(/^\s*::[\w-]+/gm), ["::error"], run.log);
    assert.doesNotMatch(run.log, /##\[/);
  }
});

test("pin.sh writes a pin from a release's sums, and refuses what is none", () => {
  const dir = actionCheckout({ base: "https://mirror.example/kitt", sum: NONE });
  const pin = fs.readFileSync(path.join(dir, "action/pin"), "utf8");
  assert.match(pin, new RegExp(`^# [^]*\\nbase https://mirror\\.example/kitt\\nversion ${VERSION}\\n0{64} \\*${ARCHIVE.replaceAll(".", "\\.")}\\n$`));
  const write = (version, sums) => {
    const file = path.join(dir, "sums");
    fs.writeFileSync(file, sums);
    return spawnSync("bash", [path.join(dir, "scripts/pin.sh"), version, file], { encoding: "utf8" });
  };
  const line = `${NONE} *${ARCHIVE}\n`;
  for (const [version, sums, message] of [
    ["latest", line, /not a version/],
    ["1.2.3; id", line, /not a version/],
    ["1.2.3", `${NONE} *source.tar.gz\n`, /names no kitt-/],
    ["1.2.3", `abc *${ARCHIVE}\n`, /names no kitt-/],
    ["1.2.3", line + line, /more than once/],
  ]) {
    const run = write(version, sums);
    assert.notEqual(run.status, 0);
    assert.match(run.stderr, message);
    assert.equal(fs.readFileSync(path.join(dir, "action/pin"), "utf8"), pin, "the pin stays as it was");
  }
  assert.equal(write("kitt-v1.2.3", line).status, 0);
  assert.match(fs.readFileSync(path.join(dir, "action/pin"), "utf8"), /\nbase https:\/\/mirror\.example\/kitt\nversion 1\.2\.3\n/);
});

test("the pin in this commit is well-formed", () => {
  const lines = fs.readFileSync(path.join(ROOT, "action/pin"), "utf8").trim().split("\n").filter((line) => !line.startsWith("#"));
  for (const line of lines) assert.match(line, /^(base https:\/\/\S+|version \d+\.\d+\.\d+\S*|[0-9a-f]{64} \*kitt-[\w-]+\.tar\.gz)$/);
  const count = (start) => lines.filter((line) => line.startsWith(start)).length;
  assert.equal(count("base "), 1);
  const sums = lines.filter((line) => / \*kitt-/.test(line)).map((line) => line.split("*")[1]);
  assert.equal(new Set(sums).size, sums.length, "one line per platform");
  assert.equal(count("version "), sums.length ? 1 : 0, "a version and its hashes come together");
});
