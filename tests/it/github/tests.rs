//! The fake itself.

use std::time::{Duration, Instant};

use reqwest::{Client, Method, RequestBuilder, StatusCode, redirect::Policy};
use serde_json::{Value, json};

use super::{Chaos, GitHub, Level, Rule, Token, What, described, zip};

const COMMENTS: &str = "/repos/org/repo/issues/7/comments";

fn client() -> Client {
    drop(rustls::crypto::ring::default_provider().install_default());
    let builder = Client::builder().no_proxy().user_agent("the test");
    builder.redirect(Policy::none()).build().unwrap()
}

fn start() -> GitHub {
    let gh = GitHub::start();
    gh.state(|s| s.pull(7).number);
    gh
}

fn request(gh: &GitHub, method: Method, path: &str) -> RequestBuilder {
    let url = format!("{}{path}", gh.url);
    client().request(method, url).bearer_auth("secret")
}

async fn sent(request: RequestBuilder) -> (StatusCode, Value) {
    let response = request.send().await.unwrap();
    let status = response.status();
    let bytes = response.bytes().await.unwrap();
    (status, serde_json::from_slice(&bytes).unwrap_or_default())
}

async fn get(gh: &GitHub, path: &str) -> (StatusCode, Value) {
    sent(request(gh, Method::GET, path)).await
}

async fn post(gh: &GitHub, path: &str, body: Value) -> (StatusCode, Value) {
    sent(request(gh, Method::POST, path).json(&body)).await
}

#[tokio::test]
async fn a_comment_lives_from_its_creation_to_its_end() {
    let gh = start();
    let (status, made) = post(&gh, COMMENTS, json!({"body": "hello"})).await;
    assert_eq!(status, 201);
    assert_eq!(made["user"]["login"], "github-actions[bot]");
    assert_eq!(made["performed_via_github_app"]["slug"], "github-actions");
    let own = format!("/repos/org/repo/issues/comments/{}", made["id"]);
    let change = request(&gh, Method::PATCH, &own).json(&json!({"body": "bye"}));
    assert_eq!(sent(change).await.1["body"], "bye");
    let theirs = gh.state(|s| s.comment(7, "mallory", "mine"));
    let theirs = format!("/api/v3/repos/org/repo/issues/comments/{theirs}");
    let change = request(&gh, Method::PATCH, &theirs).json(&json!({"body": "bye"}));
    assert_eq!(sent(change).await.0, 403);
    let (status, _) = sent(request(&gh, Method::DELETE, &own)).await;
    assert_eq!(status, 204);
    let (_, left) = get(&gh, COMMENTS).await;
    assert_eq!(left.as_array().unwrap().len(), 1);
    assert_eq!(gh.seen("PATCH", "/issues/comments/").len(), 2);
}

#[tokio::test]
async fn pages_are_linked_by_the_repositorys_id() {
    let gh = start();
    gh.state(|s| {
        for number in 0..5 {
            s.comment(7, "dev", &number.to_string());
        }
    });
    let mut path = format!("{COMMENTS}?per_page=2");
    let mut bodies = Vec::new();
    loop {
        let response = request(&gh, Method::GET, &path).send().await.unwrap();
        let link = response.headers().get("link").cloned().unwrap();
        let link = link.to_str().unwrap().to_owned();
        let page: Vec<Value> = response.json().await.unwrap();
        bodies.extend(page.iter().map(|c| c["body"].as_str().unwrap().to_owned()));
        let next = link.split(", ").find(|part| part.contains("rel=\"next\""));
        let Some(next) = next else { break };
        let start = next.find("/repositories/1/issues/7/comments?").unwrap();
        path = next[start..next.find('>').unwrap()].to_owned();
    }
    assert_eq!(bodies, ["0", "1", "2", "3", "4"]);
}

#[tokio::test]
async fn bodies_are_checked_as_by_github() {
    let gh = start();
    let (status, answer) = post(&gh, COMMENTS, json!({"body": "😀".repeat(32_769)})).await;
    assert_eq!(status, 422);
    let message = &answer["errors"][0]["message"];
    assert_eq!(message, "body is too long (maximum is 65536 characters)");
    assert_eq!(post(&gh, COMMENTS, json!({})).await.0, 422);
    let fits = json!({"body": "é".repeat(65_536)});
    assert_eq!(post(&gh, COMMENTS, fits).await.0, 201);

    let sha = gh.state(|s| s.pull(7).head_sha.clone());
    let checks = "/repos/org/repo/check-runs";
    let check = |extra: Value| {
        let mut body = json!({"name": "kitt", "head_sha": sha});
        for (key, value) in extra.as_object().unwrap() {
            body[key] = value.clone();
        }
        body
    };
    let annotation = json!({"path": "a", "start_line": 1, "end_line": 1,
        "annotation_level": "notice", "message": "m"});
    let with = |count| {
        json!({"output": {"title": "t", "summary": "s",
        "annotations": vec![annotation.clone(); count]}})
    };
    let long = json!({"output": {"title": "t", "summary": "s".repeat(65_536)}});
    for (extra, status) in [
        (json!({"status": "completed"}), 422),
        (json!({"conclusion": "good"}), 422),
        (json!({"head_sha": "f".repeat(40)}), 422),
        (with(51), 422),
        (long, 422),
        (with(50), 201),
        (json!({"conclusion": "success"}), 201),
    ] {
        assert_eq!(post(&gh, checks, check(extra)).await.0, status);
    }
    let listed = format!("/repos/org/repo/commits/{sha}/check-runs?check_name=kitt");
    let (_, listed) = get(&gh, &listed).await;
    assert_eq!(listed["total_count"], 1);
    assert_eq!(listed["check_runs"][0]["status"], "completed");
}

#[tokio::test]
async fn an_artifact_lies_at_another_origin_that_wants_no_token() {
    let gh = start();
    let packed = zip(&[("result.json", b"{}")]);
    let id = gh.state(|s| {
        let run = s.run("push", "main", "abc").id;
        s.artifact(run, "result", &packed)
    });
    let (_, list) = get(&gh, "/repos/org/repo/actions/artifacts?name=result").await;
    assert_eq!(list["artifacts"][0]["id"], id);
    assert_eq!(list["artifacts"][0]["workflow_run"]["head_branch"], "main");
    let path = format!("/repos/org/repo/actions/artifacts/{id}/zip");
    let response = request(&gh, Method::GET, &path).send().await.unwrap();
    assert_eq!(response.status(), 302);
    let to = response.headers()["location"].to_str().unwrap();
    assert!(to.starts_with(&gh.blobs) && gh.blobs != gh.url);
    let with = client().get(to).bearer_auth("secret").send().await;
    assert_eq!(with.unwrap().status(), 400);
    let without = client().get(to).send().await.unwrap();
    assert_eq!(without.bytes().await.unwrap(), packed);
    gh.state(|s| s.artifacts[0].expired = true);
    assert_eq!(get(&gh, &path).await.0, 410);
}

#[tokio::test]
async fn faults_come_by_rule() {
    let gh = start();
    let body = || request(&gh, Method::POST, COMMENTS).json(&json!({"body": "b"}));
    let count = || gh.state(|s| s.comments.len());
    for (what, made) in [(What::Cut, 0), (What::CutAfter, 1), (What::CutBody, 2)] {
        gh.state(|s| s.fault(Rule::on("POST", "^/repos/*/comments$", what)));
        let answer = match body().send().await {
            Ok(response) => response.bytes().await.map(drop),
            Err(error) => Err(error),
        };
        assert!(answer.is_err());
        assert_eq!(count(), made);
    }
    for (what, status, made) in [
        (What::Status(500), 500, 2),
        (What::StatusAfter(502), 502, 3),
        (What::Integration, 403, 3),
        (What::RateLimited { reset: 60 }, 403, 3),
        (What::Moved(307, format!("{}/elsewhere", gh.url)), 307, 3),
    ] {
        gh.state(|s| s.fault(Rule::on("", "comments", what).times(1)));
        assert_eq!(sent(body()).await.0, status);
        assert_eq!(count(), made);
    }
    let retry_after = Some(3);
    gh.state(|s| s.fault(Rule::on("POST", "comments", What::Secondary { retry_after }).after(1)));
    assert_eq!(sent(body()).await.0, 201);
    let response = body().send().await.unwrap();
    assert_eq!(response.headers()["retry-after"], "3");
    gh.state(|s| s.fault(Rule::on("GET", "per_page=1", What::Delay(50..51))));
    let begun = Instant::now();
    assert_eq!(get(&gh, &format!("{COMMENTS}?per_page=1")).await.0, 200);
    assert!(begun.elapsed() >= Duration::from_millis(50));
    let lost = gh.state(|s| s.log.iter().filter(|seen| seen.status.is_none()).count());
    assert_eq!(lost, 2);
}

#[tokio::test]
async fn chaos_is_of_its_seed() {
    let mut outcomes = Vec::new();
    for _ in 0..2 {
        let gh = start();
        gh.state(|s| {
            s.chaos(Chaos {
                seed: 5,
                error: 0.3,
                cut_after: 0.3,
                delay: 2,
                ..Chaos::default()
            });
        });
        let mut statuses = Vec::new();
        for _ in 0..20 {
            // A new connection each time: nothing repeats a request behind the test's back.
            let request = request(&gh, Method::GET, COMMENTS);
            statuses.push(request.send().await.map(|r| r.status()).ok());
        }
        outcomes.push(statuses);
    }
    assert_eq!(outcomes[0], outcomes[1]);
    for wanted in [None, Some(StatusCode::OK), Some(StatusCode::BAD_GATEWAY)] {
        assert!(outcomes[0].contains(&wanted), "{wanted:?}");
    }
}

#[tokio::test]
async fn tokens_have_their_limits() {
    let gh = start();
    assert_eq!(get(&gh, "/user").await.0, 403);
    let viewer = json!({"query": "query { viewer { login } }"});
    let (_, answer) = post(&gh, "/api/graphql", viewer).await;
    assert_eq!(answer["data"]["viewer"]["login"], "github-actions[bot]");
    let nobody = client().get(format!("{}{COMMENTS}", gh.url));
    assert_eq!(sent(nobody).await.0, 200);
    let known = |token: Token| gh.state(|s| s.tokens.insert("secret".to_owned(), token));
    known(Token::user("alice"));
    assert_eq!(get(&gh, "/user").await.1["login"], "alice");
    known(Token::read_only());
    assert_eq!(post(&gh, COMMENTS, json!({"body": "b"})).await.0, 403);
    known(Token::read_write().with("actions", Level::None));
    let (status, answer) = get(&gh, "/repos/org/repo/actions/artifacts").await;
    assert_eq!(status, 403);
    assert_eq!(answer["message"], "Resource not accessible by integration");
    gh.state(|s| s.tokens.clear());
    gh.state(|s| s.tokens.insert("other".to_owned(), Token::read_write()));
    assert_eq!(get(&gh, COMMENTS).await.0, 401);
}

#[tokio::test]
async fn a_renamed_repository_redirects() {
    let gh = start();
    gh.state(|s| s.rename("org/repo", "org/new"));
    for (method, status) in [(Method::GET, 301), (Method::POST, 307)] {
        let response = request(&gh, method, COMMENTS).json(&json!({"body": "b"}));
        let response = response.send().await.unwrap();
        assert_eq!(response.status(), status);
        let to = response.headers()["location"].to_str().unwrap();
        assert_eq!(to, format!("{}/repositories/1/issues/7/comments", gh.url));
        assert_eq!(get(&gh, &to[gh.url.len()..]).await.0, 200);
    }
}

#[tokio::test]
async fn a_branch_moves_forward_only() {
    let gh = start();
    let git = "/repos/org/repo/git";
    let main = gh.state(|s| s.head("org/repo", "main"));
    let (_, blob) = post(&gh, &format!("{git}/blobs"), json!({"content": "text\n"})).await;
    let (_, base) = get(&gh, &format!("{git}/commits/{main}")).await;
    let entry = json!({"path": "a/b.txt", "mode": "100644", "type": "blob", "sha": blob["sha"]});
    let tree = json!({"base_tree": base["tree"]["sha"], "tree": [entry]});
    let (_, tree) = post(&gh, &format!("{git}/trees"), tree).await;
    let mut commits = Vec::new();
    for message in ["one", "two"] {
        let commit = json!({"message": message, "tree": tree["sha"], "parents": [main]});
        let (status, commit) = post(&gh, &format!("{git}/commits"), commit).await;
        assert_eq!(status, 201);
        commits.push(commit["sha"].clone());
    }
    let create = json!({"ref": "refs/heads/data", "sha": commits[0]});
    assert_eq!(
        post(&gh, &format!("{git}/refs"), create.clone()).await.0,
        201
    );
    assert_eq!(post(&gh, &format!("{git}/refs"), create).await.0, 422);
    let moved = |force: bool| {
        let path = format!("{git}/refs/heads/data");
        request(&gh, Method::PATCH, &path).json(&json!({"sha": commits[1], "force": force}))
    };
    let (status, answer) = sent(moved(false)).await;
    assert_eq!(
        (status.as_u16(), &answer["message"]),
        (422, &"Update is not a fast forward".into())
    );
    assert_eq!(sent(moved(true)).await.0, 200);
    let (_, file) = get(&gh, "/repos/org/repo/contents/a/b.txt?ref=data").await;
    assert_eq!(file["content"], "dGV4dAo=\n");
    let (_, compared) = get(&gh, "/repos/org/repo/compare/main...data").await;
    assert_eq!(compared["merge_base_commit"]["sha"], main);
    assert_eq!(compared["files"][0]["filename"], "a/b.txt");
    let (_, log) = get(&gh, "/repos/org/repo/commits?sha=data").await;
    assert_eq!(log[0]["parents"][0]["sha"], log[1]["sha"]);
}

#[tokio::test]
async fn a_forks_pull_is_found_by_its_head() {
    let gh = start();
    gh.state(|s| s.fork_pull(8, "stranger/repo").number);
    gh.state(|s| s.label(8, "bench", "alice"));
    gh.state(|s| {
        s.permissions
            .insert("alice".to_owned(), "maintain".to_owned())
    });
    let path = "/repos/org/repo/pulls?head=stranger:pull-8&state=all";
    let (_, found) = get(&gh, path).await;
    let head = &found[0]["head"];
    assert_eq!(head["repo"]["full_name"], "stranger/repo");
    let sha = head["sha"].as_str().unwrap();
    let (_, none) = get(&gh, &format!("/repos/org/repo/commits/{sha}/pulls")).await;
    assert_eq!(none, json!([]));
    let (_, own) = get(&gh, &format!("/repos/stranger/repo/commits/{sha}/pulls")).await;
    assert_eq!(own[0]["number"], 8);
    let (_, events) = get(&gh, "/repos/org/repo/issues/8/events").await;
    assert_eq!(events[0]["label"]["name"], "bench");
    let (_, role) = get(&gh, "/repos/org/repo/collaborators/alice/permission").await;
    assert_eq!(
        (&role["permission"], &role["role_name"]),
        (&"write".into(), &"maintain".into())
    );
    let (_, files) = get(&gh, "/repos/org/repo/pulls/8/files").await;
    assert_eq!(files[0]["filename"], "src/lib.rs");
}

#[tokio::test]
async fn requests_are_held_against_githubs_description() {
    if !described() {
        return;
    }
    let gh = start();
    gh.state(|s| s.strict_paths = true);
    let sha = gh.state(|s| s.pull(7).head_sha.clone());
    let annotation = json!({"path": "a", "start_line": 1, "end_line": 1,
        "annotation_level": "notice", "message": "m"});
    let output = json!({"title": "t", "summary": "s", "annotations": [annotation]});
    let check = json!({"name": "kitt", "head_sha": sha, "conclusion": "success", "output": output});
    let checks = "/repos/org/repo/check-runs";
    assert_eq!(post(&gh, checks, check.clone()).await.0, 201);
    assert_eq!(
        get(&gh, "/repositories/1/issues/7/comments?page=2").await.0,
        200
    );
    let _ = get(&gh, "/repos/org/repo/git/ref/heads/feature/x").await;
    assert_eq!(gh.violations(), Vec::<String>::new());

    let mut wrong = check.clone();
    wrong["conclusion"] = "good".into();
    post(&gh, checks, wrong).await;
    let mut wrong = check.clone();
    wrong["output"]["annotations"][0]["start"] = 1.into();
    post(&gh, checks, wrong).await;
    get(&gh, &format!("{COMMENTS}?perpage=1&page=x")).await;
    get(&gh, "/repos/org/repo/nothing").await;
    let found = gh.violations();
    let wanted = [
        "conclusion",
        "no field .output.annotations[].start",
        "no query parameter perpage",
        "page is no integer: x",
        "no such path",
    ];
    assert_eq!(found.len(), wanted.len(), "{found:#?}");
    for (found, wanted) in found.iter().zip(wanted) {
        assert!(found.contains(wanted), "{found}");
    }
}
