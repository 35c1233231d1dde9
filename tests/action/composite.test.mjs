// action.yml executed step by step as the runner does it, with a stand-in for the binary that
// writes down how it is called: what reaches kitt, in which order, and what must never happen.
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { describe, test } from "node:test";
import { ROOT, actionCheckout, artifactActions, packRelease, releaseServer, runComposite, scratch, standIn, trace, withoutRunner } from "./support.mjs";

const ACTION = fs.readFileSync(path.join(ROOT, "action.yml"), "utf8");
const section = (name, next) => ACTION.slice(ACTION.indexOf(`\n${name}:\n`), ACTION.indexOf(`\n${next}:\n`));
const INPUTS = [...section("inputs", "outputs").matchAll(/^ {2}([a-z-]+):$/gm)].map((match) => match[1]);
const OUTPUTS = [...section("outputs", "runs").matchAll(/^ {2}([a-z-]+):$/gm)].map((match) => match[1]);
// What the installer and the nested actions take; the rest goes to the binary.
const AROUND = ["baseline-run-id", "binary-path", "checksum", "command", "download-base-url", "upload-artifact", "version"];
const variable = (name) => `KITT_INPUT_${name.toUpperCase().replaceAll("-", "_")}`;

async function go(options = {}) {
  const file = path.join(scratch(), "trace");
  const artifacts = options.artifacts ?? artifactActions();
  const workspace = options.workspace ?? scratch();
  const result = await runComposite({
    action: options.action ?? actionCheckout(),
    workspace,
    quiet: true,
    uses: artifacts.uses,
    ...options,
    env: { KITT_TEST_TRACE: file, ...options.env },
  });
  return { ...result, workspace, artifacts, kitt: trace(file) };
}
const outcomes = (result) => Object.fromEntries(result.steps.map((step) => [step.name, step.outcome]));

describe("the composite action", { skip: withoutRunner }, () => {
  test("downloads, runs and cleans up, in this order", async () => {
    const release = packRelease(standIn());
    const server = await releaseServer(release.dir);
    const run = await go({ action: actionCheckout({ base: server.url, sum: release.sum }), with: { engine: "sim" } });
    assert.equal(run.conclusion, "success", run.log);
    assert.deepEqual(run.kitt.map((call) => call.args), [["ci", "run"], ["cleanup"]]);
    assert.deepEqual(outcomes(run), {
      "Install kitt": "success", "Download the baseline": "skipped", Benchmark: "success", "Clean up": "success", "Store the baseline": "skipped", "Upload the results": "skipped",
    });
    assert.deepEqual(run.path, [], "PATH is left alone");
    assert.deepEqual(run.env, {}, "the environment of later steps is left alone");
    assert.equal(server.requests.every((request) => request.headers.authorization === undefined), true);
  });

  test("a wrong checksum stops before anything of it runs", async () => {
    const release = packRelease(standIn());
    const server = await releaseServer(release.dir);
    const run = await go({ action: actionCheckout({ base: server.url, sum: "0".repeat(64) }), with: { "upload-artifact": "results" } });
    assert.equal(run.conclusion, "failure");
    assert.deepEqual(run.kitt, []);
    assert.deepEqual(run.artifacts.calls(), []);
    assert.equal(run.outputs.verdict, "error");
    assert.equal(run.outputs.passed, "false");
    assert.match(run.annotations[0].message, /expected is 0{64}/);
  });

  test("what is not given arrives empty, the token and the matrix arrive by environment alone", async () => {
    const run = await go({ with: { "binary-path": standIn() }, matrix: { gpu: "h200" } });
    const { env } = run.kitt[0];
    assert.equal(env.KITT_INPUT_GITHUB_TOKEN, "ghs_localtoken");
    assert.deepEqual(JSON.parse(env.KITT_MATRIX), { gpu: "h200" });
    for (const name of INPUTS.filter((input) => !AROUND.includes(input) && input !== "github-token")) assert.equal(env[variable(name)], "", name);
    assert.doesNotMatch(run.log, /ghs_localtoken/);
    assert.equal(run.kitt[1].env.KITT_INPUT_GITHUB_TOKEN, "ghs_localtoken", "a check run of a killed benchmark is closed");
  });

  for (const [what, text] of Object.entries({
    substitution: "$(touch pwned)`touch pwned`",
    quotes: "'\"; touch pwned; \"'",
    "a new line and commands": "x\n::set-output name=verdict::unchanged\n::add-mask::a\ntouch pwned",
    "an expression": "${{ github.token }} ${{ inputs.model }}",
    "a redirection": "x > pwned & touch pwned | tee pwned",
    "output syntax": "verdict<<E\nunchanged\nE",
    "an option": "--version",
  })) {
    test(`${what} in every input changes nothing`, async () => {
      const hostile = Object.fromEntries(INPUTS.filter((name) => !["binary-path", "command"].includes(name)).map((name) => [name, text]));
      const run = await go({ with: { ...hostile, "binary-path": standIn() } });
      assert.equal(run.conclusion, "success", run.log);
      const { env } = run.kitt[0];
      for (const name of INPUTS.filter((input) => !AROUND.includes(input))) assert.equal(env[variable(name)], text, name);
      assert.deepEqual(run.kitt.map((call) => call.args), [["ci", "run"], ["cleanup"]]);
      assert.equal(run.artifacts.calls().find((call) => call.action === "upload").inputs.name, text);
      assert.deepEqual(fs.readdirSync(run.workspace), []);
      assert.deepEqual(run.annotations, []);
      assert.equal(run.outputs.verdict, "error", "the stand-in wrote none, and nothing else may");
    });

    test(`${what} as the command is refused, and nothing is called with it`, async () => {
      const run = await go({ with: { "binary-path": standIn(), command: text } });
      assert.equal(run.conclusion, "failure");
      assert.equal(run.steps.find((step) => step.id === "run").exit, 2, run.log);
      assert.deepEqual(run.kitt.map((call) => call.args), [["cleanup"]]);
      assert.match(run.annotations[0].message, /`command` is run, report or publish/);
      assert.deepEqual(fs.readdirSync(run.workspace), []);
      assert.equal(run.outputs.verdict, "error");
    });

    test(`${what} in the installer's inputs stops there`, async () => {
      for (const name of ["binary-path", "download-base-url", "version", "checksum"]) {
        const run = await go({ with: { [name]: text } });
        assert.equal(run.conclusion, "failure", name);
        assert.deepEqual(run.kitt, []);
        assert.deepEqual(fs.readdirSync(run.workspace), []);
        assert.deepEqual(run.annotations.map((note) => note.level), ["error", "error"]);
      }
    });
  }

  test("the command is one of three", async () => {
    for (const command of ["run", "report", "publish"]) {
      const run = await go({ with: { "binary-path": standIn(), command } });
      assert.equal(run.conclusion, "success", run.log);
      assert.deepEqual(run.kitt.map((call) => call.args), [["ci", command], ["cleanup"]]);
    }
    for (const command of ["Run", "run ", " report", "publish --yes", "--help", "help"]) {
      const run = await go({ with: { "binary-path": standIn(), command } });
      assert.equal(run.steps.find((step) => step.id === "run").exit, 2, `"${command}"`);
      assert.deepEqual(run.kitt.map((call) => call.args), [["cleanup"]]);
    }
  });

  test("the baseline of a run that is named becomes the baseline directory; one that is missing is no baseline", async () => {
    const artifacts = artifactActions();
    fs.mkdirSync(path.join(artifacts.store, "nightly"));
    fs.writeFileSync(path.join(artifacts.store, "nightly/metrics.json"), "{}");
    const with_ = (inputs) => go({ artifacts, with: { "binary-path": binary, ...inputs } });
    const binary = standIn();
    // The run of this very job: 1001.
    const found = await with_({ "baseline-artifact": "nightly", "baseline-run-id": "1001" });
    assert.equal(found.conclusion, "success", found.log);
    assert.match(found.kitt[0].env.KITT_INPUT_BASELINE_DIR, /\/kitt-[^/]+\/baseline$/);
    const missing = await with_({ "baseline-artifact": "other", "baseline-run-id": "1001" });
    assert.equal(missing.conclusion, "success", missing.log);
    assert.equal(missing.kitt[0].env.KITT_INPUT_BASELINE_DIR, "");
    const ours = await with_({ "baseline-artifact": "nightly", "baseline-run-id": "1001", "baseline-dir": "here" });
    assert.equal(ours.kitt[0].env.KITT_INPUT_BASELINE_DIR, "here");
    const other = await with_({ "baseline-artifact": "nightly", "baseline-run-id": "77" });
    assert.equal(other.conclusion, "success");
    // Without a run it is for kitt to find, which gets the name and no directory.
    const search = await with_({ "baseline-artifact": "nightly" });
    assert.equal(search.kitt[0].env.KITT_INPUT_BASELINE_DIR, "");
    assert.equal(search.kitt[0].env.KITT_INPUT_BASELINE_ARTIFACT, "nightly");
    assert.deepEqual(artifacts.calls().map(({ inputs }) => [inputs.name, inputs["run-id"], inputs["github-token"]]), [
      ["nightly", "1001", ""], ["other", "1001", ""], ["nightly", "77", "ghs_localtoken"],
    ]);
  });

  test("a failing run is still cleaned up and uploaded, and its outputs count", async () => {
    const failing = path.join(scratch(), "kitt");
    fs.writeFileSync(failing, `#!/bin/sh
case $1 in
  --version) echo kitt 0 ;;
  ci) mkdir results && echo '{}' >results/metrics.json
      printf 'verdict=regressed\\npassed=false\\nresults-path=results\\n' >>"$GITHUB_OUTPUT"; exit 10 ;;
  cleanup) echo cleaned ;;
esac
`, { mode: 0o755 });
    const run = await go({ with: { "binary-path": failing, "upload-artifact": "kitt-results" }, github: { run_attempt: "2" } });
    assert.equal(run.conclusion, "failure");
    assert.equal(run.steps.find((step) => step.id === "run").exit, 10);
    assert.deepEqual([run.outputs.verdict, run.outputs.passed, run.outputs["results-path"]], ["regressed", "false", "results"]);
    assert.match(run.log, /^cleaned$/m);
    assert.deepEqual(run.artifacts.calls(), [{ action: "upload", inputs: { name: "kitt-results", path: "results", "if-no-files-found": "warn", overwrite: "true" } }]);
    assert.ok(fs.existsSync(path.join(run.artifacts.store, "kitt-results/metrics.json")));
  });

  const offering = (code) => {
    const binary = path.join(scratch(), "kitt");
    fs.writeFileSync(binary, `#!/bin/sh
case $1 in
  --version) echo kitt 0 ;;
  ci) mkdir results && echo '{}' >results/metrics.json && echo '{}' >results/config.json && echo x >results/engine.log
      printf 'store-baseline=true\\nbaseline-artifact=kitt-baseline-h200\\nbaseline-files<<E\\nresults/metrics.json\\nresults/config.json\\nE\\n' >>"$GITHUB_OUTPUT"; exit ${code} ;;
  cleanup) echo cleaned ;;
esac
`, { mode: 0o755 });
    return binary;
  };

  test("what a green run offers becomes the baseline, by its name and with its files alone", async () => {
    const run = await go({ with: { "binary-path": offering(0) } });
    assert.equal(run.conclusion, "success", run.log);
    assert.deepEqual(run.artifacts.calls(), [{ action: "upload", inputs: { name: "kitt-baseline-h200", path: "results/metrics.json\nresults/config.json", "if-no-files-found": "error", overwrite: "false" } }]);
    assert.deepEqual(fs.readdirSync(path.join(run.artifacts.store, "kitt-baseline-h200")).sort(), ["config.json", "metrics.json"]);
    assert.equal(run.outputs["baseline-artifact"], "kitt-baseline-h200");
  });

  test("a run that fails stores no baseline, whatever it says", async () => {
    const run = await go({ with: { "binary-path": offering(10) } });
    assert.equal(run.conclusion, "failure");
    assert.equal(outcomes(run)["Store the baseline"], "skipped");
    assert.deepEqual(run.artifacts.calls(), []);
  });

  test("a baseline that cannot be stored does not fail a green run", async () => {
    const run = await go({ with: { "binary-path": offering(0) }, artifacts: artifactActions({ refuse: true }) });
    assert.equal(run.conclusion, "success", run.log);
    assert.match(run.log, /an artifact with this name already exists/);
  });

  test("cancelling reaches the binary itself, and cleaning up follows", async () => {
    const slow = path.join(scratch(), "kitt");
    fs.writeFileSync(slow, `#!/bin/bash
case $1 in
  --version) echo kitt 0 ;;
  ci) trap 'echo "verdict=error" >>"$GITHUB_OUTPUT"; exit 130' INT; while :; do sleep 0.05; done ;;
  cleanup) echo cleaned ;;
esac
`, { mode: 0o755 });
    const run = await go({ with: { "binary-path": slow }, cancelAfter: 1.5 });
    assert.equal(run.conclusion, "cancelled");
    assert.deepEqual(run.signals, ["SIGINT"]);
    assert.deepEqual(run.orphans, []);
    assert.match(run.log, /^cleaned$/m);
    assert.equal(run.outputs.verdict, "error");
  });
});

test("the inputs and outputs of KITT and of the contract are all there", () => {
  for (const name of ["config", "model", "engine", "suite", "results-dir", "github-token", "post-comment", "fail-on-regression"]) assert.ok(INPUTS.includes(name), name);
  // The whole list is held against the binary's by tests/it/outputs.rs.
  for (const name of ["results-path", "passed", "verdict", "gate", "comment-url", "baseline-ref", "metrics-json", "version"]) assert.ok(OUTPUTS.includes(name), name);
});

test("no expression stands inside a script", () => {
  const scripts = [...ACTION.matchAll(/^( +)run: (.*(?:\n\1 +.*|\n(?=\n))*)/gm)].map((match) => match[2]);
  assert.ok(scripts.some((script) => script.includes("esac")), "scripts of several lines are seen whole");
  for (const script of scripts) assert.doesNotMatch(script, /\$\{\{/);
});
