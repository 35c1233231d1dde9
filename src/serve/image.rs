//! Making an image available: it is there, it is pulled, or it is made of a binary.
//!
//! In: an image source. Out: the reference to create a container from, and its digest.

use std::{path::Path, time::Duration};

use bollard::{
    body_full,
    models::ImageInspect,
    query_parameters::{
        CreateImageOptions, CreateImageOptionsBuilder, ListImagesOptionsBuilder, RemoveImageOptions,
    },
};
use tokio::sync::OnceCell;

use super::{
    LABEL, ServeError, connect,
    docker::{ASK, Daemon, call, status},
    pull,
    rootfs::{self, REPOSITORY, Rootfs},
};
use crate::{engine::ImageSource, ids::ImageRef};

/// The running binary, through the kernel's link: right even when the file was replaced since.
const OWN: &str = "/proc/self/exe";
/// Importing is local; a daemon that says nothing for so long is stuck.
const IMPORT_IDLE: Duration = Duration::from_mins(2);
/// Seconds: how much older than the newest one an image of an earlier binary must be to be swept.
const SWEEP_AGE: i64 = 6 * 3600;

/// An image on the daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Image {
    /// What a container is created from.
    pub(super) reference: String,
    /// Repository digest, or the image's own id when it came from no registry.
    pub(super) digest: Option<String>,
}

/// Makes the image available, pulling it when `auto_pull` allows.
pub(super) async fn ensure(
    daemon: &Daemon,
    source: &ImageSource,
    auto_pull: bool,
) -> Result<Image, ServeError> {
    match source {
        ImageSource::RunningBinary => own(daemon).await,
        ImageSource::Reference(reference) => {
            let name = tagged(reference);
            if let Some(image) = find(daemon, &name).await? {
                return Ok(image);
            }
            if !auto_pull {
                return Err(ServeError::ImageMissing { image: name });
            }
            pull::pull(daemon, &name).await?;
            let missing = || ServeError::Image {
                image: name.clone(),
                detail: "the pull succeeded but the image is not there".to_owned(),
            };
            find(daemon, &name).await?.ok_or_else(missing)
        }
    }
}

/// The reference with a tag or digest: without one, a pull asks for every tag there is.
fn tagged(reference: &ImageRef) -> String {
    let text = reference.as_str();
    let last = text.rsplit('/').next().unwrap_or(text);
    if text.contains('@') || last.contains(':') {
        text.to_owned()
    } else {
        format!("{text}:latest")
    }
}

async fn find(daemon: &Daemon, name: &str) -> Result<Option<Image>, ServeError> {
    match call("look at the image", ASK, daemon.docker.inspect_image(name)).await {
        Ok(found) => Ok(Some(Image {
            reference: name.to_owned(),
            digest: digest(found),
        })),
        Err(error) if status(&error) == Some(404) => Ok(None),
        Err(error) => Err(error),
    }
}

fn digest(image: ImageInspect) -> Option<String> {
    let repository = image.repo_digests.unwrap_or_default().into_iter().next();
    repository
        .and_then(|full| Some(full.split_once('@')?.1.to_owned()))
        .or(image.id)
}

/// The image of the running binary. It cannot change while it runs, so it is hashed once.
async fn own(daemon: &Daemon) -> Result<Image, ServeError> {
    static TAG: OnceCell<String> = OnceCell::const_new();
    if let Some(tag) = TAG.get()
        && let Some(image) = find(daemon, &format!("{REPOSITORY}:{tag}")).await?
    {
        return Ok(image);
    }
    let packed = pack(Path::new(OWN)).await?;
    // A second caller has set the same tag.
    let _same: Result<(), _> = TAG.set(packed.tag.clone());
    import(daemon, packed).await
}

/// Makes an image of `executable` and its shared libraries on the daemon, or finds the one made
/// earlier, and gives its reference, `kitt-sim:<hash>`. Its entry point is the executable.
///
/// # Errors
/// No daemon, a file that is no 64-bit ELF, a library that is missing, a failed import.
pub async fn image_of(
    docker_host: Option<&str>,
    executable: &Path,
) -> Result<ImageRef, ServeError> {
    let daemon = connect(docker_host).await?;
    let packed = pack(executable).await?;
    let image = import(&daemon, packed).await?.reference;
    image
        .parse()
        .map_err(|error: crate::ids::NameError| failed(&image, error.to_string()))
}

async fn pack(executable: &Path) -> Result<Rootfs, ServeError> {
    let path = executable.to_owned();
    let packed = match tokio::task::spawn_blocking(move || rootfs::pack(&path, LABEL)).await {
        Ok(packed) => packed,
        Err(error) => Err(error.to_string()),
    };
    packed.map_err(|detail| failed(REPOSITORY, detail))
}

fn failed(image: &str, detail: String) -> ServeError {
    ServeError::Image {
        image: image.to_owned(),
        detail,
    }
}

async fn import(daemon: &Daemon, packed: Rootfs) -> Result<Image, ServeError> {
    let name = format!("{REPOSITORY}:{}", packed.tag);
    if let Some(image) = find(daemon, &name).await? {
        return Ok(image);
    }
    tracing::info!(
        image = name,
        bytes = packed.tar.len(),
        "making the simulator's image"
    );
    let options: CreateImageOptions = CreateImageOptionsBuilder::new()
        .from_src("-")
        .repo(REPOSITORY)
        .tag(&packed.tag)
        .changes(packed.changes)
        .build();
    let body = body_full(packed.tar.into());
    let answer = daemon.docker.create_image(Some(options), Some(body), None);
    let said = pull::drain(answer, IMPORT_IDLE, |_| ()).await;
    said.map_err(|detail| failed(&name, detail))?;
    let image = find(daemon, &name).await?;
    let image = image.ok_or_else(|| failed(&name, "the import made no image".to_owned()))?;
    if let Err(error) = sweep(daemon, &packed.tag).await {
        tracing::debug!(%error, "images of earlier binaries were not swept");
    }
    Ok(image)
}

/// Removes images made of earlier binaries, so that every build does not leave one behind. Young
/// ones stay: another run may be about to use them; the daemon keeps those in use itself.
async fn sweep(daemon: &Daemon, tag: &str) -> Result<(), ServeError> {
    let filter = [("label", vec![format!("{LABEL}=1")])].into();
    let options = ListImagesOptionsBuilder::new().filters(&filter).build();
    let images = call("list images", ASK, daemon.docker.list_images(Some(options))).await?;
    let current = format!("{REPOSITORY}:{tag}");
    let newest = images
        .iter()
        .filter(|image| image.repo_tags.contains(&current));
    let Some(newest) = newest.map(|image| image.created).max() else {
        return Ok(());
    };
    for image in images {
        if image.created >= newest.saturating_sub(SWEEP_AGE) {
            continue;
        }
        let remove = daemon
            .docker
            .remove_image(&image.id, None::<RemoveImageOptions>, None);
        match call("remove an image", ASK, remove).await {
            Ok(_) => tracing::debug!(image = image.id, "swept"),
            Err(error) => tracing::debug!(image = image.id, %error, "kept"),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_always_gets_a_tag() {
        let digest = format!("a@sha256:{}", "0".repeat(64));
        for (typed, asked) in [
            ("busybox", "busybox:latest"),
            ("127.0.0.1:5000/a/b", "127.0.0.1:5000/a/b:latest"),
            ("127.0.0.1:5000/a/b:1", "127.0.0.1:5000/a/b:1"),
            (digest.as_str(), digest.as_str()),
        ] {
            assert_eq!(tagged(&typed.parse().unwrap()), asked);
        }
    }

    #[test]
    fn a_registry_digest_is_preferred_to_the_local_id() {
        let local = ImageInspect {
            id: Some("sha256:local".into()),
            ..ImageInspect::default()
        };
        assert_eq!(digest(local.clone()).as_deref(), Some("sha256:local"));
        let pulled = ImageInspect {
            repo_digests: Some(vec!["ghcr.io/a/b@sha256:remote".into()]),
            ..local
        };
        assert_eq!(digest(pulled).as_deref(), Some("sha256:remote"));
    }
}
