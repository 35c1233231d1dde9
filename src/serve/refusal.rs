//! Why a daemon refuses to create or start a container: its sentence to a cause, a remedy, whose
//! fault it is and whether another try in another way is worth it. Pure.
//!
//! The sentences are those of Docker 20.10 to 28, runc and NVIDIA's container toolkit; what is
//! not known keeps its own words.

/// Whose fault it is, which decides the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// This host's: another one may do.
    Host,
    /// The engine's: its image or its command.
    Engine,
    /// What was asked for.
    Settings,
}

/// What a second try changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Again {
    /// Devices through their specifications instead of NVIDIA's hook.
    Cdi,
    /// No limits of processes.
    WithoutUlimits,
    /// Nothing but the port, which the daemon chooses.
    OtherPort,
}

/// A refusal that is understood.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// All of these stand in the sentence, in lower case.
    needles: &'static [&'static str],
    pub(super) fault: Fault,
    pub(super) again: Option<Again>,
    /// A clause without a full stop.
    pub(super) cause: &'static str,
    /// A clause without a full stop.
    pub(super) remedy: &'static str,
}

/// What the daemon's sentence means; the first that fits.
pub(super) fn classify(message: &str) -> Option<&'static Refusal> {
    let message = message.to_lowercase();
    let fits = |refusal: &&Refusal| refusal.needles.iter().all(|part| message.contains(part));
    KNOWN.iter().find(fits)
}

const fn known(
    needles: &'static [&'static str],
    fault: Fault,
    cause: &'static str,
    remedy: &'static str,
) -> Refusal {
    Refusal {
        needles,
        fault,
        again: None,
        cause,
        remedy,
    }
}

impl Refusal {
    const fn or(self, how: Again) -> Self {
        Self {
            again: Some(how),
            ..self
        }
    }
}

const TOOLKIT: &str = "install NVIDIA's container toolkit, run `nvidia-ctk runtime configure --runtime=docker` \
and restart Docker (or `nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml` for CDI)";
const DRIVER: &str = "check that `nvidia-smi` works on this host; load or reinstall the driver, \
or reboot after an upgrade";
const PROGRAM: &str =
    "check the image and the entry point; an image of the wrong kind has no such program";

/// The narrower before the wider: the first that fits counts.
static KNOWN: &[Refusal] = &[
    known(
        &["could not select device driver"],
        Fault::Host,
        "this daemon has nothing that hands out GPUs",
        TOOLKIT,
    )
    .or(Again::Cdi),
    known(
        &["unresolvable cdi devices"],
        Fault::Host,
        "no device specification (CDI) describes the GPU",
        "run `nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml` and check `nvidia-ctk cdi list`",
    ),
    known(
        &["unsatisfied condition: cuda"],
        Fault::Host,
        "the image is made for a newer CUDA than the host's NVIDIA driver supports",
        "update the driver, or take an image made for an older CUDA",
    ),
    known(
        &["nvidia-container-cli", "unknown device"],
        Fault::Host,
        "the GPU asked for is not on this host",
        "compare the GPUs asked for with `nvidia-smi -L`",
    ),
    known(
        &["nvml error"],
        Fault::Host,
        "the NVIDIA driver does not answer",
        DRIVER,
    ),
    known(
        &["nvidia-container-cli"],
        Fault::Host,
        "NVIDIA's container toolkit could not prepare the GPUs",
        DRIVER,
    ),
    known(
        &["unknown runtime specified"],
        Fault::Host,
        "the daemon does not know the container runtime",
        TOOLKIT,
    ),
    known(
        &["unknown or invalid runtime name"],
        Fault::Host,
        "the daemon does not know the container runtime",
        TOOLKIT,
    ),
    known(
        &["error setting rlimit"],
        Fault::Host,
        "the daemon may not raise the limits of processes",
        "run the daemon with higher limits of its own (LimitMEMLOCK=infinity in its systemd unit)",
    )
    .or(Again::WithoutUlimits),
    known(
        &["address already in use"],
        Fault::Host,
        "the port the daemon chose is taken by another program",
        "try again; if it stays so, look at who listens with `ss -ltnp`",
    )
    .or(Again::OtherPort),
    known(
        &["port is already allocated"],
        Fault::Host,
        "the port the daemon chose is taken by another container",
        "try again; if it stays so, look at `docker ps`",
    )
    .or(Again::OtherPort),
    known(
        &["error gathering device information"],
        Fault::Host,
        "a device asked for is not on this host",
        "check that the GPU's driver is loaded and that its nodes are in /dev (AMD: /dev/kfd, /dev/dri)",
    ),
    known(
        &["network", "not found"],
        Fault::Host,
        "the container's network is gone",
        "something removed it (`docker network prune` of another job?): try again",
    ),
    known(
        &["non-overlapping ipv4 address pool"],
        Fault::Host,
        "the daemon has no addresses left for another network",
        "remove unused networks with `docker network prune`, or widen default-address-pools",
    ),
    known(
        &["fully subnetted"],
        Fault::Host,
        "the daemon has no addresses left for another network",
        "remove unused networks with `docker network prune`, or widen default-address-pools",
    ),
    known(
        &["bind source path does not exist"],
        Fault::Host,
        "the daemon does not see a folder that is to be mounted",
        "give a path as the daemon's host sees it; a job that runs in a container has paths of its own",
    ),
    known(
        &["no space left on device"],
        Fault::Host,
        "the daemon's disk is full",
        "free space below Docker's data folder, for example with `docker system prune`",
    ),
    known(
        &["minimum memory limit"],
        Fault::Settings,
        "the memory limit is lower than a container can have",
        "raise the memory limit",
    ),
    known(
        &["requested cpus are not available"],
        Fault::Settings,
        "the processors asked for do not exist here",
        "compare the processor list with `lscpu`",
    ),
    known(
        &["invalid cpuset"],
        Fault::Settings,
        "the processor list is not valid here",
        "write it like 0-3,8 and compare it with `lscpu`",
    ),
    known(
        &["exec format error"],
        Fault::Engine,
        "the image is made for another kind of processor",
        "take the image for this machine's architecture",
    ),
    known(
        &["executable file not found"],
        Fault::Engine,
        "the image does not hold the program to start",
        PROGRAM,
    ),
    known(
        &["exec", "no such file or directory"],
        Fault::Engine,
        "the image does not hold the program to start",
        PROGRAM,
    ),
    known(
        &["exec", "permission denied"],
        Fault::Engine,
        "the program to start may not be executed",
        PROGRAM,
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn of(message: &str) -> (Fault, Option<Again>) {
        let found = classify(message).unwrap();
        assert!(!found.cause.ends_with('.') && !found.remedy.ends_with('.'));
        (found.fault, found.again)
    }

    /// Sentences as Docker 20.10.24 and NVIDIA's toolkit write them.
    #[test]
    fn sentences_of_real_daemons_are_understood() {
        for (message, fault, again) in [
            (
                r#"could not select device driver "" with capabilities: [[gpu]]"#,
                Fault::Host,
                Some(Again::Cdi),
            ),
            (
                "OCI runtime create failed: container_linux.go:380: starting container process caused: process_linux.go:402: getting the final child's pid from pipe caused: nvidia-container-cli: requirement error: unsatisfied condition: cuda>=12.4, please update your driver to a newer version",
                Fault::Host,
                None,
            ),
            (
                "nvidia-container-cli: device error: GPU-1: unknown device: unknown",
                Fault::Host,
                None,
            ),
            (
                "nvidia-container-cli: initialization error: nvml error: driver not loaded: unknown",
                Fault::Host,
                None,
            ),
            (
                "OCI runtime create failed: container_linux.go:380: starting container process caused: process_linux.go:545: container init caused: process_linux.go:508: setting rlimits for ready process caused: error setting rlimit type 8: operation not permitted: unknown",
                Fault::Host,
                Some(Again::WithoutUlimits),
            ),
            (
                "driver failed programming external connectivity on endpoint x: Error starting userland proxy: listen tcp4 127.0.0.1:49153: bind: address already in use",
                Fault::Host,
                Some(Again::OtherPort),
            ),
            (
                r#"OCI runtime create failed: container_linux.go:380: starting container process caused: exec: "/x": stat /x: no such file or directory: unknown"#,
                Fault::Engine,
                None,
            ),
            (
                r#"error gathering device information while adding custom device "/dev/kfd": no such file or directory"#,
                Fault::Host,
                None,
            ),
            ("network x not found", Fault::Host, None),
            ("Unknown runtime specified nvidia", Fault::Host, None),
            (
                "invalid mount config for type \"bind\": bind source path does not exist: /x",
                Fault::Host,
                None,
            ),
            ("Minimum memory limit allowed is 6MB", Fault::Settings, None),
        ] {
            assert_eq!(of(message), (fault, again), "{message}");
        }
        assert_eq!(classify("something new"), None);
    }

    #[test]
    fn the_driver_sentence_is_not_taken_for_a_device() {
        let cause = |text| classify(text).unwrap().cause;
        assert!(
            cause("nvidia-container-cli: requirement error: unsatisfied condition: cuda>=13.0")
                .contains("newer CUDA")
        );
        assert!(cause("nvidia-container-cli: something else").contains("could not prepare"));
    }
}
