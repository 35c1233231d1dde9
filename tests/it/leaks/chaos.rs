//! Chaos: runs that are hit at a moment, by a signal, while something else goes wrong too, all
//! drawn from a seed. Whatever comes of them, nothing may be left.
//!
//! `KITT_TEST_CHAOS` is the number of runs, `KITT_TEST_CHAOS_SEED` what they are drawn from; the
//! table of what was drawn is printed.

use bollard::query_parameters::KillContainerOptions;
use futures_util::{StreamExt, stream};
use kitt_action::results::RunStatus;
use rand::{RngExt, SeedableRng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;

use super::{
    child::{Engine, Task, shell, simulator},
    *,
};

const RUNS: u64 = 60;
const SEED: u64 = 20_261_121;
/// Side by side: a run mostly waits.
const TOGETHER: usize = 6;
/// Longer than the longest cancel budget: a killed run's guard keeps looking for five seconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// What runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// `kitt run` with the simulator in a container.
    Command,
    /// A shell in a container, through the library.
    Shell,
    /// Processes of this host that ignore SIGTERM, one of them in a session of its own.
    Native,
}

/// When it is hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// So many milliseconds after its guard is there: creation and start.
    Guarded(u64),
    /// While its engine runs and does not answer.
    Waiting,
    /// While it is measured.
    Measuring,
    /// When it has just been measured.
    TearingDown,
}

/// What hits it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hit {
    Interrupt,
    Terminate,
    Twice,
    Kill,
    KillGroup,
}

/// What goes wrong besides, a moment before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Nothing,
    /// The engine is killed.
    Engine,
    /// The engine is frozen.
    Frozen,
    /// The guard is killed: the next run's reaper has to do it.
    Guard,
}

#[derive(Debug, Clone, Copy)]
struct Draw {
    number: u64,
    kind: Kind,
    phase: Phase,
    hit: Hit,
    fault: Fault,
}

impl Draw {
    fn all(seed: u64, runs: u64) -> Vec<Self> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        (0..runs)
            .map(|number| Self::one(number, &mut rng))
            .collect()
    }

    fn one(number: u64, rng: &mut ChaCha8Rng) -> Self {
        let kind = *[Kind::Command, Kind::Shell, Kind::Native]
            .choose(rng)
            .unwrap();
        let early = Phase::Guarded(rng.random_range(0..150));
        let phases: &[Phase] = match kind {
            // A shell never answers.
            Kind::Shell => &[early, Phase::Waiting],
            Kind::Command | Kind::Native => {
                &[early, Phase::Waiting, Phase::Measuring, Phase::TearingDown]
            }
        };
        let hits = [
            Hit::Interrupt,
            Hit::Terminate,
            Hit::Twice,
            Hit::Kill,
            Hit::KillGroup,
        ];
        let faults = [Fault::Nothing, Fault::Engine, Fault::Frozen, Fault::Guard];
        Self {
            number,
            kind,
            phase: *phases.choose(rng).unwrap(),
            hit: *hits.choose(rng).unwrap(),
            fault: *faults.choose(rng).unwrap(),
        }
    }

    async fn start(&self) -> Subject {
        let name = format!("chaos{}", self.number);
        let task = |engine| Task {
            short: self.phase == Phase::TearingDown,
            offline: self.number.is_multiple_of(2),
            ..Task::new(&name, engine)
        };
        match (self.kind, self.phase) {
            (Kind::Command, Phase::Waiting) => {
                Subject::kitt(&name, &["--engine-args", "--startup-ms=60000"]).await
            }
            (Kind::Command, Phase::TearingDown) => {
                Subject::kitt(&name, &["--requests", "1", "--skip-warmup"]).await
            }
            (Kind::Command, _) => {
                Subject::kitt(&name, &["--requests", "100000", "--skip-warmup"]).await
            }
            (Kind::Shell, _) => task(Engine::Shell(docker::HANG.to_owned())).start().await,
            (Kind::Native, phase) => {
                let startup = if phase == Phase::Waiting { 60_000 } else { 0 };
                let parameter = format!("--startup-ms={startup}");
                let engine = simulator(&[&parameter]).join(" ");
                let command = shell(&format!(
                    "trap '' TERM; (setsid sh -c \"trap '' TERM; sleep 1000\" &); {engine} & wait; \
                     sleep 1000"
                ));
                let mut task = task(Engine::Native(command));
                task.gpus = vec![format!("GPU-{name}")];
                task.start().await
            }
        }
    }

    /// Waits for the moment. A run that ended before is hit no more.
    async fn reached(&self, subject: &mut Subject, docker: &Docker) {
        let begin = Instant::now();
        while subject.child.try_wait().unwrap().is_none() {
            assert!(
                begin.elapsed() < Duration::from_secs(90),
                "{self:?}: {}",
                subject.log()
            );
            if self.is_reached(subject, docker).await {
                if let Phase::Guarded(delay) = self.phase {
                    tokio::time::sleep(Duration::from_millis(delay)).await;
                }
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn is_reached(&self, subject: &Subject, docker: &Docker) -> bool {
        let file = |name: &str| subject.dir.path().join(name).exists();
        match (self.phase, self.kind) {
            (Phase::Guarded(_), _) => !subject.guards().is_empty(),
            (Phase::Waiting, Kind::Native) => marked(&subject.run).len() >= 3,
            (Phase::Waiting, _) => {
                let options = ServeOptions::new(&subject.run);
                !docker::left(docker, &options).await.is_empty()
            }
            (Phase::Measuring, Kind::Command) => subject.log().contains("sending"),
            (Phase::Measuring, _) => file("ready"),
            (Phase::TearingDown, Kind::Command) => {
                let written = file("results/metrics.json");
                written && !store::load(&subject.results()).unwrap().runs.is_empty()
            }
            (Phase::TearingDown, _) => file("measured"),
        }
    }

    async fn go_wrong(&self, subject: &Subject, docker: &Docker) {
        let signal = match self.fault {
            Fault::Nothing => return,
            Fault::Guard => {
                for guard in subject.guards() {
                    kill(Pid::from_raw(guard.pid), Signal::SIGKILL).ok();
                }
                return;
            }
            Fault::Engine => Signal::SIGKILL,
            Fault::Frozen => Signal::SIGSTOP,
        };
        for pid in marked(&subject.run) {
            kill(Pid::from_raw(pid), signal).ok();
        }
        for name in docker::left(docker, &ServeOptions::new(&subject.run)).await {
            let options = KillContainerOptions {
                signal: signal.as_str().to_owned(),
            };
            // It may have ended or not have been started.
            drop(
                docker
                    .kill_container(name.trim_start_matches('/'), Some(options))
                    .await,
            );
        }
    }

    async fn strike(&self, subject: &mut Subject) {
        if subject.child.try_wait().unwrap().is_some() {
            return;
        }
        match self.hit {
            Hit::Interrupt => subject.signal(Signal::SIGINT),
            Hit::Terminate => subject.signal(Signal::SIGTERM),
            Hit::Kill => subject.signal(Signal::SIGKILL),
            Hit::KillGroup => subject.kill_group(),
            Hit::Twice => {
                subject.signal(Signal::SIGINT);
                tokio::time::sleep(Duration::from_millis(200)).await;
                if subject.child.try_wait().unwrap().is_none() {
                    subject.signal(Signal::SIGTERM);
                }
            }
        }
    }

    /// One run from start to the proof that nothing is left; a line of the table.
    async fn run(self, docker: &Docker) -> String {
        let mut subject = self.start().await;
        self.reached(&mut subject, docker).await;
        self.go_wrong(&subject, docker).await;
        let guards = subject.guards();
        self.strike(&mut subject).await;
        let (status, ended) = subject.ended(Duration::from_millis(6500)).await;
        if self.fault == Fault::Guard && !subject.left(Some(docker)).await.is_empty() {
            // The next run's start, or the job's last step.
            let output = harness::kitt()
                .arg("cleanup")
                .env("KITT_INPUT_LOCK_DIR", subject.locks())
                .output()
                .unwrap();
            assert!(output.status.success(), "{self:?}: {output:?}");
        }
        let gone = subject.nothing_left(Some(docker), PATIENCE).await;
        for guard in &guards {
            let what = format!("the guard of {self:?} ends");
            eventually(&what, PATIENCE, async || process(guard.pid).is_none()).await;
        }
        assert_eq!(subject.left(Some(docker)).await, [""; 0], "{self:?}");
        let results = subject.results_parse();
        if matches!(self.hit, Hit::Interrupt | Hit::Terminate) {
            assert_ne!(results, Some(RunStatus::Running), "{self:?}");
        }
        format!(
            "{:3} {:8} {:13} {:10} {:8} {:26} ended {ended:8.1?} clean {gone:8.1?} {results:?}",
            self.number,
            format!("{:?}", self.kind),
            format!("{:?}", self.phase),
            format!("{:?}", self.hit),
            format!("{:?}", self.fault),
            status.to_string(),
        )
    }
}

#[test]
fn a_seed_draws_every_kind_moment_hit_and_fault() {
    let all = Draw::all(SEED, RUNS);
    let drawn = |is: &dyn Fn(&Draw) -> bool| all.iter().any(is);
    for kind in [Kind::Command, Kind::Shell, Kind::Native] {
        assert!(drawn(&|one| one.kind == kind), "{kind:?}");
    }
    for phase in [Phase::Waiting, Phase::Measuring, Phase::TearingDown] {
        assert!(drawn(&|one| one.phase == phase), "{phase:?}");
    }
    let hits = [
        Hit::Interrupt,
        Hit::Terminate,
        Hit::Twice,
        Hit::Kill,
        Hit::KillGroup,
    ];
    for hit in hits {
        assert!(drawn(&|one| one.hit == hit), "{hit:?}");
    }
    for fault in [Fault::Nothing, Fault::Engine, Fault::Frozen, Fault::Guard] {
        assert!(drawn(&|one| one.fault == fault), "{fault:?}");
    }
}

#[tokio::test]
async fn nothing_is_left_whatever_happens() {
    let Some(docker) = docker::docker_or_skip().await else {
        return;
    };
    let number = |name: &str| docker::switch(name).map(|text| text.parse().unwrap());
    let runs = number("KITT_TEST_CHAOS").unwrap_or(RUNS);
    let seed = number("KITT_TEST_CHAOS_SEED").unwrap_or(SEED);
    println!("chaos: {runs} runs of seed {seed}");
    docker::images().await;
    let begin = Instant::now();
    stream::iter(Draw::all(seed, runs))
        .for_each_concurrent(TOGETHER, async |draw| {
            println!("{}", draw.run(&docker).await);
        })
        .await;
    println!("chaos: {runs} runs in {:.1?}", begin.elapsed());
}
