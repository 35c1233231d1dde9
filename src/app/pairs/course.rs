//! Pairs being measured: two sides in turn, looked at as they come, until a rule says enough.
//!
//! Fresh servers in the order B C C B B C C B …. `pairs.json` is written after every pair, so that
//! whatever ends the process leaves files that say what was measured. A run that fails voids its
//! pair; an engine that fails twice in a row ends it all.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use super::{
    Measured,
    forecast::{Forecast, Reach, words},
    when,
};
use crate::{
    app::{
        report::{self, Judgement},
        session::Session,
        signal::Stop,
    },
    compare::{Comparison, NoiseProfile},
    context::Inputs,
    error::Error,
    results::{Pair, Pairs, RunStatus, Side},
    verdict::Looks,
};

/// So many spoiled pairs in a row, and more will be spoiled too.
const MOST_SPOILED: u32 = 3;
/// The longest explanation, in characters.
const SENTENCE: usize = 300;

/// The two sides of a comparison.
pub(in crate::app) struct Sides {
    /// What is compared with.
    pub(in crate::app) baseline: Session,
    /// What is under test.
    pub(in crate::app) current: Session,
}

impl Sides {
    const fn of(&mut self, side: Side) -> (&mut Session, &Session) {
        match side {
            Side::Baseline => (&mut self.baseline, &self.current),
            Side::Current => (&mut self.current, &self.baseline),
        }
    }
}

/// Pairs under way.
pub(in crate::app) struct Course<'a> {
    inputs: &'a Inputs,
    stop: &'a Stop,
    sides: Sides,
    /// The current side's results directory.
    dir: PathBuf,
    /// Numbers of the last runs of both sides.
    last: (u32, u32),
    pairs: Pairs,
    forecast: Forecast,
    began: Instant,
    /// Whole pairs, spoiled ones included, and how long they took.
    whole: (u32, Duration),
    /// The side whose engine failed last, unless all went well since.
    failed: Option<Side>,
    /// Spoiled pairs since the last good one.
    spoiled: u32,
    /// Whether all pairs are measured, whatever the first ones show.
    to_the_end: bool,
}

impl<'a> Course<'a> {
    /// Begins with two sides; what the current one has measured already stays beside the pairs.
    pub(in crate::app) fn new(
        inputs: &'a Inputs,
        sides: Sides,
        forecast: Forecast,
        stop: &'a Stop,
    ) -> Self {
        Self {
            inputs,
            stop,
            dir: sides.current.dir().to_owned(),
            last: (0, sides.current.measured()),
            sides,
            pairs: Pairs::new(forecast.most),
            forecast,
            began: Instant::now(),
            whole: (0, Duration::ZERO),
            failed: None,
            spoiled: 0,
            to_the_end: false,
        }
    }

    /// Measures all pairs: who wants to know how they scatter must not stop when they look good.
    pub(in crate::app) const fn without_stopping(mut self) -> Self {
        self.to_the_end = true;
        self
    }

    /// Measures until a rule says enough, and closes both sides. `warm_up`: a run of the baseline
    /// side comes first and is in no pair, since the first run on a machine is not like the others.
    ///
    /// # Errors
    /// An engine failed twice in a row, the host failed, a file cannot be written, or a signal
    /// arrived. Both sides' files say so.
    pub(in crate::app) async fn measure(mut self, warm_up: bool) -> Result<Measured, Error> {
        self.tell_forecast();
        let outcome = Box::pin(self.all(warm_up)).await;
        self.finish(outcome)
    }

    async fn all(&mut self, warm_up: bool) -> Result<String, Error> {
        // From now on the folder of the other side is no result of its own.
        self.pairs.write(&self.dir)?;
        if warm_up {
            tracing::info!("a first run of the baseline side warms the machine up");
            self.last.0 += 1;
            self.run(Side::Baseline, self.last.0).await?;
        }
        loop {
            if let Some(why) = self.enough()? {
                return Ok(why);
            }
            self.pair().await?;
            self.pairs.write(&self.dir)?;
        }
    }

    /// One run on each side.
    async fn pair(&mut self) -> Result<(), Error> {
        let (number, began) = (self.pairs.pairs.len() + 1, Instant::now());
        let first = self.pairs.next_first();
        let runs = (self.last.0 + 1, self.last.1 + 1);
        self.last = runs;
        let mut void = None;
        for side in [first, first.other()] {
            tracing::info!("pair {number}: the {} side", side.name());
            let run = match side {
                Side::Baseline => runs.0,
                Side::Current => runs.1,
            };
            let failed = self.run(side, run).await;
            match failed {
                Ok(None) => {}
                Ok(Some(why)) => {
                    void = Some(why);
                    break;
                }
                Err(error) => {
                    let why = format!("the {} side: {}", side.name(), error.chain());
                    self.keep(runs, first, Some(why));
                    return Err(error);
                }
            }
        }
        if void.is_none() {
            self.failed = None;
            self.whole = (self.whole.0 + 1, self.whole.1 + began.elapsed());
            let spoiled = self.note_spoiled(number);
            // A calibration goes on until there are enough good ones.
            void = spoiled.filter(|_| self.to_the_end);
            self.tell_time();
        }
        self.keep(runs, first, void);
        Ok(())
    }

    fn keep(&mut self, runs: (u32, u32), first: Side, void: Option<String>) {
        self.pairs.pairs.push(Pair {
            baseline: runs.0,
            current: runs.1,
            first,
            void: void.map(|why| one_line(&why)),
        });
    }

    /// One run; why its pair is void, if the engine failed.
    async fn run(&mut self, side: Side, number: u32) -> Result<Option<String>, Error> {
        let stop = self.stop;
        let (session, other) = self.sides.of(side);
        session.share_gpus(other);
        let Err(error) = session.run_once(number, stop).await else {
            return Ok(None);
        };
        if matches!(error, Error::Cancelled { .. }) {
            return Err(error);
        }
        session.failed(number, &error)?;
        if !error.is_of_the_engine() {
            return Err(error);
        }
        let source = Box::new(error);
        if self.failed.replace(side) == Some(side) {
            return Err(Error::Side { side, source });
        }
        let why = format!(
            "the {} side's engine failed: {}",
            side.name(),
            source.chain()
        );
        tracing::warn!("{why}");
        Ok(Some(why))
    }

    /// Why a pair tells nothing although both of its runs went through.
    fn note_spoiled(&mut self, number: usize) -> Option<String> {
        let sides = [
            (Side::Baseline, &self.sides.baseline),
            (Side::Current, &self.sides.current),
        ];
        let spoiled = sides.iter().find(|(_, session)| session.last_is_void());
        let Some((side, _)) = spoiled else {
            self.spoiled = 0;
            return None;
        };
        self.spoiled += 1;
        let why = format!("the {} side's run is not valid", side.name());
        tracing::warn!("pair {number} is spoiled: {why}");
        Some(why)
    }

    /// Says how long it takes as soon as it is known.
    fn tell_time(&mut self) {
        if self.whole.0 == 1 {
            self.forecast.run = Some(self.whole.1 / 2);
            self.tell_forecast();
            if self.sides.current.is_same_as(&self.sides.baseline) {
                tracing::info!("both sides are the same: a change would be noise");
            }
        }
    }

    /// Says what is expected, as far as it is known by now.
    fn tell_forecast(&mut self) {
        let forecast = &self.forecast;
        tracing::info!("{forecast}");
        self.pairs.forecast = Some(one_line(&forecast.to_string()));
        if let Some(reach) = forecast.reach.as_ref().filter(|reach| reach.underpowered) {
            tracing::warn!(
                "underpowered: {} pairs on this runner resolve {:.1} % of {}, more than what gates: quieten the runner or widen the limit",
                forecast.most,
                reach.effect * 100.0,
                reach.of
            );
        }
    }

    /// Why there are enough pairs; `None` when another one is to be measured.
    fn enough(&mut self) -> Result<Option<String>, Error> {
        let counting = self.pairs.counting().count();
        if counting >= Looks::FEWEST && !self.to_the_end {
            let looked = self.look()?;
            if looked.is_some() {
                return Ok(looked);
            }
        }
        let most = self.pairs.planned as usize;
        if counting >= most {
            return Ok(Some(format!("all {most} pairs were measured")));
        }
        if self.pairs.pairs.len() >= 2 * most {
            return Ok(Some("too many pairs were void".to_owned()));
        }
        if self.spoiled >= MOST_SPOILED {
            let why = format!(
                "{} pairs in a row were not valid, so more would not help",
                self.spoiled
            );
            return Ok(Some(why));
        }
        // Who asked for pairs gets one, whatever it takes.
        let (pairs, time) = self.whole;
        if pairs == 0 {
            return Ok(None);
        }
        let late = when::late(
            self.began.elapsed(),
            Some(time / pairs),
            self.inputs.against.time_budget,
        );
        Ok(late.map(|why| format!("{why} ({counting} of {most} pairs were measured)")))
    }

    /// Compares and decides by the very rules of the report.
    fn look(&mut self) -> Result<Option<String>, Error> {
        let Judgement {
            comparison,
            decision,
            ..
        } = report::judge(&self.dir, None, self.inputs)?;
        let counting = self.pairs.counting().count();
        tracing::info!("after {counting} pairs: {}", decision.verdict.name());
        if self.forecast.reach.is_none() {
            self.forecast.reach = self.seen(&comparison)?;
            if self.forecast.reach.is_some() {
                self.tell_forecast();
            }
        }
        Ok(when::enough(&decision))
    }

    /// What can be resolved by the scatter of these pairs.
    fn seen(&self, comparison: &Comparison) -> Result<Option<Reach>, Error> {
        let mut noise = NoiseProfile::default();
        for change in &comparison.changes {
            if let Some(pairs) = &change.pairs {
                noise.learn(&change.scenario, &change.metric.name, &pairs.log_ratios);
            }
        }
        let scenarios = &self.sides.current.plan().scenarios;
        let reach = Reach::of(&noise, &self.inputs.policy, scenarios, self.pairs.planned)?;
        Ok(reach)
    }

    /// Writes how it ended, on both sides.
    fn finish(mut self, outcome: Result<String, Error>) -> Result<Measured, Error> {
        let status = match &outcome {
            Ok(_) => RunStatus::Complete,
            Err(Error::Cancelled { .. }) => RunStatus::Cancelled,
            Err(_) => RunStatus::Failed,
        };
        let why = match &outcome {
            Ok(why) => why.clone(),
            Err(error) => error.chain(),
        };
        tracing::info!(
            "no more pairs after {} in {}: {why}",
            self.pairs.counting().count(),
            words(self.began.elapsed())
        );
        self.pairs.stopped = Some(one_line(&why));
        let written = self.pairs.write(&self.dir);
        let baseline = self.sides.baseline.close(status);
        let current = self.sides.current.close(status);
        // What ended the pairs explains more than what went wrong while they were put away.
        outcome?;
        written?;
        Ok(Measured {
            invalid: baseline?.invalid | current?.invalid,
            in_pairs: true,
        })
    }
}

/// A text as one line that is not too long.
fn one_line(text: &str) -> String {
    let words = text.split(|c: char| c.is_control() || c == ' ');
    let line: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    let line = line.join(" ");
    if line.chars().count() <= SENTENCE {
        return line;
    }
    let kept: String = line.chars().take(SENTENCE - 1).collect();
    format!("{kept}…")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_explanation_is_one_short_line() {
        assert_eq!(one_line("a\n b\t\u{7}c"), "a b c");
        let long = one_line(&"ä".repeat(1000));
        assert_eq!(long.chars().count(), SENTENCE);
        assert!(long.ends_with('…'));
    }
}
