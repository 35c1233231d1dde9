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
    DockerPlace, LABEL, ServeError, ServeOptions,
    calls::ask,
    connect, credentials,
    cuda::{Fit, fits_driver},
    docker::{ASK, Daemon, call, status},
    pull,
    rootfs::{self, REPOSITORY, Rootfs},
};
use crate::{
    engine::{ContainerSpec, GpuSet, ImageSource},
    ids::{ImageId, ImageRef},
    secret::Secret,
};

/// The running binary, through the kernel's link: right even when the file was replaced since.
const OWN: &str = "/proc/self/exe";
/// Importing is local; a daemon that says nothing for so long is stuck.
const IMPORT_IDLE: Duration = Duration::from_mins(2);
/// Seconds: how much older than the newest one an image of an earlier binary must be to be swept.
const SWEEP_AGE: i64 = 6 * 3600;

/// An image on the daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// What a container is created from.
    pub reference: String,
    /// Repository digest, or the image's own id when it came from no registry.
    pub digest: Option<String>,
    /// Its size on the daemon's disk in bytes.
    pub size: Option<u64>,
    /// Environment its containers start with, as `KEY=VALUE`.
    pub env: Vec<String>,
    /// Secrets that were used to pull it; they must not reach a log.
    pub secrets: Vec<Secret>,
}

/// Makes an image available: it is there, it is pulled where the options allow it, or it is made of
/// the running binary. Whether this machine's driver can run it is asked when it is started.
///
/// # Errors
/// No daemon, an image that is missing and may not be pulled, or a pull that failed.
pub async fn fetch(source: &ImageSource, options: &ServeOptions) -> Result<Image, ServeError> {
    let daemon = connect(&options.docker).await?;
    Box::pin(available(&daemon, source, options)).await
}

async fn available(
    daemon: &Daemon,
    source: &ImageSource,
    options: &ServeOptions,
) -> Result<Image, ServeError> {
    match source {
        ImageSource::RunningBinary => own(daemon).await,
        ImageSource::Reference(image) => reference(daemon, image, options).await,
    }
}

/// Makes the container's image available and checks that this machine's driver can run it.
pub(super) async fn ensure(
    daemon: &Daemon,
    spec: &ContainerSpec,
    options: &ServeOptions,
) -> Result<Image, ServeError> {
    let image = available(daemon, &spec.image, options).await?;
    check_driver(&image, spec, options)?;
    Ok(image)
}

/// NVIDIA's toolkit would refuse the container in words that few understand, or the engine would
/// fail minutes later.
fn check_driver(
    image: &Image,
    spec: &ContainerSpec,
    options: &ServeOptions,
) -> Result<(), ServeError> {
    let (Some(driver), GpuSet::Nvidia(_)) = (&options.driver, &spec.gpus) else {
        return Ok(());
    };
    let given = spec.env.iter().map(|(key, value)| format!("{key}={value}"));
    let env: Vec<String> = image.env.iter().cloned().chain(given).collect();
    match fits_driver(&env, driver) {
        Fit::Fits => Ok(()),
        Fit::Doubtful(why) => {
            tracing::warn!("{}: {why}", image.reference);
            Ok(())
        }
        Fit::Unfit(why) => Err(ServeError::Driver {
            image: image.reference.clone(),
            why,
        }),
    }
}

async fn reference(
    daemon: &Daemon,
    image: &ImageRef,
    options: &ServeOptions,
) -> Result<Image, ServeError> {
    let image = image.completed();
    if let Some(found) = find(daemon, image.as_str()).await? {
        return Ok(found);
    }
    if !options.auto_pull {
        return Err(ServeError::ImageMissing {
            image: image.to_string(),
        });
    }
    let found = credentials::find(&options.docker, &image).await;
    let secrets = found.secrets();
    if let Some(mask) = options.mask {
        secrets.iter().for_each(mask);
    }
    pull::pull(daemon, &image, &found, &options.pull).await?;
    let pulled = find(daemon, image.as_str()).await?;
    let pulled = pulled.ok_or_else(|| {
        let detail = "the pull succeeded but the image is not there".to_owned();
        failed(image.as_str(), detail)
    })?;
    Ok(Image { secrets, ..pulled })
}

/// The image of that name: a checked reference, or one made here.
async fn find(daemon: &Daemon, name: &str) -> Result<Option<Image>, ServeError> {
    match ask("look at the image", || daemon.docker.inspect_image(name)).await {
        Ok(found) => Ok(Some(image(name, found))),
        Err(error) if status(&error) == Some(404) => Ok(None),
        Err(error) => Err(error),
    }
}

fn image(name: &str, found: ImageInspect) -> Image {
    let config = found.config.unwrap_or_default();
    Image {
        reference: name.to_owned(),
        digest: digest(name, &found.repo_digests.unwrap_or_default(), found.id),
        size: found.size.and_then(|bytes| u64::try_from(bytes).ok()),
        env: config.env.unwrap_or_default(),
        secrets: Vec::new(),
    }
}

/// The digest under which the reference's own repository knows the image: one image may have
/// come from several. Without any, the image's id.
fn digest(name: &str, known: &[String], id: Option<String>) -> Option<String> {
    let asked: Option<ImageRef> = name.parse().ok();
    let repository = asked.map(|asked| asked.repository());
    let known = known
        .iter()
        .filter_map(|full| full.parse::<ImageRef>().ok());
    let mut own = known.filter(|full| Some(full.repository()) == repository);
    own.find_map(|full| full.digest().map(str::to_owned)).or(id)
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
pub async fn image_of(docker: &DockerPlace, executable: &Path) -> Result<ImageRef, ServeError> {
    let daemon = connect(docker).await?;
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
    let said = pull::drain(answer, IMPORT_IDLE).await;
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
    let list = || daemon.docker.list_images(Some(options.clone()));
    let images = ask("list images", list).await?;
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
        let Ok(id) = image.id.parse::<ImageId>() else {
            continue;
        };
        let remove = daemon
            .docker
            .remove_image(id.as_str(), None::<RemoveImageOptions>, None);
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
    use crate::serve::DriverFacts;

    fn sha(digit: char) -> String {
        format!("sha256:{}", digit.to_string().repeat(64))
    }

    #[test]
    fn the_digest_of_the_asked_repository_is_recorded() {
        let known = || {
            vec![
                format!("mirror.io/x@{}", sha('1')),
                format!("busybox@{}", sha('2')),
            ]
        };
        let id = || Some(sha('3'));
        assert_eq!(digest("busybox:1", &known(), id()), Some(sha('2')));
        assert_eq!(
            digest("docker.io/library/busybox:1", &known(), id()),
            Some(sha('2'))
        );
        assert_eq!(
            digest(&format!("mirror.io/x@{}", sha('1')), &known(), id()),
            Some(sha('1'))
        );
        assert_eq!(digest("kitt-sim:local", &known(), id()), id());
        assert_eq!(
            digest("kitt-sim:local", &["garbage".to_owned()], None),
            None
        );
    }

    #[test]
    fn an_image_too_new_for_the_driver_is_refused_only_where_a_gpu_is_used() {
        let image = Image {
            reference: "a:1".to_owned(),
            digest: None,
            size: None,
            env: vec!["CUDA_VERSION=13.0.0".to_owned()],
            secrets: Vec::new(),
        };
        let reference: ImageRef = "a:1".parse().unwrap();
        let mut spec = ContainerSpec::new(ImageSource::Reference(reference), 8000);
        let options = ServeOptions {
            driver: Some(DriverFacts {
                cuda: Some((12, 4)),
                version: Some("550.54.15".to_owned()),
            }),
            ..ServeOptions::new("r")
        };
        assert!(check_driver(&image, &spec, &options).is_ok());
        spec.gpus = GpuSet::Nvidia(vec!["GPU-1".to_owned()]);
        let error = check_driver(&image, &spec, &options)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("a:1") && error.contains("580 or newer"),
            "{error}"
        );
        assert!(check_driver(&image, &spec, &ServeOptions::new("r")).is_ok());
    }
}
