//! Whether the CUDA inside an image runs on the driver of this machine. Pure.
//!
//! Two sources, both in the image's environment: `NVIDIA_REQUIRE_*`, which NVIDIA's container
//! toolkit itself enforces when a container starts (docs.nvidia.com, Container Toolkit,
//! "Specialized Configurations with Docker", "Constraints": spaces are "or", commas are "and",
//! several variables are "and"), and `CUDA_VERSION`, which NVIDIA's base images set. A CUDA runs
//! on every driver of its own major version (docs.nvidia.com, "CUDA Compatibility", minor version
//! compatibility: 11.x from driver 450, 12.x from 525, 13.x from 580).

use std::cmp::Ordering;

/// The oldest driver branch of each CUDA major version.
const OLDEST_DRIVER: [(u32, u32); 3] = [(11, 450), (12, 525), (13, 580)];

/// The driver of this machine's GPUs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DriverFacts {
    /// The newest CUDA it speaks, such as 12.4.
    pub cuda: Option<(u32, u32)>,
    /// Its version, such as `550.54.15`.
    pub version: Option<String>,
}

impl DriverFacts {
    /// What a driver tells of itself: the newest CUDA, such as `12.4`, and its version.
    pub fn new(cuda: Option<&str>, version: Option<&str>) -> Self {
        let pair = |text: &str| {
            let (major, minor) = text.split_once('.')?;
            Some((major.parse().ok()?, minor.parse().ok()?))
        };
        Self {
            cuda: cuda.and_then(pair),
            version: version.map(str::to_owned),
        }
    }
}

/// Whether an image runs on a driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fit {
    /// Nothing speaks against it.
    Fits,
    /// It depends on something that is not known here; a sentence.
    Doubtful(String),
    /// It will not start; a sentence with what to do.
    Unfit(String),
}

/// Compares an image's environment, as `KEY=VALUE`, with a driver. Of several values for one key
/// the last counts.
pub fn fits_driver(env: &[String], driver: &DriverFacts) -> Fit {
    let enforced =
        value(env, "NVIDIA_DISABLE_REQUIRE").is_none_or(|off| off == "0" || off == "false");
    if enforced {
        let required = requirements(env).map(|(name, text)| required(name, text, driver));
        if let Some(fit) = required.into_iter().max_by_key(severity)
            && fit != Fit::Fits
        {
            return fit;
        }
    }
    compatible(env, driver)
}

const fn severity(fit: &Fit) -> u8 {
    match fit {
        Fit::Fits => 0,
        Fit::Doubtful(_) => 1,
        Fit::Unfit(_) => 2,
    }
}

fn value<'a>(env: &'a [String], key: &str) -> Option<&'a str> {
    let pairs = env.iter().rev().filter_map(|entry| entry.split_once('='));
    let mut found = pairs.filter(|(name, _)| *name == key);
    found.next().map(|(_, value)| value.trim())
}

fn requirements(env: &[String]) -> impl Iterator<Item = (&str, &str)> {
    env.iter().filter_map(|entry| {
        let (name, _) = entry.split_once('=')?;
        let required = name.starts_with("NVIDIA_REQUIRE_");
        // An overridden value is looked up again and counts once more: no harm.
        Some((name, value(env, name)?)).filter(|_| required)
    })
}

/// One `NVIDIA_REQUIRE_…` variable.
fn required(name: &str, text: &str, driver: &DriverFacts) -> Fit {
    let all = |terms: &str| {
        let terms: Vec<Option<bool>> = terms.split(',').map(|term| holds(term, driver)).collect();
        if terms.contains(&Some(false)) {
            Some(false)
        } else if terms.contains(&None) {
            None
        } else {
            Some(true)
        }
    };
    let any: Vec<Option<bool>> = text.split_whitespace().map(all).collect();
    if any.is_empty() || any.contains(&Some(true)) {
        return Fit::Fits;
    }
    // The first alternative is the plain one; the others are for data-centre boards.
    let first = text.split_whitespace().next().unwrap_or_default();
    let offers = offers(driver);
    if any.contains(&None) {
        return Fit::Doubtful(format!(
            "the image requires {first} or certain GPUs ({name}); {offers}"
        ));
    }
    Fit::Unfit(format!(
        "the image requires {first} ({name}), but {offers}: update the driver, or choose an image for an older CUDA"
    ))
}

/// Whether one condition such as `cuda>=12.4` holds; `None` where that is not known here (the
/// kind of GPU, an operator of the future).
fn holds(term: &str, driver: &DriverFacts) -> Option<bool> {
    let at = term.find(['<', '>', '=', '!'])?;
    let (subject, rest) = term.split_at_checked(at)?;
    let end = rest.find(|c| !matches!(c, '<' | '>' | '=' | '!'))?;
    let (operator, wanted) = rest.split_at_checked(end)?;
    let order = match subject {
        "cuda" => {
            let (major, minor) = driver.cuda?;
            compare(&[major, minor], &numbers(wanted)?)
        }
        "driver" => compare(&numbers(driver.version.as_deref()?)?, &numbers(wanted)?),
        _ => return None,
    };
    match operator {
        "=" | "==" => Some(order.is_eq()),
        "!=" => Some(order.is_ne()),
        "<" => Some(order.is_lt()),
        "<=" => Some(order.is_le()),
        ">" => Some(order.is_gt()),
        ">=" => Some(order.is_ge()),
        _ => None,
    }
}

fn numbers(version: &str) -> Option<Vec<u32>> {
    version.split('.').map(|part| part.parse().ok()).collect()
}

/// Part by part; what is missing counts as 0.
fn compare(left: &[u32], right: &[u32]) -> Ordering {
    let length = left.len().max(right.len());
    let padded = |parts: &[u32]| -> Vec<u32> {
        let zeros = std::iter::repeat(0);
        parts.iter().copied().chain(zeros).take(length).collect()
    };
    padded(left).cmp(&padded(right))
}

/// `CUDA_VERSION` against the driver, by major version.
fn compatible(env: &[String], driver: &DriverFacts) -> Fit {
    let Some(version) = value(env, "CUDA_VERSION") else {
        return Fit::Fits;
    };
    let Some(major) = version.split('.').next().and_then(|part| part.parse().ok()) else {
        return Fit::Fits;
    };
    if runs(major, driver) != Some(false) {
        return Fit::Fits;
    }
    let offers = offers(driver);
    if value(env, "NV_CUDA_COMPAT_PACKAGE").is_some() {
        return Fit::Doubtful(format!(
            "the image has CUDA {version}, which is newer than the driver and runs on data-centre GPUs only (forward compatibility); {offers}"
        ));
    }
    let needs = oldest(major).map_or(String::new(), |branch| format!(" to {branch} or newer"));
    Fit::Unfit(format!(
        "the image has CUDA {version}, but {offers}: update the driver{needs}, or choose an image for an older CUDA"
    ))
}

/// Whether a CUDA of this major version runs; `None` when too little is known.
fn runs(major: u32, driver: &DriverFacts) -> Option<bool> {
    let branch = driver.version.as_deref().and_then(numbers);
    let branch = branch.and_then(|parts| parts.first().copied());
    match (oldest(major), branch, driver.cuda) {
        (Some(oldest), Some(branch), _) => Some(branch >= oldest),
        (_, _, Some((cuda, _))) => Some(cuda >= major),
        (_, _, None) => None,
    }
}

fn oldest(major: u32) -> Option<u32> {
    let known = OLDEST_DRIVER.iter().find(|(cuda, _)| *cuda == major);
    known.map(|(_, branch)| *branch)
}

fn offers(driver: &DriverFacts) -> String {
    let version = driver.version.as_deref().unwrap_or("of unknown version");
    match driver.cuda {
        Some((major, minor)) => format!("the driver {version} offers CUDA {major}.{minor}"),
        None => format!("the driver is {version}"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn driver(version: &str, cuda: (u32, u32)) -> DriverFacts {
        DriverFacts {
            cuda: Some(cuda),
            version: Some(version.to_owned()),
        }
    }

    fn fit(env: &[&str], driver: &DriverFacts) -> Fit {
        let env: Vec<String> = env.iter().map(|entry| (*entry).to_owned()).collect();
        fits_driver(&env, driver)
    }

    /// Shortened from nvidia/cuda:12.4.1-base-ubuntu22.04.
    const REQUIRE: &str = "NVIDIA_REQUIRE_CUDA=cuda>=12.4 brand=tesla,driver>=470,driver<471 brand=unknown,driver>=470,driver<471 brand=tesla,driver>=535,driver<536";

    #[test]
    fn the_toolkit_s_own_requirement_is_evaluated() {
        assert_eq!(fit(&[REQUIRE], &driver("550.54.15", (12, 4))), Fit::Fits);
        assert_eq!(fit(&[REQUIRE], &driver("580.65.06", (13, 0))), Fit::Fits);
        // Older, and in none of the ranges that data-centre boards may use.
        let Fit::Unfit(why) = fit(&[REQUIRE], &driver("525.60.13", (12, 0))) else {
            panic!("CUDA 12.0 is older than 12.4")
        };
        assert!(
            why.contains("cuda>=12.4") && why.contains("CUDA 12.0"),
            "{why}"
        );
        // In such a range: the board decides, and it is not known here.
        let doubtful = fit(&[REQUIRE], &driver("535.104.05", (12, 2)));
        assert!(matches!(doubtful, Fit::Doubtful(_)), "{doubtful:?}");
        let off = fit(
            &[REQUIRE, "NVIDIA_DISABLE_REQUIRE=1"],
            &driver("525.60.13", (12, 0)),
        );
        assert_eq!(off, Fit::Fits);
        let unknown = fit(&[REQUIRE], &DriverFacts::default());
        assert!(matches!(unknown, Fit::Doubtful(_)), "{unknown:?}");
    }

    // CUDA Compatibility, table "minor version compatibility": 12.x ≥ 525, 13.x ≥ 580.
    #[test]
    fn a_cuda_runs_on_every_driver_of_its_major_version() {
        for (image, version, cuda, fits) in [
            ("12.8.1", "525.60.13", (12, 0), true),
            ("12.0.0", "520.61.05", (11, 8), false),
            ("13.0.0", "580.65.06", (13, 0), true),
            ("13.0.0", "575.51.03", (12, 9), false),
            ("11.8.0", "580.65.06", (13, 0), true),
            ("14.0", "580.65.06", (13, 0), false),
            ("garbage", "580.65.06", (13, 0), true),
        ] {
            let found = fit(&[&format!("CUDA_VERSION={image}")], &driver(version, cuda));
            assert_eq!(found == Fit::Fits, fits, "{image} on {version}: {found:?}");
        }
    }

    #[test]
    fn what_is_unknown_is_not_held_against_the_image() {
        assert_eq!(
            fit(&["CUDA_VERSION=13.0.0"], &DriverFacts::default()),
            Fit::Fits
        );
        assert_eq!(fit(&["PATH=/bin"], &driver("1.2", (9, 0))), Fit::Fits);
        let compat = [
            "CUDA_VERSION=13.0.0",
            "NV_CUDA_COMPAT_PACKAGE=cuda-compat-13-0",
        ];
        let old = fit(&compat, &driver("535.104.05", (12, 2)));
        assert!(matches!(old, Fit::Doubtful(_)), "{old:?}");
    }

    #[test]
    fn several_requirements_must_all_hold_and_the_last_value_counts() {
        let new = driver("550.54.15", (12, 4));
        let two = [
            "NVIDIA_REQUIRE_CUDA=cuda>=12.0",
            "NVIDIA_REQUIRE_DRIVER=driver>=570",
        ];
        assert!(matches!(fit(&two, &new), Fit::Unfit(_)));
        let overridden = ["CUDA_VERSION=13.0.0", "CUDA_VERSION=12.0.0"];
        assert_eq!(fit(&overridden, &new), Fit::Fits);
    }

    #[test]
    fn versions_are_compared_by_number() {
        assert_eq!(compare(&[12, 10], &[12, 4]), Ordering::Greater);
        assert_eq!(compare(&[470, 82, 1], &[471]), Ordering::Less);
        assert_eq!(compare(&[12], &[12, 0]), Ordering::Equal);
    }

    proptest! {
        #[test]
        fn no_text_breaks_it(text in "[a-z0-9<>=!., ]{0,40}") {
            let env = [format!("NVIDIA_REQUIRE_CUDA={text}"), format!("CUDA_VERSION={text}")];
            let _fit = fits_driver(&env, &driver("550.54.15", (12, 4)));
        }
    }
}
