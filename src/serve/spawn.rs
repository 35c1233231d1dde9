//! What an engine on this host is started with: its environment, a port and processors.

use std::{
    collections::BTreeMap,
    io,
    net::{Ipv4Addr, TcpListener},
};

use tokio::process::{Child, Command};

use super::ServeOptions;
use crate::{
    engine::{GpuSet, PORT, ProcessSpec},
    limits,
    sim::paced::pin_to,
};

/// Variables that say which GPUs a process sees.
const CUDA: &str = "CUDA_VISIBLE_DEVICES";
const ROCM: &str = "ROCR_VISIBLE_DEVICES";

/// Starts the program on these processors: it inherits them from the thread that starts it.
pub(super) fn spawn(mut command: Command, cpuset: Option<&str>) -> io::Result<Child> {
    let Some(list) = cpuset else {
        return command.spawn();
    };
    let processors = processors(list)?;
    let runtime = tokio::runtime::Handle::current();
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let _inside = runtime.enter();
            if pin_to(&processors) {
                command.spawn()
            } else {
                Err(io::Error::other(format!(
                    "it cannot run on processors {list}"
                )))
            }
        });
        let spawned = thread.join();
        spawned.unwrap_or_else(|_| Err(io::Error::other("the thread that starts it ended badly")))
    })
}

/// Processors in the kernel's list form, such as `0-3,6`.
fn processors(list: &str) -> io::Result<Vec<usize>> {
    let wrong = || io::Error::other(format!("`{list}` is no list of processors such as 0-3,6"));
    let found = limits::numbers(list).ok_or_else(wrong)?;
    Ok(found.into_iter().map(|number| number as usize).collect())
}

/// A loopback port that nobody listens on.
pub(super) fn free_port() -> io::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.port())
}

pub(super) fn with_port(text: &str, port: u16) -> String {
    text.replace(PORT, &port.to_string())
}

/// All of the engine's environment. GPUs that it does not have are hidden from it; those it has
/// are the locked ones, whatever else was asked for.
pub(super) fn environment(
    process: &ProcessSpec,
    options: &ServeOptions,
    port: u16,
) -> BTreeMap<String, String> {
    let mut all = options.passed_on.clone();
    let hidden = [CUDA, ROCM].map(|name| (name.to_owned(), String::new()));
    if process.gpus.is_none() {
        all.extend(hidden);
    }
    let own = process.env.iter();
    all.extend(own.map(|(name, value)| (name.clone(), with_port(value, port))));
    let secrets = process.secrets.iter();
    all.extend(secrets.map(|(name, secret)| (name.clone(), secret.expose().to_owned())));
    match &process.gpus {
        GpuSet::None => {}
        GpuSet::Nvidia(uuids) => {
            all.insert(CUDA.to_owned(), uuids.join(","));
        }
        GpuSet::Amd(numbers) if numbers.is_empty() => {}
        GpuSet::Amd(numbers) => {
            let numbers: Vec<String> = numbers.iter().map(u32::to_string).collect();
            all.insert(ROCM.to_owned(), numbers.join(","));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    fn spec(gpus: GpuSet) -> ProcessSpec {
        ProcessSpec {
            program: "engine".into(),
            args: Vec::new(),
            env: [("PORT".to_owned(), "{port}".to_owned())].into(),
            secrets: Secret::new("hf_x")
                .map(|secret| ("HF_TOKEN".to_owned(), secret))
                .into_iter()
                .collect(),
            gpus,
            cpuset: None,
        }
    }

    #[test]
    fn the_environment_is_what_was_named_and_the_locked_gpus() {
        let mut options = ServeOptions::new("r");
        options.passed_on.insert("PATH".into(), "/bin".into());
        let mut asked = spec(GpuSet::Nvidia(vec!["GPU-a".into(), "GPU-b".into()]));
        asked.env.insert(CUDA.into(), "GPU-of-another-job".into());
        let all = environment(&asked, &options, 4711);
        let names: Vec<&str> = all.keys().map(String::as_str).collect();
        assert_eq!(names, [CUDA, "HF_TOKEN", "PATH", "PORT"]);
        assert_eq!(
            (all[CUDA].as_str(), all["PORT"].as_str()),
            ("GPU-a,GPU-b", "4711")
        );
        let none = environment(&spec(GpuSet::None), &options, 1);
        assert_eq!((none[CUDA].as_str(), none[ROCM].as_str()), ("", ""));
        let amd = environment(&spec(GpuSet::Amd(vec![1, 3])), &options, 1);
        assert_eq!(amd[ROCM], "1,3");
        assert!(!environment(&spec(GpuSet::Amd(vec![])), &options, 1).contains_key(ROCM));
    }

    #[test]
    fn lists_of_processors_are_read_and_garbage_is_refused() {
        assert_eq!(processors("0-2,6").unwrap(), [0, 1, 2, 6]);
        for garbage in ["", "3-1", "a", "0,,1", "-1", "0-99999999999", "0-65536"] {
            assert!(processors(garbage).is_err(), "{garbage}");
        }
    }
}
