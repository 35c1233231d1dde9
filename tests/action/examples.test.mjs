// Every example, run job by job with the just-built binary and the simulated engine in the place of
// a model on a GPU. What GitHub would evaluate is evaluated; what it would keep (artifacts, comments)
// is kept by stand-ins.
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { describe, test } from "node:test";
import { BINARY, ROOT, actionCheckout, artifactActions, fakeGitHub, runComposite, withoutBinary, withoutGitHub, withoutRunner } from "./support.mjs";
import { startFront } from "./front.mjs";
import { dispatched, parse, runWorkflow } from "./workflow.mjs";

const EXAMPLES = path.join(ROOT, "examples");
// The README's ten lines are an example too.
const README = "README.md";
const read = (name) => (name === README
  ? /```yaml\n(on: [^]*?)```/.exec(fs.readFileSync(path.join(ROOT, README), "utf8"))[1]
  : fs.readFileSync(path.join(EXAMPLES, name), "utf8"));
const NAMES = fs.readdirSync(EXAMPLES).filter((name) => name.endsWith(".yml"));
const skip = withoutRunner || withoutGitHub || withoutBinary();

// The configuration of the examples, with an engine that needs nothing and little to do.
const ENGINE = ["--prefill-base-ms=20", "--decode-base-ms=8", "--run-cv=0.001"];
const CONFIG = read("config/kitt.yml")
  .replace(/^model: .*$/m, "model: sim")
  .replace(/^engine: .*$/m, "engine: sim")
  .concat(`\nrequests: 8\ninput-tokens: 16\noutput-tokens: 8\npairs: 3\nengine-args: ${JSON.stringify(ENGINE)}\n`);

// What a run ends with that was measured, reported, and is invalid because this machine was busy:
// not the example's fault. It is tried again, and then taken as it is.
const BUSY = 21;

const HEAD = "1".repeat(40);
const BASE = "2".repeat(40);
const MERGE = "3".repeat(40);
const repository = (id, full_name, fork) => ({ id, full_name, fork, default_branch: "main", owner: { login: full_name.split("/")[0] } });
const OURS = repository(2, "octo/consumer", false);
const THEIRS = repository(9, "stranger/consumer", true);
const pull = (repo, over = {}) => ({
  action: "synchronize",
  number: 7,
  repository: OURS,
  pull_request: { number: 7, state: "open", draft: false, labels: [], head: { sha: HEAD, ref: "faster", label: "x:faster", repo }, base: { sha: BASE, ref: "main", repo: OURS }, ...over.pull_request },
  ...(over.label && { action: "labeled", label: { name: over.label } }),
});
const EVENTS = {
  pull_request: pull(OURS),
  push: { ref: "refs/heads/main", before: "0".repeat(40), after: BASE, repository: OURS, head_commit: { id: BASE } },
  merge_group: { action: "checks_requested", repository: OURS, merge_group: { head_sha: HEAD, head_ref: "refs/heads/gh-readonly-queue/main/pr-7", base_sha: BASE, base_ref: "refs/heads/main" } },
  schedule: { schedule: "17 2 * * *", repository: OURS },
  workflow_dispatch: { inputs: {}, ref: "refs/heads/main", repository: OURS },
};
const REFS = { pull_request: { sha: MERGE, ref: "refs/pull/7/merge", base_ref: "main", head_ref: "faster" }, push: { sha: BASE }, merge_group: { ref: "refs/heads/gh-readonly-queue/main/pr-7" } };

const ACTION = withoutRunner ? {} : parse(fs.readFileSync(path.join(ROOT, "action.yml"), "utf8"));

// What would need a GPU or a registry gives way to the simulated engine; the rest stays as written.
function simulated(given) {
  const inputs = { ...given };
  for (const name of ["model", "engine"]) if (inputs[name]) inputs[name] = "sim";
  if (inputs["engine-args"]) inputs["engine-args"] = ENGINE.join(" ");
  if (inputs["baseline-image"]) inputs["baseline-args"] = ENGINE.join(" ");
  delete inputs.image;
  delete inputs["baseline-image"];
  return inputs;
}

// Runs an example for an event, against a GitHub and a store of artifacts that several runs may share.
async function world() {
  const github = await fakeGitHub({ token: "ghs_localtoken" });
  const front = await startFront(github, OURS);
  front.commit(MERGE, [BASE, HEAD]);
  front.commit(BASE, []);
  const artifacts = artifactActions();
  const action = actionCheckout();
  let runs = 1000;
  const go = async (name, eventName, { event = EVENTS[eventName], typed, binary = BINARY, env = {} } = {}) => {
    const workflow = parse(read(name));
    assert.ok(eventName in workflow.on, `${name} starts on ${eventName}`);
    const about = {
      event_name: eventName, api_url: front.url, server_url: "https://github.com", repository: OURS.full_name, repository_id: "2", sha: HEAD, ref: "refs/heads/main",
      base_ref: "", head_ref: "", run_id: String((runs += 1)), run_attempt: "1", workflow: workflow.name, actor: "octocat", ...REFS[eventName],
    };
    const once = (given, leg) =>
      runComposite({
        action, quiet: true, uses: artifacts.uses, workspace: leg.workspace, event, github: { ...about, job: leg.id }, matrix: leg.matrix, env,
        runner: { environment: [leg["runs-on"]].flat().includes("self-hosted") ? "self-hosted" : "github-hosted" },
        with: { ...simulated(Object.fromEntries(Object.entries(given).map(([key, value]) => [key, String(value)]))), "binary-path": binary },
      });
    const composite = async ({ with: given, leg }) => {
      for (const input of Object.keys(given)) assert.ok(input in ACTION.inputs, `${name}: the action has no input ${input}`);
      for (let tries = 1; ; tries += 1) {
        const run = await once(given, leg);
        const { exit } = run.steps.find((step) => step.id === "run");
        if (exit !== BUSY || tries === 3) return { run, outcome: run.conclusion, outputs: run.outputs, exit };
      }
    };
    const download = async ({ with: given, leg }) => {
      assert.deepEqual(Object.keys(given).sort(), ["path", "pattern"]);
      const match = new RegExp(`^${given.pattern.replaceAll("*", ".*")}$`);
      for (const found of fs.readdirSync(artifacts.store).filter((entry) => match.test(decodeURIComponent(entry)))) {
        fs.cpSync(path.join(artifacts.store, found), path.join(leg.workspace, given.path, decodeURIComponent(found)), { recursive: true });
      }
      return { outcome: "success" };
    };
    const checkout = async ({ with: given, leg }) => {
      assert.deepEqual(given, { "persist-credentials": false }, `${name}: the token stays out of the checkout`);
      fs.mkdirSync(path.join(leg.workspace, ".github"), { recursive: true });
      fs.writeFileSync(path.join(leg.workspace, ".github/kitt.yml"), CONFIG);
      return { outcome: "success" };
    };
    const inputs = eventName === "workflow_dispatch" ? dispatched(workflow, typed) : {};
    const before = artifacts.calls().length;
    const jobs = await runWorkflow(workflow, { github: about, event, inputs, uses: { "actions/checkout": checkout, "actions/download-artifact": download, "org/kitt-action": composite } });
    // GitHub keeps what was uploaded, and whose it is.
    const head = event.pull_request?.head;
    front.run(
      { id: Number(about.run_id), event: eventName, path: `.github/workflows/${name}`, name: workflow.name, head_branch: head?.ref ?? "main", head_sha: head?.sha ?? about.sha, head_repository: head ? head.repo : OURS },
      artifacts.calls().slice(before).filter((call) => call.action === "upload").map(({ inputs: { name } }) => ({ name, dir: path.join(artifacts.store, encodeURIComponent(name)) })),
    );
    return jobs;
  };
  const uploads = () => artifacts.calls().filter((call) => call.action === "upload").map((call) => call.inputs.name);
  return { go, github, front, uploads, store: artifacts.store, lastRun: () => runs };
}
const kitt = (leg) => leg.steps.find((step) => step.uses === "org/kitt-action");
const passed = (leg) => assert.ok(leg.result === "success" || kitt(leg)?.exit === BUSY, kitt(leg)?.run.log);
const skipped = (jobs) => assert.deepEqual(jobs.map((job) => job.result), jobs.map(() => "skipped"));

const CASES = {
  [README]: async ({ go, github }) => {
    assert.ok(read(README).split("\n").length <= 12, "about ten lines");
    const small = { KITT_REQUESTS: "8", KITT_INPUT_TOKENS: "16", KITT_OUTPUT_TOKENS: "8", KITT_ENGINE_ARGS: ENGINE.join(" ") };
    const [first] = await go(README, "pull_request", { env: small });
    passed(first);
    assert.equal(github.state.comments.length, 1);
    passed((await go(README, "push", { env: small }))[0]);
  },
  "pr-gate.yml": async ({ go, github, uploads }) => {
    skipped(await go("pr-gate.yml", "pull_request", { event: pull(THEIRS) }));
    skipped(await go("pr-gate.yml", "pull_request", { event: pull(null) }));
    const [first] = await go("pr-gate.yml", "pull_request");
    passed(first);
    assert.equal(kitt(first).outputs.verdict, "new");
    assert.match(first.steps.at(-1).log, /^new, report in .*report\.html$/m);
    assert.equal(github.state.comments.length, 1);
    assert.ok(uploads().includes("kitt-results"));
    for (const event of ["merge_group", "push"]) passed((await go("pr-gate.yml", event))[0]);
    assert.equal(github.state.comments.length, 1, "nobody reads a comment of those");
    // A busy machine's run is no baseline; else the next pull request finds it by itself.
    if (!uploads().includes("kitt-baseline")) return;
    const [second] = await go("pr-gate.yml", "pull_request");
    passed(second);
    assert.notEqual(kitt(second).outputs.verdict, "new", kitt(second).run.log);
    assert.deepEqual([kitt(second).outputs["baseline-ref"], kitt(second).outputs["baseline-rule"]], [BASE, "exact-parent"], kitt(second).run.log);
    assert.equal(github.state.comments.length, 1);
  },
  "nightly-history.yml": async ({ go, github, uploads }) => {
    const [first] = await go("nightly-history.yml", "schedule");
    passed(first);
    const kept = uploads().includes("kitt-nightly");
    assert.equal(kept, kitt(first).outputs["store-baseline"] === "true");
    const [second] = await go("nightly-history.yml", "workflow_dispatch");
    passed(second);
    if (kept) assert.equal(kitt(second).outputs["baseline-ref"], HEAD, "the night before");
    assert.equal(github.state.comments.length, 0);
    assert.ok(github.state.checks.some((check) => check.head_sha === HEAD && check.conclusion), "a check run on main's commit");
    assert.ok(uploads().includes("kitt-nightly-results"));
  },
  "dispatch.yml": async ({ go, github }) => {
    const [plain] = await go("dispatch.yml", "workflow_dispatch", { typed: { engine: "sim" } });
    passed(plain);
    assert.deepEqual([kitt(plain).with.model, kitt(plain).with.pr, github.state.comments.length], ["", "", 0]);
    const typed = { engine: "vllm", model: "org/model", suite: "standard", runs: 2, gate: true, pr: "7" };
    const [full] = await go("dispatch.yml", "workflow_dispatch", { typed });
    passed(full);
    assert.deepEqual(kitt(full).with, { model: "org/model", engine: "vllm", suite: "standard", runs: "2", gate: "true", pr: "7", "upload-artifact": "kitt-results" });
    assert.equal(github.state.comments.length, 1);
    assert.ok(github.log.some(({ method, path: to }) => method === "POST" && to === "/repos/octo/consumer/issues/7/comments"));
  },
  "fork-measure.yml": async ({ go, github, uploads }) => {
    skipped(await go("fork-measure.yml", "pull_request"));
    for (const repo of [THEIRS, null]) {
      const [leg] = await go("fork-measure.yml", "pull_request", { event: pull(repo) });
      passed(leg);
      assert.deepEqual([leg.environment, leg["runs-on"].includes("gpu")], ["gpu-forks", false], "approved, and on machines of its own");
      assert.equal(kitt(leg).outputs["comment-url"], "");
    }
    assert.equal(github.state.comments.length, 0);
    assert.deepEqual([...new Set(uploads())], ["kitt-results"]);
  },
  "fork-publish.yml": async ({ go, github, front, lastRun }) => {
    const run = { id: 77, event: "pull_request", conclusion: "success", status: "completed", head_sha: HEAD, head_branch: "faster", head_repository: THEIRS, repository: OURS, path: ".github/workflows/fork-measure.yml", name: parse(read("fork-measure.yml")).name, pull_requests: [] };
    const event = (over) => ({ action: "completed", repository: OURS, workflow_run: { ...run, ...over }, workflow: { name: run.name } });
    assert.deepEqual(parse(read("fork-publish.yml")).on.workflow_run.workflows, [run.name]);
    for (const over of [{ event: "push" }, { conclusion: "skipped" }, { conclusion: "cancelled" }]) skipped(await go("fork-publish.yml", "workflow_run", { event: event(over) }));
    // The first stage's artifact, and the pull request that GitHub knows.
    passed((await go("fork-measure.yml", "pull_request", { event: pull(THEIRS) }))[0]);
    front.pulls.push({ ...pull(THEIRS).pull_request, number: 7 });
    const [leg] = await go("fork-publish.yml", "workflow_run", { event: event({ id: lastRun() }) });
    passed(leg);
    assert.equal(leg["runs-on"], "ubuntu-latest", "no runner of one's own");
    assert.equal(github.state.comments.length, 1, kitt(leg).run.log);
    assert.ok(github.log.some(({ method, path: to }) => method === "POST" && to === "/repos/octo/consumer/issues/7/comments"));
    // A branch that has moved on gets no comment of an older commit.
    front.pulls[0].head.sha = "4".repeat(40);
    passed((await go("fork-publish.yml", "workflow_run", { event: event({ id: lastRun() - 1, conclusion: "failure" }) }))[0]);
    assert.equal(github.state.comments.length, 1);
  },
  "matrix.yml": async ({ go, github, uploads }) => {
    skipped(await go("matrix.yml", "pull_request", { event: pull(THEIRS) }));
    const [one, two, report] = await go("matrix.yml", "pull_request");
    for (const leg of [one, two]) {
      passed(leg);
      assert.equal(kitt(leg).outputs["comment-url"], "");
    }
    assert.deepEqual(uploads().filter((name) => /^kitt-results-/.test(name)).sort(), ["kitt-results-0", "kitt-results-1"]);
    const legs = path.join(report.workspace, "legs");
    const folders = fs.readdirSync(legs, { withFileTypes: true }).filter((entry) => entry.isDirectory());
    assert.deepEqual(folders.map((entry) => entry.name).sort(), ["kitt-results-0", "kitt-results-1"]);
    assert.ok(fs.existsSync(path.join(legs, "report.html")), "a page that leads to both reports");
    passed(report);
    assert.equal(github.state.comments.length, 1, "one comment for all legs");
    const sections = github.state.comments[0].body.match(/^<!-- kitt-section id=/gm);
    assert.equal(sections.length, 2, "each leg has its section");
    await go("matrix.yml", "push");
    const kept = uploads().filter((name) => /^kitt-baseline/.test(name));
    assert.equal(new Set(kept).size, kept.length, "each leg has a baseline of its own");
  },
  "ab-images.yml": async ({ go, github, uploads }) => {
    const typed = { "baseline-image": "a@sha256:1", image: "b@sha256:2", "time-budget": "5m" };
    const [leg] = await go("ab-images.yml", "workflow_dispatch", { typed });
    assert.deepEqual([kitt(leg).with["baseline-image"], kitt(leg).with.image], ["a@sha256:1", "b@sha256:2"]);
    passed(leg);
    assert.match(leg.steps.at(-1).log, /^[a-z]+ \(\d+ worse, \d+ better\)$/m);
    assert.equal(github.state.comments.length, 0);
    assert.deepEqual(uploads(), ["kitt-comparison"]);
  },
  "labelled.yml": async ({ go, github }) => {
    const labelled = (labels, over = {}) => pull(OURS, { pull_request: { labels: labels.map((name) => ({ name })) }, ...over });
    skipped(await go("labelled.yml", "pull_request", { event: labelled([]) }));
    skipped(await go("labelled.yml", "pull_request", { event: labelled(["benchmark", "other"], { label: "other" }) }));
    const fork = labelled(["benchmark"]);
    fork.pull_request.head.repo = THEIRS;
    skipped(await go("labelled.yml", "pull_request", { event: fork }));
    passed((await go("labelled.yml", "pull_request", { event: labelled(["benchmark"], { label: "benchmark" }) }))[0]);
    passed((await go("labelled.yml", "pull_request", { event: labelled(["other", "benchmark"]) }))[0]);
    assert.ok(github.state.comments.length <= 1);
  },
  "gpu-pools.yml": async ({ go, github, uploads }) => {
    const jobs = await go("gpu-pools.yml", "pull_request");
    jobs.forEach(passed);
    const pools = ["h100", "mi300x", "l4"];
    assert.deepEqual(jobs.map((leg) => leg["runs-on"].at(-1)), pools);
    assert.deepEqual(jobs.map((leg) => kitt(leg).with.key), pools);
    assert.deepEqual(new Set(jobs.map((leg) => leg.concurrency.group)).size, 3);
    for (const pool of pools) assert.ok(uploads().includes(`kitt-results-${pool}`));
    assert.deepEqual(github.state.comments.map((comment) => /key=(\S+)/.exec(comment.body)[1]).sort(), [...pools].sort());
  },
};

describe("the examples", { skip }, () => {
  for (const [name, run] of Object.entries(CASES)) test(name, async () => run(await world()));

  test("none is left out", () => assert.deepEqual(Object.keys(CASES).filter((name) => name !== README).sort(), NAMES));

  test("what is read from an output exists", () => {
    for (const name of [README, ...NAMES]) {
      for (const [, output] of read(name).matchAll(/steps\.\w+\.outputs\.([\w-]+)/g)) assert.ok(output in ACTION.outputs, `${name}: ${output}`);
    }
  });

  test("a typing error in a context is found", async () => {
    const { evaluate } = await import("./workflow.mjs");
    const contexts = { github: { event: {} }, inputs: { model: "m" }, steps: { kitt: { outputs: {} } } };
    for (const wrong of ["inputs.modle", "github.evnt.x", "steps.kit.outputs.x", "matrix.x"]) assert.throws(() => evaluate(wrong, contexts), wrong);
    assert.equal(evaluate("github.event.pull_request.number || inputs.model", contexts).coerceString(), "m");
  });
});
