// The whole product as a user has it: the action downloads the just-built binary from a release on
// loopback, measures the simulated engine, compares, comments on a fake GitHub, and gates.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { before, describe, test } from "node:test";
import { ARCHIVE, BINARY, ROOT, VERSION, actionCheckout, artifactActions, fakeGitHub, packRelease, runComposite, scratch, withoutBinary, withoutGitHub, withoutRunner } from "./support.mjs";

const skip = withoutRunner || withoutGitHub || withoutBinary();

// Little noise, so that what the tests are about is told apart by far; slow enough for a client that
// shares two busy processors.
const ENGINE = "--prefill-base-ms=20 --decode-base-ms=8 --decode-per-sequence-ms=0.1 --run-cv=0.001";
const SMALL = { model: "sim", engine: "sim", suite: "quick", "input-tokens": "16", "output-tokens": "8", requests: "24", runs: "3", "engine-args": ENGINE };
const HEAD = "1".repeat(40);
const PULL = 7;
const EVENT = {
  action: "synchronize",
  number: PULL,
  pull_request: { number: PULL, head: { sha: HEAD, ref: "faster", repo: { id: 2, full_name: "octo/consumer", fork: false } }, base: { sha: "2".repeat(40), ref: "main", repo: { id: 2, full_name: "octo/consumer" } } },
  repository: { id: 2, full_name: "octo/consumer" },
};

describe("the whole action", { skip }, () => {
  let github;
  let action;
  before(async () => {
    const owner = path.join(scratch(), "releases");
    const release = packRelease(BINARY, path.join(owner, "org/kitt-action"));
    github = await fakeGitHub({ token: "ghs_localtoken", releases: owner });
    action = actionCheckout({ base: `${github.url}/org/kitt-action/releases/download`, sum: release.sum });
  });

  const pullRequest = (options = {}) => {
    const artifacts = artifactActions();
    return runComposite({
      action,
      quiet: true,
      uses: artifacts.uses,
      workspace: options.workspace ?? scratch(),
      event: EVENT,
      ...options,
      github: { event_name: "pull_request", api_url: github.url, sha: HEAD, ref: `refs/pull/${PULL}/merge`, base_ref: "main", head_ref: "faster", ...options.github },
      with: { ...SMALL, ...options.with },
    });
  };
  const step = (run, name) => run.steps.find((s) => s.name === name);
  const requests = (pattern) => github.log.filter((entry) => pattern.test(`${entry.method} ${entry.path}`));
  const containers = () => {
    try {
      return execFileSync("docker", ["ps", "--all", "--quiet", "--filter", "label=dev.kitt-action.managed"], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
    } catch {
      return "no docker here";
    }
  };

  test("first run, the same again, then a slower engine", async () => {
    const workspace = scratch();
    const first = await pullRequest({ workspace, with: { "results-dir": "first" } });
    assert.equal(first.conclusion, "success", first.log);
    assert.equal(requests(/^GET \/org\/kitt-action\/releases\/download/).length, 1);
    assert.equal(github.log[0].path, `/org/kitt-action/releases/download/kitt-v${VERSION}/${ARCHIVE}`);
    assert.equal(github.log[0].authorized, false, "the token is not sent for the download");
    assert.deepEqual([first.outputs.verdict, first.outputs.passed, first.outputs.regressions], ["new", "true", "0"]);
    assert.ok(fs.existsSync(path.resolve(workspace, first.outputs["results-path"], "metrics.json")));
    assert.equal(github.state.comments.length, 1);
    assert.equal(first.outputs["comment-url"], github.state.comments[0].html_url);

    const same = await pullRequest({ workspace, with: { "results-dir": "same", "baseline-dir": "first", gate: "true" } });
    assert.equal(same.conclusion, "success", same.log);
    assert.deepEqual([same.outputs.passed, same.outputs.gate, same.outputs.regressions], ["true", "passed", "0"]);
    assert.equal(github.state.comments.length, 1, "the comment is updated, not repeated");

    const slower = await pullRequest({ workspace, with: { "results-dir": "slower", "baseline-dir": "first", gate: "true", "engine-args": `${ENGINE} --slowdown=0.5` } });
    assert.equal(slower.conclusion, "failure");
    assert.equal(step(slower, "Benchmark").exit, 10, slower.log);
    assert.equal(step(slower, "Clean up").outcome, "success");
    assert.deepEqual([slower.outputs.verdict, slower.outputs.passed, slower.outputs.gate], ["regressed", "false", "failed"]);
    assert.ok(Number(slower.outputs.regressions) >= 1);
    assert.equal(slower.outputs.version, VERSION);
    assert.equal(JSON.parse(fs.readFileSync(path.resolve(workspace, slower.outputs["metrics-json"]), "utf8")).status, "complete");
    assert.match(slower.summary, /regress/i);
    assert.equal(github.state.comments.length, 1);
    assert.match(github.state.comments[0].body, /^<!-- kitt-benchmark -->\n/);
    assert.match(github.state.comments[0].body, /regress/i);
    assert.ok(fs.statSync(path.resolve(workspace, slower.outputs["report-path"])).size > 1000);
    for (const run of [first, same, slower]) {
      assert.deepEqual(run.orphans, []);
      assert.doesNotMatch(run.log, /ghs_localtoken/);
    }
  });

  test("fail-on-regression, KITT's name, closes the gate too", async () => {
    const workspace = scratch();
    await pullRequest({ workspace, with: { "results-dir": "first", "post-comment": "false" } });
    const before = github.state.comments.length;
    const run = await pullRequest({ workspace, with: { "results-dir": "slower", "baseline-dir": "first", "post-comment": "false", "fail-on-regression": "true", "engine-args": `${ENGINE} --slowdown=0.5` } });
    assert.equal(step(run, "Benchmark").exit, 10, run.log);
    assert.equal(github.state.comments.length, before, "post-comment: false writes none");
  });

  test("the read-only token of a fork costs the comment, not the run", async () => {
    await fetch(`${github.url}/_fake/fault`, { method: "POST", body: JSON.stringify({ match: "(POST|PATCH) /repos/", times: 20, kind: "integration" }) });
    const run = await pullRequest({ with: { key: "fork" } });
    github.faults.length = 0;
    assert.equal(run.conclusion, "success", run.log);
    assert.equal(run.outputs["comment-url"], "");
    assert.ok(run.summary.length > 100);
    assert.match(run.log, /pull-requests: write/, "the remedy is named");
  });

  test("cancelling leaves no process and no container, and says error", async () => {
    const there = containers();
    const run = await pullRequest({ with: { requests: "2000", runs: "1" }, cancelAfter: 6 });
    assert.match(run.log, /sending 2000 requests/, "it was in the middle");
    assert.equal(run.conclusion, "cancelled", run.log);
    assert.deepEqual(run.signals, ["SIGINT"], "it ends by itself, before the runner has to insist");
    assert.equal(step(run, "Clean up").outcome, "success");
    assert.equal(run.outputs.verdict, "error");
    assert.equal(run.outputs.passed, "false");
    assert.deepEqual(run.orphans, []);
    assert.equal(containers(), there);
  });

  for (const [what, text] of Object.entries({
    substitution: "$(touch pwned)`touch pwned`",
    quotes: "'\"; touch pwned; \"'",
    "a new line and commands": "x\n::set-output name=verdict::unchanged\n::add-mask::a\ntouch pwned",
    "output syntax": "verdict<<E\nunchanged\nE",
  })) {
    test(`${what} in every input is refused as a value, and nothing else happens`, async () => {
      const names = [...fs.readFileSync(path.join(ROOT, "action.yml"), "utf8").matchAll(/KITT_INPUT_\w+: \$\{\{ inputs\.([a-z-]+) \}\}/g)].map((match) => match[1]);
      const around = ["binary-path", "download-base-url", "version", "checksum"];
      const workspace = scratch();
      const run = await pullRequest({ workspace, with: Object.fromEntries(names.filter((name) => !around.includes(name)).map((name) => [name, text])) });
      assert.equal(run.conclusion, "failure");
      assert.equal(step(run, "Benchmark").exit, 2, run.log);
      assert.equal(run.outputs.verdict, "error");
      assert.equal(fs.readdirSync(workspace, { recursive: true }).some((name) => name.includes("pwned")), false);
      assert.deepEqual(run.log.match(/^\s*::set-output.*|^\s*::add-mask.*/gm), null);
      assert.deepEqual(run.orphans, []);
    });
  }

  test("the inputs that reach the binary are the settings it knows", () => {
    const settings = JSON.parse(execFileSync(BINARY, ["about", "settings"], { encoding: "utf8" })).map((setting) => setting.name);
    const text = fs.readFileSync(path.join(ROOT, "action.yml"), "utf8");
    const benchmark = text.slice(text.indexOf("- name: Benchmark"), text.indexOf("- name: Clean up"));
    const passed = [...benchmark.matchAll(/KITT_INPUT_(\w+):/g)].map((match) => match[1].toLowerCase().replaceAll("_", "-"));
    // The repository is where the job runs; another one could not be commented on with its token.
    assert.deepEqual([...passed].sort(), settings.filter((name) => name !== "repo").sort());
  });
});
