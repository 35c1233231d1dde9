//! What each refusal is told to be, and what to do about it.

use kitt_action::{
    context::{CommentWhen, Publish, StepFiles},
    github::{
        Denial, GitHubError,
        operations::{CREATE_CHECK, CREATE_COMMENT, LIST_ARTIFACTS},
    },
};
use serde_json::{Value, json};

use super::{
    about, client,
    origin::{self, Canned},
};
use crate::github::{GitHub, Level, Rule, Token, What};

const COMMENTS: &str = "/repos/org/repo/issues/7/comments";

/// What becomes of a comment that is answered so.
async fn told(canned: Canned) -> GitHubError {
    let api = origin::start().await;
    api.site.at(COMMENTS, canned);
    let request = about(&CREATE_COMMENT, &["7"]).json(json!({ "body": "text" }));
    let error = client(&api.url).ask::<Value>(&request).await.unwrap_err();
    let text = error.to_string();
    assert!(
        !text.contains('\n') && !text.contains(super::TOKEN),
        "{text}"
    );
    assert_eq!(api.site.seen().len(), 1, "{text}");
    error
}

fn canned(status: u16, message: &str) -> Canned {
    Canned {
        status,
        ..Canned::ok(json!({ "message": message }).to_string())
    }
}

fn denial(error: &GitHubError) -> Denial {
    let GitHubError::Forbidden { denial, .. } = error else {
        panic!("{error}")
    };
    *denial
}

fn publish(check_run: bool) -> Publish {
    Publish {
        key: "default".parse().unwrap(),
        section: None,
        comment: CommentWhen::Always,
        post_comment: true,
        check_run,
        commit_comment: false,
        store_baseline: false,
        token: None,
        repo: None,
        pr: None,
        api_url: String::new(),
        files: StepFiles::default(),
    }
}

#[tokio::test]
async fn every_403_has_its_own_remedy() {
    let cases = [
        (
            "Resource not accessible by integration",
            Denial::Integration,
            "add `pull-requests: write` to the job's `permissions:`",
        ),
        (
            "Resource not accessible by personal access token",
            Denial::PersonalToken,
            "give the token",
        ),
        (
            "Resource protected by organization SAML enforcement. You must grant your Personal Access token access to this organization.",
            Denial::SingleSignOn,
            "single sign-on",
        ),
        (
            "Although you appear to have the correct authorization credentials, the `org` organization has an IP allow list enabled, and 192.0.2.1 is not permitted to access this resource.",
            Denial::AddressList,
            "IP allow list",
        ),
        (
            "Repository was archived so is read-only.",
            Denial::Archived,
            "archived",
        ),
        (
            "Unable to create comment because issue is locked.",
            Denial::Locked,
            "unlock",
        ),
        (
            "Request forbidden by administrative rules. Please make sure your request has a User-Agent header",
            Denial::UserAgent,
            "User-Agent",
        ),
        (
            "`org` forbids access via a personal access token (classic).",
            Denial::TokenPolicy,
            "this kind of token",
        ),
        (
            "Must have admin rights to Repository.",
            Denial::Role,
            "account behind it",
        ),
    ];
    for (message, wanted, remedy) in cases {
        let error = told(canned(403, message)).await;
        assert_eq!(denial(&error), wanted);
        let text = error.to_string();
        assert!(text.contains(message) && text.contains(remedy), "{text}");
    }
    // An address that would let anyone in stays in the header.
    let sso = canned(403, "Forbidden").header(
        "x-github-sso",
        "required; url=https://github.com/orgs/org/sso?authorization_request=secret",
    );
    let error = told(sso).await;
    assert_eq!(denial(&error), Denial::SingleSignOn);
    assert!(!format!("{error:?}").contains("secret"));
}

#[tokio::test]
async fn a_proxys_page_is_not_githubs_answer() {
    let page = Canned {
        status: 403,
        ..Canned::ok("<html>\n<h1>Blocked by policy</h1>\n</html>")
    };
    let error = told(page).await;
    assert_eq!(denial(&error), Denial::Foreign);
    assert!(error.to_string().contains("NO_PROXY"), "{error}");
}

#[tokio::test]
async fn other_statuses_say_what_to_look_at() {
    let cases = [
        (401, "Bad credentials", "`github-token`"),
        (404, "Not Found", "`pull-requests: write`"),
        (410, "This issue was deleted", "deleted"),
        (422, "Validation Failed", "refuses"),
        (451, "Repository access blocked", "legal"),
    ];
    for (status, message, hint) in cases {
        let error = told(canned(status, message)).await;
        let found = matches!(&error, GitHubError::Status { status: s, .. } if *s == status);
        assert!(found, "{error}");
        let text = error.to_string();
        assert!(text.contains(message) && text.contains(hint), "{text}");
    }
}

#[tokio::test]
async fn the_whole_block_of_permissions_is_named() {
    let gh = GitHub::start();
    gh.state(|s| {
        s.pull(7);
        let token = Token::read_only();
        s.tokens.insert(super::TOKEN.to_owned(), token);
    });
    let github = client(&gh.url);
    let request = about(&CREATE_COMMENT, &["7"]).json(json!({ "body": "text" }));
    let error = github.ask::<Value>(&request).await.unwrap_err();
    let block = error.permissions(&publish(true)).unwrap();
    assert_eq!(
        block,
        "permissions:\n  actions: read\n  checks: write\n  contents: read\n  pull-requests: write\n"
    );
    // With these rights, and no others, the same request goes through.
    let mut token = Token {
        default: Level::None,
        ..Token::read_write()
    };
    for line in block.lines().skip(1) {
        let (name, level) = line.trim().split_once(": ").unwrap();
        let level = if level == "write" {
            Level::Write
        } else {
            Level::Read
        };
        token = token.with(name, level);
    }
    gh.state(|s| s.tokens.insert(super::TOKEN.to_owned(), token));
    github.ask::<Value>(&request).await.unwrap();
    let sha = gh.state(|s| s.pull(7).head_sha.clone());
    let check = json!({ "name": "kitt", "head_sha": sha });
    let check = about(&CREATE_CHECK, &[]).json(check);
    github.ask::<Value>(&check).await.unwrap();
}

#[tokio::test]
async fn a_private_repository_hides_what_the_token_may_not_see() {
    let gh = GitHub::start();
    gh.state(|s| {
        s.repositories[0].private = true;
        let mut token = Token::read_write();
        token.repos = Some(vec!["org/another".to_owned()]);
        s.tokens.insert(super::TOKEN.to_owned(), token);
    });
    let request = about(&LIST_ARTIFACTS, &[]);
    let error = client(&gh.url).ask::<Value>(&request).await.unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("404") && text.contains("`actions: read`"),
        "{text}"
    );
    let block = error.permissions(&publish(false)).unwrap();
    assert!(block.contains("  actions: read\n"), "{block}");
}

#[tokio::test]
async fn a_fork_is_told_where_the_report_is() {
    let error = told(canned(403, "Resource not accessible by integration")).await;
    let text = error.told(true);
    assert!(
        text.contains("job summary") && text.contains("kitt ci publish"),
        "{text}"
    );
    assert!(!text.contains("add `"), "{text}");
}

#[tokio::test]
async fn an_enterprise_server_without_the_route_is_named() {
    let not_found = |page: &str| {
        let docs = format!("https://docs.github.com/enterprise-server@3.9/rest{page}");
        let body = json!({ "message": "Not Found", "documentation_url": docs });
        What::Answer(404, body.to_string())
    };
    let ask = async |url: &str, gh: &GitHub, page: &str| {
        gh.state(|s| s.fault(Rule::on("", "", not_found(page))));
        let request = about(&LIST_ARTIFACTS, &[]);
        client(url).ask::<Value>(&request).await.unwrap_err()
    };
    let gh = GitHub::start();
    let error = ask(&gh.enterprise(), &gh, "").await;
    let named = matches!(&error, GitHubError::NotOnServer { .. });
    assert!(named, "{error}");
    let route = "GET /repos/{owner}/{repo}/actions/artifacts";
    assert!(error.to_string().contains(route), "{error}");
    // The route's own page: the thing is missing, not the route.
    let page = "/actions/artifacts#list-artifacts-for-a-repository";
    let error = ask(&gh.enterprise(), &gh, page).await;
    assert!(matches!(error, GitHubError::Status { .. }), "{error}");
    // And github.com has every route.
    let error = ask(&gh.url, &gh, "").await;
    assert!(matches!(error, GitHubError::Status { .. }), "{error}");
}
