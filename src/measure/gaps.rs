//! The gaps between output chunks, with what is known about each arrival. Pure.
//!
//! Several events can come in one read. Then only the last one's time is known; the others came
//! at most [`ChunkArrival::slack_us`] earlier, and for one of two reasons. The server or the
//! network sent them together: the gaps of zero are real. Or our own loop stood still: their
//! times are lost. It was us when all of this holds:
//!
//! - the slack is more than half a millisecond,
//! - it is more than the 5 ms after which the driver looks at its sockets again, or the read holds
//!   more output chunks than the answer's other reads usually do; a server that sends four events
//!   at a time does so all along,
//! - the slack covers at least half of the time since the chunk before. Of `m` chunks that come
//!   evenly the first comes `(m − 1) / m` of that time before the last, so a shorter slack says
//!   that they did not.
//!
//! Of an answer's first read only the 5 ms count: there is nothing before it to compare with.
//!
//! Where times are lost, the time since the last known arrival, which is exact, is spread evenly
//! over the gaps in between. Such gaps count for the mean and for nothing else: a quantile or a
//! maximum of invented times would be invented too.

use std::{num::NonZeroU32, time::Duration};

use super::request::milliseconds;
use crate::load::ChunkArrival;

/// Events within this time came together.
const TOGETHER: Duration = Duration::from_micros(500);
/// The driver looks at its sockets at least every 5 ms while requests are in flight: a longer
/// slack is a stall, whatever the server does.
const BETWEEN_LOOKS: Duration = Duration::from_millis(6);

/// The gaps of one answer.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Gaps {
    /// Gaps in milliseconds, both ends known.
    pub known_ms: Vec<f64>,
    /// How many gaps have an end whose time is lost.
    pub uncertain: u64,
    /// Of those, how many lie between two known times.
    pub spread: u64,
    /// The sum of those, in milliseconds.
    pub spread_total_ms: f64,
}

impl Gaps {
    /// How many gaps there are.
    pub fn count(&self) -> u64 {
        self.known_ms.len() as u64 + self.uncertain
    }

    /// The longest gap in milliseconds whose ends are known.
    pub fn longest_ms(&self) -> Option<f64> {
        self.known_ms.iter().copied().reduce(f64::max)
    }

    /// The mean gap in milliseconds, spread ones included.
    pub fn mean_ms(&self) -> Option<f64> {
        let count = self.known_ms.len() as u64 + self.spread;
        let total = self.known_ms.iter().sum::<f64>() + self.spread_total_ms;
        (count > 0).then(|| total / count as f64)
    }
}

/// Gaps per token: what a chunk brought shares the time since the chunk before.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TokenGaps {
    /// Milliseconds, and for how many tokens.
    pub known_ms: Vec<(f64, u32)>,
    /// Tokens whose own time is lost, and the sum of their gaps in milliseconds.
    pub spread: (u64, f64),
}

/// An arrival of output.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrival {
    at: Duration,
    /// Whether `at` is when it came.
    pub(super) known: bool,
    /// Output tokens of the answer up to here.
    tokens: Option<u32>,
}

impl Arrival {
    fn of(chunk: &ChunkArrival, known: bool) -> Self {
        Self {
            at: chunk.at,
            known,
            tokens: chunk.tokens.map(NonZeroU32::get),
        }
    }
}

/// The arrivals of an answer's output chunks.
pub(super) fn arrivals(output: &[&ChunkArrival]) -> Vec<Arrival> {
    // Nearly always.
    if output.iter().all(|chunk| slack(chunk) <= TOGETHER) {
        return output
            .iter()
            .map(|chunk| Arrival::of(chunk, true))
            .collect();
    }
    let reads = || output.chunk_by(|before, after| together(before, after));
    let usual = usual_size(reads().map(<[_]>::len));
    let mut before: Option<Duration> = None;
    let mut arrivals = Vec::with_capacity(output.len());
    for read in reads() {
        let Some((first, last)) = read.first().zip(read.last()) else {
            continue;
        };
        let early = slack(first);
        let covers = |before| early * 2 >= last.at.saturating_sub(before);
        let merged = early > TOGETHER && read.len() > usual && before.is_some();
        let blurred = before.is_none_or(covers) && (early > BETWEEN_LOOKS || merged);
        let known = |chunk: &ChunkArrival| !blurred || slack(chunk) <= TOGETHER;
        arrivals.extend(read.iter().map(|chunk| Arrival::of(chunk, known(chunk))));
        before = Some(last.at);
    }
    arrivals
}

/// Whether two consecutive output chunks came in one read.
pub(super) fn together(before: &ChunkArrival, after: &ChunkArrival) -> bool {
    after.coalesced && after.at == before.at
}

/// How much earlier than `at` a chunk can have arrived.
fn slack(chunk: &ChunkArrival) -> Duration {
    Duration::from_micros(u64::from(chunk.slack_us))
}

/// How many output chunks a read usually holds: the lower median.
fn usual_size(sizes: impl Iterator<Item = usize>) -> usize {
    let mut sizes: Vec<usize> = sizes.collect();
    sizes.sort_unstable();
    let middle = sizes.len().saturating_sub(1) / 2;
    sizes.get(middle).copied().unwrap_or(1)
}

/// The gaps between chunks.
pub(super) fn gaps(arrivals: &[Arrival]) -> Gaps {
    let mut gaps = Gaps::default();
    let mut last_known: Option<Duration> = None;
    // Arrivals since then whose time is lost.
    let mut lost = 0;
    for arrival in arrivals {
        if !arrival.known {
            lost += 1;
            continue;
        }
        let before = last_known.replace(arrival.at);
        let gap = before.map(|before| milliseconds(arrival.at.saturating_sub(before)));
        match gap {
            Some(gap) if lost == 0 => gaps.known_ms.push(gap),
            Some(total) => gaps.spread_over(lost + 1, total),
            None => gaps.uncertain += lost,
        }
        lost = 0;
    }
    // The answer ends with a chunk whose read brought more: its end is an upper bound.
    let end = arrivals.last().filter(|_| lost > 0);
    match (last_known, end) {
        (Some(before), Some(end)) => {
            gaps.spread_over(lost, milliseconds(end.at.saturating_sub(before)));
        }
        (None, Some(_)) => gaps.uncertain += lost.saturating_sub(1),
        (_, None) => {}
    }
    gaps
}

impl Gaps {
    fn spread_over(&mut self, count: u64, total_ms: f64) {
        self.uncertain += count;
        self.spread += count;
        self.spread_total_ms += total_ms;
    }
}

/// The gaps between tokens: a time in which `k` tokens came counts `k` times as its `k`-th part.
/// Chunks that came together are one arrival.
///
/// The server's count with each chunk says how many came; without it, `total` tokens in as many
/// chunks means one in each. `None` otherwise, or when the counts do not grow.
pub(super) fn token_gaps(arrivals: &[Arrival], total: Option<u64>) -> Option<TokenGaps> {
    let counted = arrivals.iter().all(|arrival| arrival.tokens.is_some());
    if !counted && total != Some(arrivals.len() as u64) {
        return None;
    }
    let mut gaps = TokenGaps::default();
    let mut last: Option<(Duration, u32)> = None;
    let mut latest = Latest::First;
    let mut blurred = false;
    for (arrival, position) in arrivals.iter().zip(1_u32..) {
        let tokens = arrival.tokens.filter(|_| counted).unwrap_or(position);
        if !arrival.known {
            blurred = true;
            continue;
        }
        let Some((at, before)) = last else {
            last = Some((arrival.at, tokens));
            blurred = false;
            continue;
        };
        let new = tokens.checked_sub(before)?;
        if arrival.at == at {
            gaps.join(new, latest);
        } else if new > 0 {
            let gap = milliseconds(arrival.at.saturating_sub(at));
            latest = gaps.begin(gap, new, blurred);
            blurred = false;
        } else {
            // A chunk without a new token: its time belongs to the next one's.
            continue;
        }
        last = Some((arrival.at, tokens));
    }
    Some(gaps)
}

/// Where the tokens of the latest arrival went.
#[derive(Debug, Clone, Copy)]
enum Latest {
    /// Nowhere: no gap leads to the first arrival.
    First,
    Known,
    Spread,
}

impl TokenGaps {
    /// `new` tokens came after `gap` milliseconds.
    fn begin(&mut self, gap: f64, new: u32, blurred: bool) -> Latest {
        if blurred {
            self.spread.0 += u64::from(new);
            self.spread.1 += gap;
            return Latest::Spread;
        }
        self.known_ms.push((gap / f64::from(new), new));
        Latest::Known
    }

    /// `new` more tokens came together with the latest arrival: they share its gap.
    fn join(&mut self, new: u32, latest: Latest) {
        match (latest, self.known_ms.last_mut()) {
            (Latest::Known, Some((each, tokens))) => {
                let total = *each * f64::from(*tokens);
                *tokens += new;
                *each = total / f64::from(*tokens);
            }
            (Latest::Spread, _) => self.spread.0 += u64::from(new),
            (Latest::First | Latest::Known, _) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::ChunkKind;

    /// A chunk at `ms`, with `slack` ms, and `tokens` so far (0: not told).
    fn chunk(ms: u64, slack: f64, tokens: u32) -> ChunkArrival {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "small test numbers"
        )]
        let slack_us = (slack * 1e3) as u32;
        ChunkArrival {
            coalesced: true,
            slack_us,
            tokens: NonZeroU32::new(tokens),
            ..ChunkArrival::new(Duration::from_millis(ms), ChunkKind::Content)
        }
    }

    fn of(chunks: &[ChunkArrival]) -> Vec<Arrival> {
        arrivals(&chunks.iter().collect::<Vec<_>>())
    }

    fn near(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-9, "{found} is not {expected}");
    }

    #[test]
    fn what_came_together_has_gaps_of_zero() {
        // Four events in one segment every 40 ms.
        let chunks: Vec<_> = [40, 80, 120]
            .into_iter()
            .flat_map(|at| [0.03, 0.03, 0.03, 0.0].map(|slack| chunk(at, slack, 0)))
            .collect();
        let found = gaps(&of(&chunks));
        assert_eq!((found.known_ms.len(), found.uncertain), (11, 0));
        let zero = found.known_ms.iter().filter(|gap| **gap < 1e-9).count();
        assert_eq!(zero, 9);
        near(found.mean_ms().unwrap(), 80.0 / 11.0);
    }

    #[test]
    fn a_stall_of_ours_reaches_the_mean_only() {
        // 10 ms apart; the process stood still from 21 to 71: 30 to 70 came in one read.
        let chunks = [
            chunk(10, 0.0, 0),
            chunk(20, 0.0, 0),
            chunk(70, 49.0, 0),
            chunk(70, 49.0, 0),
            chunk(70, 49.0, 0),
            chunk(70, 49.0, 0),
            chunk(70, 0.0, 0),
            chunk(80, 0.0, 0),
        ];
        let found = gaps(&of(&chunks));
        assert_eq!(found.known_ms, [10.0, 10.0]);
        assert_eq!((found.uncertain, found.spread), (5, 5));
        near(found.spread_total_ms, 50.0);
        near(found.mean_ms().unwrap(), 10.0); // 70 ms, 7 gaps
        assert_eq!(found.count(), 7);
    }

    #[test]
    fn a_server_that_sends_four_at_a_time_does_so_all_along() {
        // The loop last looked 5 ms before each read, as it does when little happens.
        let chunks: Vec<_> = [10, 20, 30, 40]
            .into_iter()
            .flat_map(|at| [5.0, 5.0, 5.0, 0.0].map(|slack| chunk(at, slack, 0)))
            .collect();
        let found = gaps(&of(&chunks));
        assert_eq!((found.known_ms.len(), found.uncertain), (15, 0));
    }

    #[test]
    fn a_stall_all_along_is_no_habit_of_the_server() {
        // A processor quota: the loop runs for 20 of every 100 ms, and each read holds ten
        // chunks that came 10 ms apart.
        let chunks: Vec<_> = [100, 200, 300]
            .into_iter()
            .flat_map(|at| (0..10).map(move |n| chunk(at, if n < 9 { 80.0 } else { 0.0 }, 0)))
            .collect();
        let found = gaps(&of(&chunks));
        assert_eq!((found.known_ms.len(), found.uncertain), (0, 29));
        near(found.mean_ms().unwrap(), 10.0); // 200 ms, 20 gaps; the first 9 are lost
    }

    #[test]
    fn slack_below_half_of_the_time_before_says_the_server_paused() {
        let with_slack = |slack| {
            let mut chunks: Vec<_> = (1..=9).map(|n| chunk(n * 40, 0.0, 0)).collect();
            chunks[4] = chunk(200, 0.0, 0);
            chunks[4].coalesced = true;
            chunks.insert(4, chunk(200, slack, 0));
            chunks[4].coalesced = false;
            gaps(&of(&chunks)).uncertain
        };
        assert_eq!(with_slack(19.9), 0); // 40 ms since the chunk before
        assert_eq!(with_slack(20.0), 2); // before it and behind it
    }

    #[test]
    fn what_follows_the_last_chunk_does_not_blur_it() {
        // The last token in one read with the finish reason and `[DONE]`.
        let chunks = [chunk(10, 0.0, 0), chunk(20, 0.0, 0), chunk(30, 5.0, 0)];
        let found = gaps(&of(&chunks));
        assert_eq!((found.known_ms.len(), found.uncertain), (2, 0));
    }

    #[test]
    fn an_answer_in_one_read_is_known_to_a_look() {
        let whole = |slack| {
            let mut chunks = [slack, slack, 0.0].map(|slack| chunk(50, slack, 0));
            chunks[2].coalesced = true;
            of(&chunks)[0].known
        };
        assert!(whole(6.0));
        assert!(!whole(6.1));
    }

    #[test]
    fn half_a_millisecond_is_always_together() {
        let chunks = |slack| {
            [
                chunk(1, 0.0, 0),
                chunk(2, slack, 0),
                chunk(2, 0.0, 0),
                chunk(3, 0.0, 0),
            ]
        };
        assert_eq!(gaps(&of(&chunks(0.5))).uncertain, 0);
        assert_eq!(gaps(&of(&chunks(0.501))).uncertain, 2);
    }

    #[test]
    fn lost_beginnings_and_ends() {
        // Nothing known before: the two gaps to the first exact time are lost altogether.
        let beginning = [
            chunk(50, 30.0, 0),
            chunk(50, 30.0, 0),
            chunk(50, 0.0, 0),
            chunk(60, 0.0, 0),
        ];
        let found = gaps(&of(&beginning));
        assert_eq!((found.uncertain, found.spread), (2, 0));
        assert_eq!(found.known_ms, [10.0]);
        // The last two came in one read with the finish reason.
        let end = [
            chunk(10, 0.0, 0),
            chunk(20, 0.0, 0),
            chunk(60, 35.0, 0),
            chunk(60, 35.0, 0),
        ];
        let found = gaps(&of(&end));
        assert_eq!((found.uncertain, found.spread), (2, 2));
        near(found.spread_total_ms, 40.0);
        // Nothing known at all.
        let found = gaps(&of(&[chunk(60, 35.0, 0), chunk(60, 35.0, 0)]));
        assert_eq!(
            (found.count(), found.uncertain, found.mean_ms()),
            (1, 1, None)
        );
    }

    #[test]
    fn a_gap_over_several_tokens_counts_for_each() {
        // 2 tokens, then 3 more after 30 ms, then 1 after 12.
        let chunks = [chunk(10, 0.0, 2), chunk(40, 0.0, 5), chunk(52, 0.0, 6)];
        let found = token_gaps(&of(&chunks), Some(6)).unwrap();
        assert_eq!(found.known_ms, [(10.0, 3), (12.0, 1)]);
    }

    #[test]
    fn a_chunk_without_a_new_token_gives_its_time_to_the_next() {
        let chunks = [chunk(10, 0.0, 1), chunk(20, 0.0, 1), chunk(34, 0.0, 3)];
        let found = token_gaps(&of(&chunks), None).unwrap();
        assert_eq!(found.known_ms, [(12.0, 2)]);
    }

    #[test]
    fn tokens_that_came_together_share_the_time() {
        // No count with the chunks, but 5 tokens in 5 chunks; 4 of them in one segment.
        let chunks = [
            chunk(10, 0.0, 0),
            chunk(50, 0.1, 0),
            chunk(50, 0.1, 0),
            chunk(50, 0.1, 0),
            chunk(50, 0.0, 0),
        ];
        let found = token_gaps(&of(&chunks), Some(5)).unwrap();
        assert_eq!(found.known_ms, [(10.0, 4)]);
    }

    #[test]
    fn lost_tokens_are_spread_too() {
        let chunks = [
            chunk(10, 0.0, 1),
            chunk(60, 40.0, 2),
            chunk(60, 0.0, 5),
            chunk(70, 0.0, 6),
        ];
        let found = token_gaps(&of(&chunks), None).unwrap();
        assert_eq!(found.known_ms, [(10.0, 1)]);
        assert_eq!(found.spread.0, 4);
        near(found.spread.1, 50.0);
    }

    #[test]
    fn without_a_count_there_is_no_token_gap() {
        let chunks = [chunk(10, 0.0, 0), chunk(20, 0.0, 0)];
        assert!(token_gaps(&of(&chunks), Some(2)).is_some());
        assert_eq!(token_gaps(&of(&chunks), Some(3)), None);
        assert_eq!(token_gaps(&of(&chunks), None), None);
        let backwards = [chunk(10, 0.0, 3), chunk(20, 0.0, 2)];
        assert_eq!(token_gaps(&of(&backwards), Some(3)), None);
    }
}
