//! The script: what GPUs there are and what happens to them when.
//!
//! One instruction a line; `#` begins a comment. `@MS` at the end of a line says from when it
//! holds, in milliseconds since the library's start; without it, from the beginning. Of several
//! lines about the same thing the last one whose time has come holds.
//!
//! ```text
//! driver 550.90.07               version of the driver (from 580.82 on fields are renumbered)
//! cuda 12040                     version of CUDA
//! init mismatch                  not-loaded, mismatch, no-permission or unknown: does not start
//! missing NAME                   the function is not in this driver
//! sleep 2000 @500                every question takes so many milliseconds
//! gpus 2                         number of GPUs
//! gpu 0 name Test GPU            `gpu *` speaks of all of them
//! gpu 0 uuid GPU-1
//! gpu 0 total 85899345920        bytes of memory
//! gpu 0 used 1000 @100           bytes of memory in use
//! gpu 0 power 250000             milliwatts; the energy counter follows in steps of 100 ms
//! gpu 0 energy 5 @100            millijoules from here on, whatever the power
//! gpu 0 util 90                  per cent
//! gpu 0 clock 1980               MHz
//! gpu 0 temp 50                  °C
//! gpu 0 ecc 0                    uncorrected memory errors
//! gpu 0 limit 700000             milliwatts
//! gpu 0 held sw-thermal 50 @100  per cent of time that power-cap, sw-thermal, hw-thermal or
//!                                power-brake holds the clocks down; the counters follow
//! gpu 0 unsupported 82           a field, by its number before driver 580.82, or a function
//! gpu 0 process 123 4096 @100    computes with so many bytes; `-` for a size that is not told
//! gpu 0 gone 123 @300            does not compute any more
//! gpu 0 draws 77 4096            draws
//! gpu 0 slice MIG-1 10737418240  a MIG slice with so many bytes of memory
//! gpu 0 xid 79 @300              reports an XID error
//! gpu 0 lost @700                falls off the bus
//! ```

use std::collections::BTreeMap;

/// Values over time: what is said last before a moment holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Line {
    points: Vec<(u64, u64)>,
}

impl Line {
    /// The value at a moment.
    #[must_use]
    pub fn at(&self, ms: u64) -> Option<u64> {
        let past = self.points.iter().filter(|(from, _)| *from <= ms);
        // Of two at one moment the later line holds.
        let newest = past.max_by_key(|(from, _)| *from);
        newest.map(|(_, value)| *value)
    }

    /// The sum over time from the start to a moment, in value-milliseconds.
    #[must_use]
    pub fn area(&self, ms: u64) -> u64 {
        let mut edges: Vec<u64> = self.points.iter().map(|(from, _)| *from).collect();
        edges.push(0);
        edges.push(ms);
        edges.retain(|edge| *edge <= ms);
        edges.sort_unstable();
        edges
            .windows(2)
            .map(|pair| self.at(pair[0]).unwrap_or(0) * (pair[1] - pair[0]))
            .sum()
    }

    fn put(&mut self, from: u64, value: u64) {
        self.points.retain(|(known, _)| *known != from);
        self.points.push((from, value));
    }
}

/// A process on a GPU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Bytes, where told.
    pub memory: Option<u64>,
    /// Whether it draws instead of computing.
    pub draws: bool,
    /// From when, milliseconds.
    pub from: u64,
    /// Until when.
    pub until: u64,
}

/// A GPU.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Gpu {
    /// Texts by word: `name`, `uuid`.
    pub texts: BTreeMap<String, String>,
    /// Numbers over time by word: `used`, `power`, …
    pub lines: BTreeMap<String, Line>,
    /// Per cent of time over time, by what holds the clocks down.
    pub held: BTreeMap<String, Line>,
    /// Fields and functions it does not have.
    pub unsupported: Vec<String>,
    /// Who uses it.
    pub processes: Vec<Process>,
    /// UUID and memory of its slices.
    pub slices: Vec<(String, u64)>,
    /// When it reports which XID error.
    pub xids: Vec<(u64, u64)>,
    /// When it falls off the bus.
    pub lost: Option<u64>,
}

impl Gpu {
    /// The number at a moment, else `default`.
    #[must_use]
    pub fn number(&self, word: &str, ms: u64, default: u64) -> u64 {
        self.lines
            .get(word)
            .and_then(|line| line.at(ms))
            .unwrap_or(default)
    }

    /// Millijoules at a moment, in steps of 100 ms.
    #[must_use]
    pub fn energy(&self, ms: u64) -> u64 {
        let step = ms / 100 * 100;
        if let Some(fixed) = self.lines.get("energy").and_then(|line| line.at(step)) {
            return fixed;
        }
        let area = self
            .lines
            .get("power")
            .map_or(100_000 * step, |line| line.area(step));
        // Some was used before.
        1_000_000 + area / 1000
    }

    /// For how long something has held the clocks down, nanoseconds.
    #[must_use]
    pub fn held_ns(&self, what: &str, ms: u64) -> u64 {
        // Per cent times milliseconds, of which one is 10^4 ns.
        self.held.get(what).map_or(0, |line| line.area(ms)) * 10_000
    }

    /// Whether it is on the bus.
    #[must_use]
    pub fn is_lost(&self, ms: u64) -> bool {
        self.lost.is_some_and(|from| from <= ms)
    }
}

/// All that a script says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// Version of the driver.
    pub driver: String,
    /// Version of CUDA.
    pub cuda: u64,
    /// Why the library does not start.
    pub init: Option<String>,
    /// Functions that are not there.
    pub missing: Vec<String>,
    /// Milliseconds that each question takes, over time.
    pub sleep: Line,
    /// The GPUs.
    pub gpus: Vec<Gpu>,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            driver: "550.90.07".to_owned(),
            cuda: 12_040,
            init: None,
            missing: Vec::new(),
            sleep: Line::default(),
            gpus: vec![Gpu::default()],
        }
    }
}

impl Script {
    /// Reads a script.
    ///
    /// # Errors
    /// A line makes no sense; the message quotes it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut script = Self::default();
        for line in text.lines() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if !line.is_empty() {
                script
                    .take(line)
                    .ok_or_else(|| format!("fake NVML cannot read `{line}`"))?;
            }
        }
        Ok(script)
    }

    fn take(&mut self, line: &str) -> Option<()> {
        let (line, from) = match line.rsplit_once(" @") {
            Some((line, from)) => (line.trim(), from.parse().ok()?),
            None => (line, 0),
        };
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let rest = rest.trim();
        match word {
            "driver" => rest.clone_into(&mut self.driver),
            "cuda" => self.cuda = rest.parse().ok()?,
            "init" => self.init = Some(rest.to_owned()),
            "missing" => self.missing.push(rest.to_owned()),
            "sleep" => self.sleep.put(from, rest.parse().ok()?),
            "gpus" => self.gpus.resize_with(rest.parse().ok()?, Gpu::default),
            "gpu" => {
                let (which, what) = rest.split_once(' ')?;
                if which == "*" {
                    for gpu in &mut self.gpus {
                        gpu.take(what.trim(), from)?;
                    }
                } else {
                    let at: usize = which.parse().ok()?;
                    self.gpus.get_mut(at)?.take(what.trim(), from)?;
                }
            }
            _ => return None,
        }
        Some(())
    }
}

impl Gpu {
    fn take(&mut self, line: &str, from: u64) -> Option<()> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let rest = rest.trim();
        match word {
            "name" | "uuid" => {
                self.texts.insert(word.to_owned(), rest.to_owned());
            }
            "total" | "used" | "power" | "energy" | "util" | "clock" | "temp" | "ecc" | "limit" => {
                let line = self.lines.entry(word.to_owned()).or_default();
                line.put(from, rest.parse().ok()?);
            }
            "held" => {
                let (what, share) = rest.split_once(' ')?;
                let line = self.held.entry(what.to_owned()).or_default();
                line.put(from, share.trim().parse().ok()?);
            }
            "unsupported" => self.unsupported.push(rest.to_owned()),
            "process" | "draws" => {
                let (pid, memory) = rest.split_once(' ')?;
                self.processes.push(Process {
                    pid: pid.parse().ok()?,
                    memory: if memory == "-" {
                        None
                    } else {
                        Some(memory.parse().ok()?)
                    },
                    draws: word == "draws",
                    from,
                    until: u64::MAX,
                });
            }
            "gone" => {
                let pid: u32 = rest.parse().ok()?;
                for process in self.processes.iter_mut().filter(|one| one.pid == pid) {
                    process.until = from;
                }
            }
            "slice" => {
                let (uuid, memory) = rest.split_once(' ')?;
                self.slices.push((uuid.to_owned(), memory.parse().ok()?));
            }
            "xid" => self.xids.push((from, rest.parse().ok()?)),
            "lost" => self.lost = Some(from),
            _ => return None,
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_hold_from_their_time_on() {
        let script = Script::parse("gpu 0 used 5\ngpu 0 used 9 @100 # later\n").unwrap();
        let gpu = &script.gpus[0];
        assert_eq!(
            (gpu.number("used", 99, 0), gpu.number("used", 100, 0)),
            (5, 9)
        );
        assert_eq!(gpu.number("temp", 0, 33), 33);
    }

    #[test]
    fn energy_is_the_power_in_steps() {
        let script = Script::parse("gpu 0 power 100000\ngpu 0 power 300000 @1000").unwrap();
        let gpu = &script.gpus[0];
        assert_eq!(gpu.energy(0), 1_000_000);
        assert_eq!(gpu.energy(1000), 1_100_000);
        // 1050 falls into the step that began at 1000.
        assert_eq!(gpu.energy(1050), 1_100_000);
        assert_eq!(gpu.energy(2000), 1_400_000);
    }

    #[test]
    fn clocks_are_held_down_for_a_share_of_the_time() {
        let script = Script::parse("gpu * held hw-thermal 50 @1000").unwrap();
        // Half of one second.
        assert_eq!(script.gpus[0].held_ns("hw-thermal", 2000), 500_000_000);
        assert_eq!(script.gpus[0].held_ns("power-cap", 2000), 0);
    }

    #[test]
    fn what_cannot_be_read_is_quoted() {
        for wrong in [
            "gpu 7 used 5",
            "gpu 0 used x",
            "gpu 0 fly",
            "sleep",
            "hello",
            "gpu 0 xid 1 @x",
        ] {
            assert!(Script::parse(wrong).unwrap_err().contains(wrong), "{wrong}");
        }
    }
}
