//! Exit codes: a public, documented list. README's table is generated from [`Exit::ALL`].

use std::process::ExitCode;

/// How the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Exit {
    /// Everything went well, or nobody asked for a gate.
    Success = 0,
    /// The benchmark failed, results are missing or unreadable, or a required report could not
    /// be published.
    Failure = 1,
    /// The command line or the configuration is wrong.
    Usage = 2,
    /// The gate is closed: a regression is proven.
    Regression = 10,
    /// The gate is closed: nothing is proven, and the policy asks for proof.
    NotProven = 11,
    /// The gate is closed: an absolute limit is broken.
    LimitBroken = 12,
    /// This host cannot run the benchmark; another one may.
    Host = 20,
    /// The measurement is invalid.
    Invalid = 21,
    /// The engine failed.
    Engine = 22,
    /// Interrupted (SIGINT), after cleanup.
    Interrupted = 130,
    /// Terminated (SIGTERM), after cleanup.
    Terminated = 143,
}

impl Exit {
    /// Every code, ascending.
    pub const ALL: [Self; 11] = [
        Self::Success,
        Self::Failure,
        Self::Usage,
        Self::Regression,
        Self::NotProven,
        Self::LimitBroken,
        Self::Host,
        Self::Invalid,
        Self::Engine,
        Self::Interrupted,
        Self::Terminated,
    ];

    /// The number the caller sees.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// How bad an end is among those of several jobs, from 0: the code of the worst stands for all.
    /// What the gate says of what was measured comes before a job that measured nothing, and a
    /// lack of proof after it.
    pub const fn severity(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::NotProven => 1,
            Self::Failure
            | Self::Usage
            | Self::Host
            | Self::Invalid
            | Self::Engine
            | Self::Interrupted
            | Self::Terminated => 2,
            Self::Regression => 3,
            Self::LimitBroken => 4,
        }
    }

    /// What it means, for README and `--help`.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Success => "success, or no gate was asked for",
            Self::Failure => {
                "the benchmark failed, results are missing or unreadable, or a required report could not be published"
            }
            Self::Usage => "the command line or the configuration is wrong",
            Self::Regression => "gate: a regression is proven",
            Self::NotProven => {
                "gate: inconclusive, incomparable, missing or no baseline, and the policy or `strict` asks for proof"
            }
            Self::LimitBroken => "gate: an absolute limit is broken",
            Self::Host => {
                "this host cannot run the benchmark (no Docker, no GPU, GPU busy): another runner may"
            }
            Self::Invalid => {
                "the measurement is invalid (throttled, client-bound, too many errors)"
            }
            Self::Engine => "the engine failed (pull, start, out of memory, wrong model, died)",
            Self::Interrupted => "cancelled by SIGINT, after cleanup",
            Self::Terminated => "cancelled by SIGTERM, after cleanup",
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_listed_once_and_ascending() {
        assert!(
            Exit::ALL
                .windows(2)
                .all(|pair| pair[0].code() < pair[1].code())
        );
    }
}
