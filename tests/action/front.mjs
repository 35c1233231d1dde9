// Stands before the fake GitHub and adds what that one does not keep: workflow runs with their
// artifacts, commits with their parents, and pull requests by branch. The rest is passed on.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import fs from "node:fs";
import http from "node:http";
import path from "node:path";
import { scratch, servers } from "./support.mjs";

const DAY = 86_400_000;
const when = (offset) => new Date(Date.now() + offset).toISOString().replace(/\.\d+Z$/, "Z");

export async function startFront(github, repository) {
  const [runs, commits, pulls, artifacts] = [new Map(), new Map(), [], []];
  const base = `/repos/${repository.full_name}`;
  const routes = [
    [/^\/actions\/runs\/(\d+)$/, (id) => runs.get(Number(id))],
    [/^\/actions\/artifacts$/, (_, query) => list("artifacts", artifacts.filter((one) => one.name === query.get("name")))],
    [/^\/actions\/runs\/(\d+)\/artifacts$/, (id) => list("artifacts", artifacts.filter((one) => one.workflow_run.id === Number(id)))],
    [/^\/commits$/, (_, query) => [...commits.values()].filter((one) => one.sha === query.get("sha"))],
    [/^\/commits\/([0-9a-f]{40})$/, (sha) => commits.get(sha)],
    [/^\/pulls$/, () => pulls],
  ];
  const list = (name, items) => ({ total_count: items.length, [name]: items.map(({ bytes, ...shown }) => shown) });
  const server = http.createServer(async (request, response) => {
    const url = new URL(request.url, "http://x");
    const below = url.pathname.startsWith(base) ? url.pathname.slice(base.length) : "";
    const zip = /^\/actions\/artifacts\/(\d+)\/zip$/.exec(below);
    if (zip) return response.writeHead(302, { location: `${self.url}/_blob/${zip[1]}` }).end();
    const blob = /^\/_blob\/(\d+)$/.exec(url.pathname);
    if (blob) {
      if (request.headers.authorization) return response.writeHead(400).end("the token came along");
      return response.writeHead(200, { "content-type": "application/zip" }).end(artifacts.find((one) => one.id === Number(blob[1])).bytes);
    }
    for (const [pattern, answer] of request.method === "GET" ? routes : []) {
      const match = pattern.exec(below);
      const found = match && answer(match[1], url.searchParams);
      if (found) return response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(found));
    }
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const { host, connection, "content-length": _, ...headers } = request.headers;
    const body = chunks.length ? Buffer.concat(chunks) : undefined;
    const passed = await fetch(github.url + request.url, { method: request.method, headers, body, redirect: "manual" });
    const bytes = Buffer.from(await passed.arrayBuffer());
    const { "content-encoding": encoding, "transfer-encoding": transfer, "content-length": length, ...own } = Object.fromEntries(passed.headers);
    response.writeHead(passed.status, own).end(bytes);
  });
  await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
  servers.push({ close: () => new Promise((done) => (server.closeAllConnections(), server.close(done))) });
  const self = {
    url: `http://127.0.0.1:${server.address().port}`,
    pulls,
    commit: (sha, parents) => commits.set(sha, { sha, parents: parents.map((parent) => ({ sha: parent })) }),
    // A run that is over, with the folders that it uploaded.
    run: (run, folders) => {
      runs.set(run.id, { status: "completed", conclusion: "success", run_attempt: 1, created_at: when(-1000), repository, head_repository: repository, ...run });
      for (const { name, dir } of folders) {
        const file = path.join(scratch(), "artifact.zip");
        execFileSync("python3", ["-m", "zipfile", "-c", file, ...fs.readdirSync(dir)], { cwd: dir });
        const bytes = fs.readFileSync(file);
        artifacts.unshift({
          id: 5000 + artifacts.length, name, bytes, size_in_bytes: bytes.length, expired: false, created_at: when(0), expires_at: when(90 * DAY),
          digest: `sha256:${createHash("sha256").update(bytes).digest("hex")}`,
          workflow_run: { id: run.id, head_branch: run.head_branch, head_sha: run.head_sha, repository_id: repository.id, head_repository_id: (run.head_repository ?? repository).id },
        });
      }
    },
  };
  return self;
}
