//! What the server's own numbers say about a measurement. Pure.

use std::num::NonZeroU32;

use super::ServerNumbers;

/// A cold scenario with more prefix cache hits than this did not measure what it says (design
/// §5.4).
const MAX_COLD_HITS: f64 = 0.01;
/// A larger difference between the server's count of generated tokens and ours is not ours.
const MAX_TOKEN_DRIFT: f64 = 0.01;

/// What the load meant to do.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ServerExpectations {
    /// Whether every prompt was to be new to the server.
    pub cold: bool,
    /// Requests kept in flight by a closed loop; `None` in an open loop.
    pub concurrency: Option<NonZeroU32>,
    /// Sequences the server runs at once, where that is known.
    pub slots: Option<NonZeroU32>,
    /// Sum of `completion_tokens` of all requests; `None` unless every request that was sent
    /// ended well and with usage, because the server counts tokens of the others too.
    pub generated: Option<u64>,
}

/// What the server's numbers say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerCheck {
    /// Why the measurement is invalid, in words.
    pub invalid: Option<String>,
    /// What else is worth saying.
    pub notes: Vec<String>,
}

/// Holds the server's numbers against what the load meant to do.
pub fn check_server(numbers: &ServerNumbers, expected: &ServerExpectations) -> ServerCheck {
    let hits = numbers.prefix_cache_hit_share.unwrap_or_default();
    let invalid = (expected.cold && hits >= MAX_COLD_HITS).then(|| {
        format!(
            "{:.1} % of the prompt came from the server's prefix cache although the scenario is \
             cold: switch the cache off or clear it between the runs",
            hits * 100.0
        )
    });
    let preempted = numbers.preemptions.filter(|count| *count > 0.0);
    let preempted = preempted.map(|count| {
        format!(
            "the server preempted sequences {count} times: its KV cache is too small for this \
             load, and their latency includes computing them again"
        )
    });
    let notes = [
        preempted,
        queued(numbers, expected),
        tokens(numbers, expected),
    ];
    ServerCheck {
        invalid,
        notes: notes
            .into_iter()
            .flatten()
            .chain(numbers.notes.iter().cloned())
            .collect(),
    }
}

fn queued(numbers: &ServerNumbers, expected: &ServerExpectations) -> Option<String> {
    let longest = numbers.queue_max.filter(|longest| *longest > 0.0)?;
    let (concurrency, slots) = expected.concurrency.zip(expected.slots)?;
    (concurrency <= slots).then(|| {
        format!(
            "up to {longest} requests waited in the server's queue in {:.0} % of the readings \
             although {concurrency} at once fit into its {slots} slots: TTFT includes the wait",
            numbers.queue_share.unwrap_or_default() * 100.0
        )
    })
}

fn tokens(numbers: &ServerNumbers, expected: &ServerExpectations) -> Option<String> {
    let (server, ours) = numbers.generation_tokens.zip(expected.generated)?;
    let more = server - ours as f64;
    let allowed = ours as f64 * MAX_TOKEN_DRIFT;
    let why = if more > allowed {
        "someone else used the server, or it counts otherwise"
    } else if more < -allowed {
        "its counters lag, or more than one server answers at this address"
    } else {
        return None;
    };
    Some(format!(
        "the server generated {server} tokens while the answers held {ours}: {why}"
    ))
}

/// Puts the client's mean TTFT beside the server's. `None` unless both are known.
pub fn ttft_beside(client_mean_ms: Option<f64>, numbers: &ServerNumbers) -> Option<String> {
    let (client, server) = client_mean_ms.zip(numbers.ttft_mean_ms)?;
    let gap = client - server;
    Some(if gap >= 0.0 {
        format!(
            "mean TTFT {client:.1} ms at the client, {server:.1} ms on the server's clock: \
             {gap:.1} ms are network and waiting before the engine's clock starts"
        )
    } else {
        format!(
            "mean TTFT {client:.1} ms at the client, {server:.1} ms on the server's clock: \
             the server counts requests that are not ours, or until later than the first token"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expected() -> ServerExpectations {
        ServerExpectations {
            cold: true,
            concurrency: NonZeroU32::new(8),
            slots: NonZeroU32::new(8),
            generated: Some(1000),
        }
    }

    fn quiet() -> ServerNumbers {
        ServerNumbers {
            prefix_cache_hit_share: Some(0.009),
            queue_max: Some(0.0),
            preemptions: Some(0.0),
            generation_tokens: Some(1010.0),
            ..ServerNumbers::default()
        }
    }

    fn notes(numbers: &ServerNumbers, expected: &ServerExpectations) -> String {
        let check = check_server(numbers, expected);
        assert_eq!(check.invalid, None);
        check.notes.join("\n")
    }

    #[test]
    fn a_quiet_server_says_nothing() {
        assert_eq!(check_server(&quiet(), &expected()), ServerCheck::default());
        let nothing = ServerNumbers::default();
        assert_eq!(check_server(&nothing, &expected()), ServerCheck::default());
    }

    #[test]
    fn one_per_cent_of_hits_makes_a_cold_run_invalid() {
        let hit = ServerNumbers {
            prefix_cache_hit_share: Some(0.01),
            ..quiet()
        };
        let invalid = check_server(&hit, &expected()).invalid.unwrap();
        assert!(invalid.starts_with("1.0 % of the prompt"), "{invalid}");
        let warm = ServerExpectations {
            cold: false,
            ..expected()
        };
        assert_eq!(check_server(&hit, &warm), ServerCheck::default());
    }

    #[test]
    fn preemptions_are_told() {
        let busy = ServerNumbers {
            preemptions: Some(3.0),
            ..quiet()
        };
        let told = notes(&busy, &expected());
        assert!(told.contains("preempted sequences 3 times"), "{told}");
    }

    #[test]
    fn a_queue_is_told_only_where_there_was_room() {
        let queue = ServerNumbers {
            queue_max: Some(2.0),
            queue_share: Some(0.25),
            ..quiet()
        };
        let told = notes(&queue, &expected());
        assert!(
            told.contains("up to 2 requests") && told.contains("25 % of the readings"),
            "{told}"
        );
        let more = ServerExpectations {
            concurrency: NonZeroU32::new(9),
            ..expected()
        };
        let open = ServerExpectations {
            concurrency: None,
            ..expected()
        };
        let unknown = ServerExpectations {
            slots: None,
            ..expected()
        };
        for quiet in [more, open, unknown] {
            assert_eq!(notes(&queue, &quiet), "");
        }
    }

    #[test]
    fn other_token_counts_are_told_in_both_directions() {
        let counted = |tokens: f64| ServerNumbers {
            generation_tokens: Some(tokens),
            ..quiet()
        };
        // 1 % of 1000 is 10 tokens: not more than the limit.
        assert_eq!(notes(&counted(990.0), &expected()), "");
        let more = notes(&counted(1011.0), &expected());
        assert!(more.contains("someone else used the server"), "{more}");
        assert!(
            more.contains("1011 tokens while the answers held 1000"),
            "{more}"
        );
        let fewer = notes(&counted(989.0), &expected());
        assert!(fewer.contains("counters lag"), "{fewer}");
        let unknown = ServerExpectations {
            generated: None,
            ..expected()
        };
        assert_eq!(notes(&counted(5000.0), &unknown), "");
    }

    #[test]
    fn the_two_clocks_are_put_side_by_side() {
        let server = ServerNumbers {
            ttft_mean_ms: Some(110.0),
            ..quiet()
        };
        let told = ttft_beside(Some(120.25), &server).unwrap();
        assert!(told.contains("10.2 ms are network"), "{told}");
        let told = ttft_beside(Some(100.0), &server).unwrap();
        assert!(told.contains("not ours"), "{told}");
        assert_eq!(ttft_beside(None, &server), None);
        assert_eq!(ttft_beside(Some(1.0), &quiet()), None);
    }
}
