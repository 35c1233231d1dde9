//! Credentials of a registry, from where Docker keeps them. In its order: the helper of that
//! registry, the helper for all, the configuration file itself; then Podman's file.
//!
//! A place that is broken is told and passed over: many images need no credentials at all.

use std::path::PathBuf;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bollard::auth::DockerCredentials;
use serde_json::Value;

use super::{DockerPlace, credential_helper, docker_config::DockerConfig};
use crate::{ids::ImageRef, secret::Secret};

/// What `docker login` without an address writes for Docker Hub, and what helpers expect.
const HUB_KEY: &str = "https://index.docker.io/v1/";
/// The user name that says that the secret is an identity token.
const TOKEN_USER: &str = "<token>";

/// What was found for one registry.
#[derive(Default)]
pub(super) struct Found {
    /// Credentials and where they were, such as `credsStore desktop of /h/.docker/config.json`.
    pub(super) credentials: Option<(DockerCredentials, String)>,
    /// Sentences about places that are broken.
    pub(super) problems: Vec<String>,
}

impl Found {
    /// Every text that must not be seen.
    pub(super) fn secrets(&self) -> Vec<Secret> {
        let Some((found, _)) = &self.credentials else {
            return Vec::new();
        };
        let pair = match (&found.username, &found.password) {
            (Some(user), Some(password)) => Some(STANDARD.encode(format!("{user}:{password}"))),
            _ => None,
        };
        [
            found.password.clone(),
            found.identitytoken.clone(),
            found.registrytoken.clone(),
            pair,
        ]
        .into_iter()
        .flatten()
        .filter_map(Secret::new)
        .collect()
    }
}

/// Looks up the credentials for the image's registry.
pub(super) async fn find(place: &DockerPlace, image: &ImageRef) -> Found {
    let mut found = Found::default();
    if let Some(dir) = &place.config_dir
        && let Some(config) = found.read(dir.join("config.json"))
    {
        if let Some((helper, key)) = helper(&config, image) {
            let source = format!("credential helper {helper} of {}", config.path.display());
            match credential_helper::get(helper, key).await {
                Ok(Some(kept)) => {
                    found.credentials = Some((from_helper(kept, key), source));
                    return found;
                }
                Ok(None) => {}
                Err(why) => found.problems.push(why),
            }
        }
        found.look_into(&config, image);
    }
    if found.credentials.is_none()
        && let Some(dir) = &place.runtime_dir
        && let Some(config) = found.read(dir.join("containers/auth.json"))
    {
        found.look_into(&config, image);
    }
    found
}

impl Found {
    fn read(&mut self, file: PathBuf) -> Option<DockerConfig> {
        DockerConfig::read(file).unwrap_or_else(|why| {
            self.problems.push(why);
            None
        })
    }

    /// Looks for credentials kept in the file itself.
    fn look_into(&mut self, config: &DockerConfig, image: &ImageRef) {
        let Some((key, entry)) = entry(config, image) else {
            return;
        };
        let file = config.path.display();
        match inline(entry, address(image)) {
            Ok(Some(credentials)) => {
                self.credentials = Some((credentials, format!("`{key}` in {file}")));
            }
            // With a helper the entry only says that there was a login.
            Ok(None) => {}
            Err(why) => self.problems.push(format!("`{key}` in {file} {why}")),
        }
    }
}

/// The registry as Docker writes it.
fn address(image: &ImageRef) -> &str {
    match image.registry() {
        "docker.io" => HUB_KEY,
        host => host,
    }
}

/// The helper to ask, and the name of the registry it is asked for.
fn helper<'a>(config: &'a DockerConfig, image: &'a ImageRef) -> Option<(&'a str, &'a str)> {
    let key = address(image);
    let hub = || (key == HUB_KEY).then(|| config.helper("index.docker.io"))?;
    let own = config
        .helper(key)
        .or_else(|| config.helper(image.registry()))
        .or_else(hub);
    Some((own.or_else(|| config.store())?, key))
}

/// The entry for the longest part of the image's repository: Podman keeps credentials for
/// folders of a registry too (containers-auth.json(5)).
fn entry<'a>(config: &'a DockerConfig, image: &ImageRef) -> Option<(&'a str, &'a Value)> {
    let repository = image.repository();
    let covers = |key: &str| {
        let rest = repository.strip_prefix(key)?;
        (rest.is_empty() || rest.starts_with('/')).then_some(key.len())
    };
    config
        .auths()
        .filter_map(|(key, entry)| Some((covers(plain(key))?, key, entry)))
        .max_by_key(|(length, ..)| *length)
        .map(|(_, key, entry)| (key, entry))
}

/// The key without what only old versions of Docker wrote: `https://r.io/v1/` is `r.io`.
fn plain(key: &str) -> &str {
    let Some((_, rest)) = key.split_once("://") else {
        return hub_or(key);
    };
    hub_or(rest.split('/').next().unwrap_or(rest))
}

fn hub_or(host: &str) -> &str {
    match host {
        "index.docker.io" | "registry-1.docker.io" => "docker.io",
        other => other,
    }
}

fn from_helper(kept: credential_helper::Kept, registry: &str) -> DockerCredentials {
    let server = Some(registry.to_owned());
    if kept.username == TOKEN_USER {
        return DockerCredentials {
            identitytoken: Some(kept.secret),
            serveraddress: server,
            ..DockerCredentials::default()
        };
    }
    DockerCredentials {
        username: Some(kept.username),
        password: Some(kept.secret),
        serveraddress: server,
        ..DockerCredentials::default()
    }
}

/// An entry of `auths`; `None` for one without credentials. An error continues "the entry …".
fn inline(entry: &Value, registry: &str) -> Result<Option<DockerCredentials>, &'static str> {
    let field = |name| {
        let text = entry.get(name)?.as_str()?;
        Some(text.to_owned()).filter(|text| !text.is_empty())
    };
    let (mut username, mut password) = (field("username"), field("password"));
    if let Some(auth) = field("auth") {
        let (user, word) = pair(&auth).ok_or("is not base64 of USER:PASSWORD: log in anew")?;
        (username, password) = (Some(user), Some(word).filter(|word| !word.is_empty()));
    }
    let identitytoken = field("identitytoken");
    let registrytoken = field("registrytoken");
    if identitytoken.is_some() {
        password = None;
    }
    if password.is_none() && identitytoken.is_none() && registrytoken.is_none() {
        return Ok(None);
    }
    Ok(Some(DockerCredentials {
        username,
        password,
        identitytoken,
        registrytoken,
        serveraddress: Some(registry.to_owned()),
        ..DockerCredentials::default()
    }))
}

/// User and password of an `auth` field. A password may hold colons; Docker cuts zero bytes off
/// its ends.
fn pair(auth: &str) -> Option<(String, String)> {
    let text = String::from_utf8(STANDARD.decode(auth.trim()).ok()?).ok()?;
    let (user, password) = text.split_once(':')?;
    Some((user.to_owned(), password.trim_matches('\0').to_owned()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn place(config: &str) -> (tempfile::TempDir, DockerPlace) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("config.json"), config).unwrap();
        let place = DockerPlace {
            config_dir: Some(dir.path().to_owned()),
            ..DockerPlace::default()
        };
        (dir, place)
    }

    async fn user(config: &str, image: &str) -> Option<String> {
        let (_dir, place) = place(config);
        let found = find(&place, &image.parse().unwrap()).await;
        assert_eq!(found.problems, [""; 0]);
        found.credentials.and_then(|(found, _)| found.username)
    }

    // printf u:p | base64 and the like.
    const U: &str = "dTpw";
    const HUB: &str = "aHViOnA=";

    #[tokio::test]
    async fn the_key_of_the_registry_is_found_however_it_is_written() {
        for key in ["r.io:5000", "https://r.io:5000", "http://r.io:5000/v1/"] {
            let config = format!(r#"{{"auths":{{"{key}":{{"auth":"{U}"}}}}}}"#);
            assert_eq!(
                user(&config, "r.io:5000/a:1").await.as_deref(),
                Some("u"),
                "{key}"
            );
            assert_eq!(user(&config, "r.io/a:1").await, None, "{key}");
            assert_eq!(user(&config, "busybox").await, None, "{key}");
        }
    }

    #[tokio::test]
    async fn docker_hub_has_a_key_of_its_own() {
        for key in [
            "https://index.docker.io/v1/",
            "index.docker.io",
            "docker.io",
        ] {
            let config = format!(r#"{{"auths":{{"{key}":{{"auth":"{HUB}"}}}}}}"#);
            assert_eq!(
                user(&config, "vllm/vllm-openai:v1").await.as_deref(),
                Some("hub")
            );
            assert_eq!(user(&config, "busybox").await.as_deref(), Some("hub"));
        }
    }

    #[tokio::test]
    async fn podman_s_file_is_the_last_resort() {
        let (runtime, mut place) = place(r#"{"auths":{"r.io":{}}}"#);
        std::fs::create_dir(runtime.path().join("containers")).unwrap();
        let auth = format!(r#"{{"auths":{{"r.io":{{"auth":"{U}"}}}}}}"#);
        std::fs::write(runtime.path().join("containers/auth.json"), auth).unwrap();
        place.runtime_dir = Some(runtime.path().to_owned());
        let found = find(&place, &"r.io/x:1".parse().unwrap()).await;
        let (credentials, source) = found.credentials.unwrap();
        assert_eq!(credentials.username.as_deref(), Some("u"));
        assert!(source.contains("auth.json"), "{source}");
    }

    #[tokio::test]
    async fn the_longest_part_of_the_repository_decides() {
        let config = format!(
            r#"{{"auths":{{"r.io":{{"auth":"{U}"}},"r.io/team":{{"auth":"{HUB}"}},"r.io/te":{{"auth":"!"}}}}}}"#
        );
        assert_eq!(user(&config, "r.io/team/x:1").await.as_deref(), Some("hub"));
        assert_eq!(user(&config, "r.io/other:1").await.as_deref(), Some("u"));
    }

    #[tokio::test]
    async fn what_is_broken_is_told_and_never_quoted() {
        let image: ImageRef = "r.io/x:1".parse().unwrap();
        for (config, says) in [
            (r#"{"auths":{"r.io":{"auth":"s3cret!"}}}"#, "not base64"),
            (r#"{"auths":{"r.io":{"auth":"s3cret"#, "not valid JSON"),
            (
                r#"{"credsStore":"../s"}"#,
                "not the name of a credential helper",
            ),
            (
                r#"{"credHelpers":{"r.io":"kitt-none-such"}}"#,
                "no such program",
            ),
        ] {
            let (_dir, place) = place(config);
            let found = find(&place, &image).await;
            assert!(found.credentials.is_none());
            let told = found.problems.join("; ");
            assert!(told.contains(says) && !told.contains("s3cret"), "{told}");
        }
    }

    #[test]
    fn entries_of_every_kind_are_read() {
        let read = |json: &str| inline(&serde_json::from_str(json).unwrap(), "r.io");
        assert_eq!(read("{}"), Ok(None));
        assert_eq!(read("7"), Ok(None));
        assert_eq!(read(r#"{"auth":""}"#), Ok(None));
        let plain = read(r#"{"username":"u","password":"p:q"}"#)
            .unwrap()
            .unwrap();
        assert_eq!(plain.password.as_deref(), Some("p:q"));
        // printf '<token>:' | base64: an identity token takes the place of the password.
        let token = read(r#"{"auth":"PHRva2VuPjo=","identitytoken":"t"}"#)
            .unwrap()
            .unwrap();
        assert_eq!(
            (token.identitytoken.as_deref(), token.password),
            (Some("t"), None)
        );
        assert_eq!(read(r#"{"auth":"dTo="}"#), Ok(None));
        assert!(read(r#"{"auth":"dXA="}"#).is_err());
    }

    #[test]
    fn every_form_of_a_secret_is_listed() {
        let found = Found {
            credentials: Some((
                inline(&serde_json::json!({"auth": U}), "r.io")
                    .unwrap()
                    .unwrap(),
                String::new(),
            )),
            problems: Vec::new(),
        };
        let secrets = found.secrets();
        let texts: Vec<&str> = secrets.iter().map(Secret::expose).collect();
        assert_eq!(texts, ["p", U]);
    }

    proptest! {
        #[test]
        fn any_password_comes_back(user in "[^:]{0,8}", password in "[^\0]{1,12}") {
            let auth = STANDARD.encode(format!("{user}:{password}"));
            prop_assert_eq!(pair(&auth), Some((user, password)));
        }

        #[test]
        fn what_is_no_pair_is_refused(text in any::<String>()) {
            let entry = serde_json::json!({"auth": text, "identitytoken": 3});
            if !text.is_empty() && pair(&text).is_none() {
                prop_assert!(inline(&entry, "r.io").is_err());
            }
        }
    }
}
