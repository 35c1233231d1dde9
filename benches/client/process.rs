//! Processes: each client, each simulator and the hog is this program again, on its own
//! processor.

use std::{
    fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use kitt_action::sim::paced::{self, PacedChild, PacedSpec, PacedTruth};
use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeValLike,
};

use crate::{
    baseline, ours,
    work::{Done, LoadSpec},
};

/// A client under test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client {
    Ours,
    Baseline,
}

impl Client {
    pub const BOTH: [Self; 2] = [Self::Ours, Self::Baseline];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Ours => "kitt",
            Self::Baseline => "baseline",
        }
    }
}

/// Where things run: client on the first processor, simulator on the last, if there are two.
#[derive(Debug, Clone)]
pub struct Bench {
    client: Option<usize>,
    simulator: Option<usize>,
    /// Put before the simulator's command, as in `chrt -f 50`.
    prefix: Vec<String>,
    /// A tokenizer to start with as well.
    pub tokenizer: Option<PathBuf>,
}

impl Bench {
    pub fn new(prefix: &str, tokenizer: Option<PathBuf>) -> Self {
        let processors = paced::allowed_cpus();
        let two = processors.len() > 1;
        Self {
            client: processors.first().copied().filter(|_| two),
            simulator: processors.last().copied().filter(|_| two),
            prefix: prefix.split_whitespace().map(str::to_owned).collect(),
            tokenizer,
        }
    }

    pub const fn pinned(&self) -> bool {
        self.client.is_some()
    }

    /// Starts a simulator.
    pub fn simulator(&self, spec: &PacedSpec) -> PacedChild {
        let own = std::env::current_exe().unwrap();
        let mut command = match self.prefix.split_first() {
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(own);
                command
            }
            None => Command::new(own),
        };
        command
            .arg("simulator")
            .arg(serde_json::to_string(spec).unwrap());
        command.args(self.simulator.map(|one| one.to_string()));
        PacedChild::start(&mut command).unwrap()
    }

    /// Runs a client against a fresh simulator.
    pub fn run(&self, client: Client, load: &LoadSpec, spec: &PacedSpec) -> (Done, PacedTruth) {
        let simulator = self.simulator(spec);
        let mut load = load.clone();
        load.url.clone_from(&simulator.hello().url);
        load.processor = self.client;
        let output = Command::new(std::env::current_exe().unwrap())
            .arg(client.name())
            .arg(serde_json::to_string(&load).unwrap())
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "the client {} failed",
            client.name()
        );
        let done: Done = serde_json::from_slice(&output.stdout).unwrap();
        if done.failed > 0 {
            let why = done.error.as_deref().unwrap_or("no reason given");
            println!(
                "! {}: {} requests failed: {why}",
                client.name(),
                done.failed
            );
        }
        (done, simulator.stop().unwrap())
    }

    /// Starts a busy loop on the client's processor.
    pub fn hog(&self) -> Hog {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .arg("hog")
            .args(self.client.map(|one| one.to_string()));
        Hog(command.spawn().unwrap())
    }
}

/// A busy loop, until dropped.
pub struct Hog(Child);

impl Drop for Hog {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// The side of a simulator's process.
pub fn simulator(spec: &str, processor: Option<&str>) {
    let spec = serde_json::from_str(spec).unwrap();
    let processor = processor.map(|one| one.parse().unwrap());
    let (mut input, mut output) = (std::io::stdin().lock(), std::io::stdout().lock());
    paced::serve_child(spec, processor, &mut input, &mut output).unwrap();
}

/// The side of a client's process.
pub fn client(client: Client, load: &str) {
    kitt_action::limits::open_files();
    let load: LoadSpec = serde_json::from_str(load).unwrap();
    if let Some(processor) = load.processor {
        assert!(paced::pin_to(&[processor]));
    }
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    // Wakes up once a second: nothing that would be seen beside a client.
    let sampler = std::thread::spawn(move || {
        let began = Instant::now();
        let mut samples = Vec::new();
        let second = Duration::from_secs(1);
        while stopped.recv_timeout(second) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            samples.push((began.elapsed().as_secs_f64(), memory("VmRSS:")));
        }
        samples
    });
    let mut done = match client {
        Client::Ours => ours::run(&load),
        Client::Baseline => baseline::run(&load),
    };
    done.cpu_s = cpu_s();
    done.peak_rss_kib = memory("VmHWM:");
    drop(stop);
    done.rss = sampler.join().unwrap();
    println!("{}", serde_json::to_string(&done).unwrap());
}

/// The side of the hog's process. It ends with its parent's signal.
pub fn hog(processor: Option<&str>) {
    if let Some(processor) = processor {
        paced::pin_to(&[processor.parse().unwrap()]);
    }
    let began = Instant::now();
    // Not for ever, should the parent be gone.
    while began.elapsed() < Duration::from_mins(2) {
        std::hint::spin_loop();
    }
}

/// Processor time of this process so far.
pub fn cpu_s() -> f64 {
    let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
    (usage.user_time().num_microseconds() + usage.system_time().num_microseconds()) as f64 / 1e6
}

/// A line of `/proc/self/status`, in KiB; 0 where there is none.
fn memory(key: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.unwrap_or(0)
}
