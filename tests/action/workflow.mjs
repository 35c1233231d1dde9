// Runs a workflow on this machine as far as one machine can: matrix, needs, if, env and with are
// evaluated by GitHub's own expression engine, run: steps go through bash, and what a uses: step
// does is the test's to say. A context's key that is not there is an error and not an empty text,
// so that typing errors are found.
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { COMPOSITE, scratch, withoutRunner } from "./support.mjs";

const load = async (name) => {
  const resolve = createRequire(path.join(COMPOSITE, "package.json")).resolve;
  return import(pathToFileURL(name.startsWith("@") ? path.join(COMPOSITE, "node_modules", name, "dist/index.js") : resolve(name)));
};
const { Evaluator, Lexer, Parser, data } = withoutRunner ? {} : await load("@actions/expressions");
const YAML = withoutRunner ? undefined : (await load("yaml")).default;

export const parse = (text) => YAML.parse(text);

// Contexts whose keys are known beforehand.
const STRICT = ["github", "inputs", "matrix", "needs", "steps", "strategy", "env"];

function toData(value, name) {
  if (value === null || value === undefined) return new data.Null();
  if (typeof value === "boolean") return new data.BooleanData(value);
  if (typeof value === "number") return new data.NumberData(value);
  if (typeof value === "string") return new data.StringData(value);
  if (Array.isArray(value)) return new data.Array(...value.map((item) => toData(item)));
  const dictionary = new data.Dictionary(...Object.entries(value).map(([key, item]) => ({ key, value: toData(item, name === "steps" || name === "needs" ? `${name}.${key}` : undefined) })));
  if (name) {
    const get = dictionary.get.bind(dictionary);
    dictionary.get = (key) => {
      const found = get(key);
      if (found === undefined) throw new Error(`${name}.${key} is not there`);
      return found;
    };
  }
  return dictionary;
}

export function evaluate(expression, contexts, status = "success") {
  const call = (name, of) => ({ name, minArgs: 0, maxArgs: 0, call: () => new data.BooleanData(of) });
  const functions = new Map([
    ["always", call("always", true)],
    ["success", call("success", status === "success")],
    ["failure", call("failure", status === "failure")],
    ["cancelled", call("cancelled", status === "cancelled")],
  ]);
  const { tokens } = new Lexer(expression).lex();
  const tree = new Parser(tokens, Object.keys(contexts), [...functions.values()]).parse();
  const all = new data.Dictionary(...Object.entries(contexts).map(([key, value]) => ({ key, value: toData(value, STRICT.includes(key) ? key : undefined) })));
  return new Evaluator(tree, all, functions).evaluate();
}

const EXPRESSION = /\$\{\{((?:'(?:[^']|'')*'|(?!\}\}).)*)\}\}/gs;
const truthy = (value) => !(value.kind === data.Kind.Null || value.coerceString() === "" || value.value === false || value.value === 0);

// A text with its expressions filled in; lists and maps item by item.
export function fill(value, contexts, status) {
  if (Array.isArray(value)) return value.map((item) => fill(item, contexts, status));
  if (value !== null && typeof value === "object") return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, fill(item, contexts, status)]));
  if (typeof value !== "string") return value;
  return value.replace(EXPRESSION, (_, expression) => evaluate(expression, contexts, status).coerceString());
}

function wanted(condition, contexts, status) {
  let text = condition === undefined ? "success()" : String(condition).replace(/^\$\{\{(.*)\}\}$/s, "$1");
  if (!/\b(always|cancelled|failure|success)\s*\(/.test(text)) text = `success() && (${text})`;
  return truthy(evaluate(text, contexts, status));
}

function legs(strategy) {
  const { include = [], ...axes } = strategy?.matrix ?? {};
  const product = Object.entries(axes).reduce((sets, [key, values]) => sets.flatMap((set) => values.map((value) => ({ ...set, [key]: value }))), [{}]);
  return Object.keys(axes).length ? product : include.length ? include : [{}];
}

// What workflow_dispatch gives: the form's defaults under what was typed.
export function dispatched(workflow, typed = {}) {
  const declared = workflow.on.workflow_dispatch?.inputs ?? {};
  for (const name of Object.keys(typed)) if (!(name in declared)) throw new Error(`no input ${name}`);
  const empty = { boolean: false, number: 0 };
  return Object.fromEntries(Object.entries(declared).map(([name, about]) => [name, typed[name] ?? about.default ?? empty[about.type] ?? ""]));
}

// Runs the jobs in their order. `uses` has a function for each action: it gets the step and gives
// { outcome, outputs, ... }. Each job has a workspace of its own, as on a machine of its own.
export async function runWorkflow(workflow, { github, event, inputs = {}, uses, prepare = () => {} }) {
  const results = {};
  const ran = [];
  const context = { ...github, event };
  for (const [id, job] of Object.entries(workflow.jobs)) {
    const needs = Object.fromEntries([job.needs ?? []].flat().map((name) => [name, { result: results[name], outputs: {} }]));
    const before = Object.values(needs).every(({ result }) => result === "success") ? "success" : "failure";
    const outer = { github: context, inputs, needs, vars: {} };
    if (!wanted(job.if, outer, before)) {
      results[id] = "skipped";
      ran.push({ id, result: "skipped", steps: [] });
      continue;
    }
    const all = legs(job.strategy);
    for (const [index, matrix] of all.entries()) {
      const strategy = { "job-index": index, "job-total": all.length, "fail-fast": true };
      const leg = { id, matrix, workspace: scratch(), steps: [], result: "success" };
      const base = { ...outer, matrix, strategy };
      for (const key of ["name", "runs-on", "concurrency", "environment"]) leg[key] = fill(job[key], base);
      fill(workflow.concurrency ?? "", { github: context, inputs });
      prepare(leg);
      await runSteps(leg, job, base, uses);
      ran.push(leg);
      results[id] = results[id] === "failure" ? "failure" : leg.result;
    }
  }
  return ran;
}

async function runSteps(leg, job, base, uses) {
  const steps = {};
  for (const step of job.steps) {
    const contexts = { ...base, steps, runner: {}, secrets: {}, env: {} };
    const report = { name: step.name, uses: step.uses?.split("@")[0], with: fill(step.with ?? {}, contexts, leg.result), outcome: "skipped", outputs: {} };
    leg.steps.push(report);
    if (wanted(step.if, contexts, leg.result)) {
      if (step.uses) {
        const act = uses[report.uses];
        if (!act) throw new Error(`${step.uses} has no stand-in`);
        Object.assign(report, await act({ ...report, leg }));
      } else {
        const script = fill(step.run, contexts, leg.result);
        const env = { ...process.env, ...fill(step.env ?? {}, contexts, leg.result) };
        const file = path.join(scratch(), "run.sh");
        fs.writeFileSync(file, script);
        report.log = execFileSync("bash", ["--noprofile", "--norc", "-eo", "pipefail", file], { cwd: leg.workspace, env, encoding: "utf8" });
        report.outcome = "success";
      }
    }
    if (step.id) steps[step.id] = { outcome: report.outcome, conclusion: report.outcome, outputs: report.outputs };
    if (report.outcome === "failure") leg.result = "failure";
  }
}
