//! Plays seeded random answers, cut at random, and holds what must hold for every answer.
//!
//! A small run is part of the suite; `scripts/fuzz-streams.sh` plays as many as it is asked to.

use std::{env, time::Instant};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{
    Outcome,
    reply::{Feed, Reply},
    shapes::{DONE, END, ROLE, SSE, STOP, USAGE, WORD, chunk, read, timeless},
    stream::{Answer, End},
};

const HEADS: [&str; 10] = [
    SSE,
    SSE,
    SSE,
    "HTTP/1.1 200 OK\r\n\r\n",
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 300\r\n\r\n",
    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\ntransfer-encoding: chunked\n\n",
    "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\n\r\n",
    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 90\r\n\r\n",
    "HTTP/1.1 429 Too Many\r\nretry-after: 9\r\ntransfer-encoding: chunked\r\n\r\n",
    "HTTP/1.1 200 OK\r\ncontent-encoding: br\r\n\r\n",
];
const EVENTS: [&str; 18] = [
    ROLE,
    WORD,
    WORD,
    WORD,
    STOP,
    USAGE,
    DONE,
    ": ping\r\n\r\n",
    "event: error\ndata: {}\n\n",
    "data: {\"error\":{\"message\":\"é\"}}\n\n",
    "data: {\"choices\":[{\"delta\":{\"content\":\"\u{1f600}\\n\"}}]}\r\n\r\n",
    "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{}]}}],\rdata: \"usage\":{}}\r\r",
    "data: {\"choices\":[{\"text\":\"a\"}],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}\n\n",
    "data: {\"choices\":[{\"delta\":{\"reasoning\":\"a\"},\"finish_reason\":\"abort\"}]}\n\n",
    "data:\n\n",
    "\u{feff}",
    "data: {\"choices\":[[[[[\n\n",
    "{\"error\":\"x\"}",
];
/// So many of them, from the first on, are what a healthy server sends.
const GOOD: usize = 8;
/// Bytes that mean something somewhere.
const TELLING: &[u8] = b"\r\n:{}[]\"\\,;0f \x00\xff\xc3\xa9";

/// Answers of one seed, played.
#[derive(Default)]
struct Played {
    answers: u64,
    bytes: u64,
    outcomes: [u64; Outcome::ALL.len()],
}

struct Fuzz {
    random: ChaCha8Rng,
    replies: [Reply; 2],
    played: Played,
}

impl Fuzz {
    fn new(seed: u64) -> Self {
        Self {
            random: ChaCha8Rng::seed_from_u64(seed),
            replies: [Reply::new(), Reply::new()],
            played: Played::default(),
        }
    }

    fn below(&mut self, limit: usize) -> usize {
        self.random.random_range(0..limit)
    }

    fn one_in(&mut self, chance: usize) -> bool {
        self.below(chance) == 0
    }

    fn pick<'t>(&mut self, of: &[&'t str]) -> &'t str {
        of[self.below(of.len())]
    }

    fn script(&mut self) -> Vec<u8> {
        let head = self.pick(&HEADS);
        let mut script = head.as_bytes().to_vec();
        let chunked = head.contains("chunked");
        let mut body = String::new();
        let known = if self.one_in(3) { EVENTS.len() } else { GOOD };
        for _ in 0..self.below(14) {
            body.push_str(self.pick(&EVENTS[..known]));
            if chunked && self.one_in(2) {
                script.extend_from_slice(chunk(&body).as_bytes());
                body.clear();
            }
        }
        // What is left goes bare: broken where chunks are due, and an end is not always sent.
        if !chunked || self.one_in(8) {
            script.extend_from_slice(body.as_bytes());
        }
        if !self.one_in(4) {
            script.extend_from_slice(END.as_bytes());
        }
        self.mutate(&mut script);
        script
    }

    /// Half of the answers stay as a server would send them.
    fn mutate(&mut self, script: &mut Vec<u8>) {
        if self.one_in(2) {
            return;
        }
        for _ in 0..=self.below(4) {
            if script.is_empty() {
                return;
            }
            let at = self.below(script.len());
            let telling = TELLING[self.below(TELLING.len())];
            match self.below(6) {
                0 => script[at] = telling,
                1 => script[at] = self.random.random(),
                2 => script.insert(at, telling),
                3 => drop(script.remove(at)),
                4 => script.truncate(at),
                _ => {
                    let end = (at + self.below(60)).min(script.len());
                    let again = script[at..end].to_vec();
                    script.extend_from_slice(&again);
                }
            }
        }
    }

    /// Plays an answer whole and in pieces, and compares.
    fn answer(&mut self) {
        let script = self.script();
        let [whole, in_pieces] = &mut self.replies;
        let expected = play(whole, &[&script]);
        let mut pieces = Vec::new();
        let mut rest = script.as_slice();
        let longest = [1, 8, 90, 600][self.random.random_range(0..4_usize)];
        while !rest.is_empty() {
            let length = self.random.random_range(1..=longest).min(rest.len());
            let (piece, after) = rest.split_at(length);
            pieces.push(piece);
            rest = after;
        }
        let answer = play(in_pieces, &pieces);
        check(&answer);
        check(&expected);
        let shown = String::from_utf8_lossy(&script);
        assert_eq!(timeless(answer), timeless(expected.clone()), "{shown:?}");
        self.played.answers += 1;
        self.played.bytes += script.len() as u64;
        let place = Outcome::ALL.iter().position(|one| *one == expected.outcome);
        self.played.outcomes[place.unwrap()] += 1;
    }
}

/// Plays an answer to its end, or to the close of the connection.
fn play(reply: &mut Reply, reads: &[&[u8]]) -> Answer {
    reply.reset();
    for (at, bytes) in reads.iter().enumerate() {
        if let Feed::Over { .. } = reply.feed(bytes, read(at)) {
            return reply.conclude(End::Complete);
        }
    }
    assert_eq!(reply.eof(), Feed::Over { reusable: false });
    reply.conclude(End::Complete)
}

/// What holds for every answer.
fn check(answer: &Answer) {
    let has_output = answer.chunks.iter().any(|chunk| chunk.kind.is_output());
    assert!(answer.outcome != Outcome::Ok || has_output, "{answer:?}");
    assert_eq!(answer.error.is_none(), answer.outcome == Outcome::Ok);
    let length = answer.error.as_ref().map_or(0, |text| text.chars().count());
    assert!(length <= 300, "{answer:?}");
    assert!(answer.chunks.is_sorted_by_key(|chunk| chunk.at));
    for pair in answer.chunks.windows(2) {
        // Two of one read, and only those, have one time; only the last can be exact.
        let together = pair[0].at == pair[1].at;
        assert_eq!(pair[1].coalesced, together, "{answer:?}");
        assert!(!together || pair[0].slack_us > 0, "{answer:?}");
    }
}

fn run(seed: u64, answers: u64) -> Played {
    let mut fuzz = Fuzz::new(seed);
    for _ in 0..answers {
        fuzz.answer();
    }
    fuzz.played
}

#[test]
fn random_answers_hold_in_small() {
    let played = run(0x6b69_7474, 20_000);
    // Every outcome that an answer can have by itself is met, and often.
    for (outcome, count) in Outcome::ALL.iter().zip(played.outcomes) {
        let of_ours = matches!(outcome, Outcome::Timeout | Outcome::Cancelled);
        assert!(of_ours || count > 100, "{outcome:?}: {count}");
    }
}

#[test]
#[ignore = "long: scripts/fuzz-streams.sh runs it"]
#[expect(clippy::disallowed_methods, reason = "the script's arguments")]
fn random_answers_hold() {
    let number = |name: &str| env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let answers = number("KITT_FUZZ_STREAMS").unwrap_or(1_000_000);
    let seed = number("KITT_FUZZ_SEED").unwrap_or(1);
    let start = Instant::now();
    let played = run(seed, answers);
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "seed {seed}: {} streams, each whole and in pieces, {} bytes, {seconds:.1} s",
        played.answers, played.bytes
    );
    for (outcome, count) in Outcome::ALL.iter().zip(played.outcomes) {
        println!("{:12} {count}", outcome.name());
    }
}
