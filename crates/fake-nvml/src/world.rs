//! The script that holds now, and the time.

use std::{
    env, fs,
    path::PathBuf,
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant, SystemTime},
};

use crate::script::Script;

/// How often a changed script is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The library's state, from its first start on.
pub(crate) struct World {
    started: Instant,
    path: Option<PathBuf>,
    read: Option<SystemTime>,
    looked: Instant,
    script: Script,
    /// XID errors that were delivered: GPU, time, number.
    delivered: Vec<(usize, u64, u64)>,
}

static WORLD: Mutex<Option<World>> = Mutex::new(None);

/// What a question finds.
pub(crate) struct Now {
    /// What holds.
    pub(crate) script: Script,
}

fn with<T>(body: impl FnOnce(&mut World) -> T) -> T {
    let mut world = WORLD.lock().unwrap_or_else(PoisonError::into_inner);
    body(world.get_or_insert_with(World::new))
}

impl World {
    fn new() -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "a library that stands in for a driver has no other way in"
        )]
        let path = env::var_os("FAKE_NVML_SCRIPT").map(PathBuf::from);
        let now = Instant::now();
        let mut world = Self {
            started: now,
            path,
            read: None,
            looked: now,
            script: Script::default(),
            delivered: Vec::new(),
        };
        world.read();
        world
    }

    fn read(&mut self) {
        let Some(path) = &self.path else { return };
        let changed = fs::metadata(path).and_then(|facts| facts.modified()).ok();
        if changed.is_some() && changed == self.read {
            return;
        }
        let text = fs::read_to_string(path).unwrap_or_default();
        match Script::parse(&text) {
            Ok(script) => self.script = script,
            // A test must see its mistake.
            Err(wrong) => eprintln!("{wrong}"),
        }
        self.read = changed;
    }

    fn ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn look(&mut self) {
        if self.looked.elapsed() >= LOOK_EVERY {
            self.looked = Instant::now();
            self.read();
        }
    }
}

/// The state now, after the time that questions take.
pub(crate) fn ask<T>(body: impl FnOnce(&Script, u64) -> T) -> T {
    let pause = with(|world| {
        world.look();
        world.script.sleep.at(world.ms()).unwrap_or(0)
    });
    if pause > 0 {
        thread::sleep(Duration::from_millis(pause));
    }
    with(|world| {
        let ms = world.ms();
        body(&world.script, ms)
    })
}

/// Whether one of the GPUs given is lost.
pub(crate) fn is_lost(gpus: &[usize]) -> bool {
    with(|world| {
        let ms = world.ms();
        let lost = |at: &usize| {
            world
                .script
                .gpus
                .get(*at)
                .is_some_and(|gpu| gpu.is_lost(ms))
        };
        gpus.iter().any(lost)
    })
}

/// The state now, at once.
pub(crate) fn now() -> Now {
    with(|world| {
        world.look();
        Now {
            script: world.script.clone(),
        }
    })
}

/// The next XID error of the GPUs given that is due and was not delivered.
pub(crate) fn next_xid(gpus: &[usize]) -> Option<(usize, u64)> {
    with(|world| {
        world.look();
        let ms = world.ms();
        for at in gpus {
            for (from, code) in world.script.gpus.get(*at).map(|gpu| gpu.xids.clone())? {
                let event = (*at, from, code);
                if from <= ms && !world.delivered.contains(&event) {
                    world.delivered.push(event);
                    return Some((*at, code));
                }
            }
        }
        None
    })
}
