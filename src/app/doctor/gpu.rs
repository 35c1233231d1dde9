//! What is found about the GPUs. Pure.

use super::finding::{Finding, Severity};
use crate::serve::{DriverFacts, Fit, fits_driver};

/// What is known of the GPUs.
#[derive(Debug, Clone, Default)]
pub(super) struct GpuFacts {
    /// The GPUs, or why none is seen.
    pub(super) seen: Seen,
    /// NVIDIA boards that the kernel lists on the PCI bus.
    pub(super) boards: usize,
    /// What was asked for.
    pub(super) wanted: Wanted,
    /// Whether this program cannot load a library at all.
    pub(super) is_static: bool,
    /// The image that is to run.
    pub(super) image: Option<Image>,
}

/// An image that is to run.
#[derive(Debug, Clone)]
pub(super) struct Image {
    pub(super) name: String,
    /// The environment it brings; `None` when the daemon does not have it.
    pub(super) environment: Option<Vec<String>>,
}

/// The GPUs, or why none is seen.
#[derive(Debug, Clone)]
pub(super) enum Seen {
    Gpus(Vec<Gpu>),
    /// No library of a driver.
    NoLibrary(String),
    /// A library whose driver does not work.
    NoDriver(String),
    /// Anything else, in words.
    Nothing(String),
}

impl Default for Seen {
    fn default() -> Self {
        Self::NoLibrary(String::new())
    }
}

/// Which GPUs were asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Wanted {
    /// All there are, none if there are none.
    #[default]
    Any,
    /// None.
    None,
    /// These.
    Listed(Vec<String>),
}

/// One GPU. `None`: it does not tell.
#[derive(Debug, Clone, Default)]
pub(super) struct Gpu {
    pub(super) uuid: String,
    pub(super) name: String,
    pub(super) driver: Option<String>,
    pub(super) cuda: Option<String>,
    pub(super) persistence: Option<bool>,
    pub(super) power_limit_mw: Option<u32>,
    pub(super) power_default_mw: Option<u32>,
    pub(super) ecc_uncorrected: Option<u64>,
    /// What holds the clocks down at this moment, in words.
    pub(super) throttled: Vec<&'static str>,
    pub(super) temperature_c: Option<u32>,
    /// Who uses it, in words; `None` when it does not tell.
    pub(super) processes: Option<Vec<String>>,
    /// Whether it is a slice of a board that others use too.
    pub(super) shared_board: bool,
}

/// Judges the GPUs.
pub(super) fn judge(facts: &GpuFacts) -> Vec<Finding> {
    if facts.wanted == Wanted::None {
        return vec![Finding::ok("gpu.seen", "no GPU was asked for")];
    }
    let gpus = match &facts.seen {
        Seen::Gpus(gpus) => gpus.as_slice(),
        Seen::NoLibrary(_) | Seen::NoDriver(_) | Seen::Nothing(_) => {
            return [
                vec![unseen(facts)],
                image(facts, None).into_iter().collect(),
            ]
            .concat();
        }
    };
    let mut found = vec![seen(gpus)];
    found.extend(listed(facts, gpus));
    found.extend(image(facts, gpus.first()));
    for (place, gpu) in gpus.iter().enumerate() {
        found.extend(one(place, gpu));
    }
    found
}

fn seen(gpus: &[Gpu]) -> Finding {
    let driver = gpus.first().and_then(|gpu| gpu.driver.as_deref());
    let names: Vec<&str> = gpus.iter().map(|gpu| gpu.name.as_str()).collect();
    let driver = driver.map_or_else(String::new, |driver| format!(", driver {driver}"));
    Finding::ok("gpu.seen", format!("{}{driver}", names.join(", ")))
}

/// Why no GPU is seen, and whether there should be one.
fn unseen(facts: &GpuFacts) -> Finding {
    const WHY: &str = "GPUs cannot be chosen, watched or locked";
    let expected = facts.boards > 0 || matches!(facts.wanted, Wanted::Listed(_));
    let severity = |expected| {
        if expected {
            Severity::Problem
        } else {
            Severity::Note
        }
    };
    let (what, remedy, severity) = match &facts.seen {
        Seen::NoDriver(detail) if detail.contains("mismatch") => (
            format!("the driver's library does not fit the loaded driver ({detail})"),
            "the driver was updated while it was in use: restart the machine",
            Severity::Problem,
        ),
        Seen::NoDriver(detail) => (
            format!("the driver does not work ({detail})"),
            "see `nvidia-smi` and the kernel's log (`dmesg | grep -i nvrm`)",
            Severity::Problem,
        ),
        Seen::NoLibrary(_) if facts.is_static && expected => (
            "this kitt is linked statically and cannot load the driver's library".to_owned(),
            "use the release for glibc (x86_64-unknown-linux-gnu)",
            Severity::Problem,
        ),
        Seen::NoLibrary(detail) if expected => (
            format!("there is a GPU and no library of its driver ({detail})"),
            "install NVIDIA's driver; in a container, mount it with --gpus",
            Severity::Problem,
        ),
        Seen::NoLibrary(_) => (
            "this host has no NVIDIA driver".to_owned(),
            "nothing, if the engine computes on processors",
            Severity::Note,
        ),
        Seen::Nothing(why) => (
            why.clone(),
            "see `nvidia-smi`, or `amd-smi list`",
            severity(expected),
        ),
        Seen::Gpus(_) => return Finding::ok("gpu.seen", "GPUs are seen"),
    };
    Finding::bad(severity, "gpu.seen", what, WHY, remedy)
}

/// GPUs that were asked for and are not there.
fn listed(facts: &GpuFacts, gpus: &[Gpu]) -> Option<Finding> {
    let Wanted::Listed(wanted) = &facts.wanted else {
        return None;
    };
    let there = |name: &String| {
        let place = name.parse().is_ok_and(|place: usize| place < gpus.len());
        place || gpus.iter().any(|gpu| gpu.uuid == *name)
    };
    let absent: Vec<&str> = wanted
        .iter()
        .filter(|name| !there(name))
        .map(String::as_str)
        .collect();
    (!absent.is_empty()).then(|| {
        Finding::problem(
            "gpu.listed",
            format!("not there: {}", absent.join(", ")),
            "the engine was to run on it",
            "`nvidia-smi -L` lists the GPUs with their UUIDs",
        )
    })
}

/// Whether the image runs on this driver.
fn image(facts: &GpuFacts, gpu: Option<&Gpu>) -> Option<Finding> {
    let Image { name, environment } = facts.image.as_ref()?;
    let Some(environment) = environment else {
        return Some(Finding::note(
            "gpu.image",
            format!("{name} is not here and was not looked at"),
            "whether it fits the driver is known only once it is pulled",
            "pull it first, or run with --auto-pull",
        ));
    };
    let gpu = gpu?;
    let driver = DriverFacts::new(gpu.cuda.as_deref(), gpu.driver.as_deref());
    Some(match fits_driver(environment, &driver) {
        Fit::Fits => Finding::ok("gpu.image", format!("{name} fits the driver")),
        Fit::Unfit(why) => Finding::problem(
            "gpu.image",
            format!("{name}: {why}"),
            "the container toolkit refuses to start it, or CUDA does",
            "update the driver, or take an image of an older CUDA",
        ),
        Fit::Doubtful(why) => Finding::note(
            "gpu.image",
            format!("{name}: {why}"),
            "on data-centre boards an older driver may do (CUDA's forward compatibility)",
            "if the start fails with `unsatisfied condition`, update the driver",
        ),
    })
}

/// How it is set up, and what it has been through.
fn one(place: usize, gpu: &Gpu) -> Vec<Finding> {
    let of = |what: String| format!("GPU {place}: {what}");
    let watts = |milliwatts: u32| f64::from(milliwatts) / 1e3;
    let mut found = Vec::new();
    if gpu.persistence == Some(false) {
        found.push(Finding::warning(
            "gpu.persistence",
            of("persistence mode is off".to_owned()),
            "the driver starts anew with each first client: slow starts, lost clock settings",
            "run nvidia-persistenced, or `nvidia-smi -pm 1` as root",
        ));
    }
    if let (Some(limit), Some(default)) = (gpu.power_limit_mw, gpu.power_default_mw)
        && limit < default
    {
        let what = format!(
            "limited to {:.0} W of {:.0} W",
            watts(limit),
            watts(default)
        );
        found.push(Finding::note(
            "gpu.power",
            of(what),
            "it is slower than others of its kind; results tell the limit and are compared \
             only under the same one",
            "`nvidia-smi -pl` sets it, if that was not intended",
        ));
    }
    if let Some(errors) = gpu.ecc_uncorrected.filter(|errors| *errors > 0) {
        found.push(Finding::warning(
            "gpu.ecc",
            of(format!(
                "{errors} memory errors that could not be corrected"
            )),
            "one more during a run makes it invalid",
            "restart the machine; if they come back, have the board replaced",
        ));
    }
    found.extend(now(place, gpu));
    found
}

/// What it does at this moment.
fn now(place: usize, gpu: &Gpu) -> Vec<Finding> {
    let of = |what: String| format!("GPU {place}: {what}");
    let mut found = Vec::new();
    if !gpu.throttled.is_empty() {
        found.push(Finding::warning(
            "gpu.throttled",
            of(format!(
                "held back right now by {}",
                gpu.throttled.join(", ")
            )),
            "an idle GPU should not be: it will be slower still under load",
            "check cooling and power supply",
        ));
    }
    if let Some(hot) = gpu.temperature_c.filter(|celsius| *celsius >= 80) {
        found.push(Finding::note(
            "gpu.temperature",
            of(format!("{hot} °C")),
            "it comes hot from something else and may throttle early",
            "let it cool down before measuring",
        ));
    }
    if let Some(users) = gpu.processes.as_deref().filter(|users| !users.is_empty()) {
        found.push(Finding::problem(
            "gpu.processes",
            of(format!("in use by {}", users.join(", "))),
            "what shares a GPU cannot be measured: a run waits for it, then stops",
            "end them, or give --wait-for-gpu",
        ));
    }
    if gpu.shared_board {
        found.push(Finding::note(
            "gpu.slice",
            of("a slice of a board that has others".to_owned()),
            "energy is the whole board's and is not reported for a slice",
            "measure on a whole board where energy matters",
        ));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn healthy() -> Gpu {
        Gpu {
            uuid: "GPU-a".into(),
            name: "NVIDIA H100 80GB HBM3".into(),
            driver: Some("550.90.07".into()),
            cuda: Some("12.4".into()),
            persistence: Some(true),
            power_limit_mw: Some(700_000),
            power_default_mw: Some(700_000),
            ecc_uncorrected: Some(0),
            temperature_c: Some(35),
            processes: Some(Vec::new()),
            ..Gpu::default()
        }
    }

    fn facts(gpus: Vec<Gpu>) -> GpuFacts {
        GpuFacts {
            boards: gpus.len(),
            seen: Seen::Gpus(gpus),
            ..GpuFacts::default()
        }
    }

    fn ids(found: &[Finding]) -> Vec<(&str, Severity)> {
        found.iter().map(|one| (one.id, one.severity)).collect()
    }

    #[test]
    fn a_healthy_gpu_has_nothing_to_be_said() {
        let found = judge(&facts(vec![healthy(), healthy()]));
        assert_eq!(ids(&found), [("gpu.seen", Severity::Ok)]);
        // What a GPU does not tell is not held against it.
        let silent = Gpu {
            name: "x".into(),
            ..Gpu::default()
        };
        assert_eq!(
            ids(&judge(&facts(vec![silent]))),
            [("gpu.seen", Severity::Ok)]
        );
    }

    #[test]
    fn each_condition_has_its_finding() {
        type Spoil = fn(&mut Gpu);
        let cases: [(Spoil, &str, Severity); 7] = [
            (
                |g| g.persistence = Some(false),
                "gpu.persistence",
                Severity::Warning,
            ),
            (
                |g| g.power_limit_mw = Some(400_000),
                "gpu.power",
                Severity::Note,
            ),
            (
                |g| g.ecc_uncorrected = Some(2),
                "gpu.ecc",
                Severity::Warning,
            ),
            (
                |g| g.throttled = vec!["heat"],
                "gpu.throttled",
                Severity::Warning,
            ),
            (
                |g| g.temperature_c = Some(83),
                "gpu.temperature",
                Severity::Note,
            ),
            (
                |g| g.processes = Some(vec!["python3 (7)".into()]),
                "gpu.processes",
                Severity::Problem,
            ),
            (|g| g.shared_board = true, "gpu.slice", Severity::Note),
        ];
        for (spoil, id, severity) in cases {
            let mut gpu = healthy();
            spoil(&mut gpu);
            let found = judge(&facts(vec![gpu]));
            assert_eq!(ids(&found), [("gpu.seen", Severity::Ok), (id, severity)]);
            assert!(found[1].remedy.is_some() && found[1].why.is_some());
        }
    }

    #[test]
    fn why_no_gpu_is_seen_decides_what_to_do() {
        let unseen = |seen: Seen, boards: usize, is_static: bool| {
            let facts = GpuFacts {
                seen,
                boards,
                is_static,
                ..GpuFacts::default()
            };
            judge(&facts).remove(0)
        };
        let mismatch = "RM detects a driver/library version mismatch";
        let found = unseen(Seen::NoDriver(mismatch.into()), 1, false);
        assert!(found.remedy.unwrap().contains("restart"));
        assert_eq!(found.severity, Severity::Problem);
        let library = || Seen::NoLibrary("dlopen".into());
        assert_eq!(unseen(library(), 0, false).severity, Severity::Note);
        assert_eq!(unseen(library(), 0, true).severity, Severity::Note);
        assert!(
            unseen(library(), 1, false)
                .remedy
                .unwrap()
                .contains("driver")
        );
        assert!(unseen(library(), 1, true).remedy.unwrap().contains("glibc"));
    }

    #[test]
    fn a_gpu_that_is_asked_for_must_be_there() {
        let wanted = |names: &[&str]| GpuFacts {
            wanted: Wanted::Listed(names.iter().map(|name| (*name).to_owned()).collect()),
            ..facts(vec![healthy()])
        };
        assert_eq!(ids(&judge(&wanted(&["GPU-a", "0"]))).len(), 1);
        let found = judge(&wanted(&["GPU-b", "1"]));
        assert_eq!(found[1].what, "not there: GPU-b, 1");
        let none = GpuFacts {
            wanted: Wanted::None,
            ..GpuFacts::default()
        };
        assert_eq!(ids(&judge(&none)), [("gpu.seen", Severity::Ok)]);
    }

    #[test]
    fn an_image_too_new_for_the_driver_is_a_problem() {
        let with = |environment: Option<&[&str]>| {
            let words = |words: &[&str]| words.iter().map(|one| (*one).to_owned()).collect();
            let facts = GpuFacts {
                image: Some(Image {
                    name: "vllm/vllm-openai:v0.9".into(),
                    environment: environment.map(words),
                }),
                ..facts(vec![healthy()])
            };
            judge(&facts).remove(1).severity
        };
        assert_eq!(
            with(Some(&["NVIDIA_REQUIRE_CUDA=cuda>=12.4"])),
            Severity::Ok
        );
        let newer = "NVIDIA_REQUIRE_CUDA=cuda>=12.8 driver>=560";
        assert_eq!(with(Some(&[newer])), Severity::Problem);
        assert_eq!(
            with(Some(&[newer, "NVIDIA_DISABLE_REQUIRE=1"])),
            Severity::Ok
        );
        let brand = "NVIDIA_REQUIRE_CUDA=cuda>=12.8 brand=tesla,driver>=550";
        assert_eq!(with(Some(&[brand])), Severity::Note);
        assert_eq!(with(None), Severity::Note);
    }
}
