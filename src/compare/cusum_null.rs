//! How large the CUSUM of normal scores gets by chance: critical values at 1 %.
//!
//! Under the null hypothesis every order of the ranks is equally likely, so the distribution
//! depends on the number of values alone. Up to twelve values it is enumerated, beyond that drawn
//! (`ChaCha8`, seed 1). `print_the_table` in the tests makes the table.

/// Fewest values on either side of a split.
pub(super) const EDGE: usize = 4;

/// The smallest S that chance reaches at most once in a hundred; `None` where it always reaches
/// more often: below ten values not even the most extreme order is that rare (2 of the 70 ways to
/// choose four of eight).
pub(super) fn critical(n: usize) -> Option<f64> {
    let after = TABLE.partition_point(|(size, _)| *size <= n);
    let (from, low) = *TABLE.get(after.checked_sub(1)?)?;
    let Some((to, high)) = TABLE.get(after) else {
        return Some(low);
    };
    // It grows like √(2 ln ln n) (Darling and Erdős 1956): straight in ln n over a short way.
    let at = |size: usize| (size as f64).ln();
    let way = (at(n) - at(from)) / (at(*to) - at(from));
    Some(low + way * (high - low))
}

/// Number of values, and S at 1 %, rounded down.
const TABLE: &[(usize, f64)] = &[
    (10, 2.5197),
    (11, 2.6407),
    (12, 2.7437),
    (13, 2.7653),
    (14, 2.7947),
    (15, 2.8205),
    (16, 2.8486),
    (17, 2.8684),
    (18, 2.8944),
    (19, 2.9168),
    (20, 2.9477),
    (21, 2.9519),
    (22, 2.9793),
    (23, 3.0028),
    (24, 3.0256),
    (25, 3.0367),
    (26, 3.0496),
    (27, 3.0671),
    (28, 3.0800),
    (29, 3.1052),
    (30, 3.1109),
    (31, 3.1220),
    (32, 3.1321),
    (33, 3.1447),
    (34, 3.1538),
    (35, 3.1660),
    (36, 3.1758),
    (37, 3.1783),
    (38, 3.1903),
    (39, 3.2020),
    (40, 3.2057),
    (45, 3.2416),
    (50, 3.2716),
    (60, 3.3224),
    (70, 3.3605),
    (80, 3.3832),
    (90, 3.4155),
    (100, 3.4319),
    (120, 3.4717),
    (150, 3.5061),
    (200, 3.5516),
    (300, 3.6093),
    (500, 3.6639),
    (1000, 3.7328),
    (2000, 3.7804),
    (5000, 3.8411),
    (10_000, 3.8735),
];

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use rand::{SeedableRng, seq::SliceRandom};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::compare::{change_points::cusum_between, normal_quantile};

    fn scores(n: usize) -> Vec<f64> {
        (1..=n)
            .map(|rank| normal_quantile(rank as f64 / (n as f64 + 1.0)).unwrap())
            .collect()
    }

    fn size(scores: &[f64], edge: usize) -> f64 {
        cusum_between(scores, edge).unwrap().1
    }

    /// S of `draws` random orders.
    fn drawn(n: usize, draws: usize, edge: usize, seed: u64) -> Vec<f64> {
        let mut scores = scores(n);
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        (0..draws)
            .map(|_| {
                scores.shuffle(&mut rng);
                size(&scores, edge)
            })
            .collect()
    }

    /// S of every order: the first four in any order, the last four in any order, and all orders
    /// of those between.
    fn enumerated(n: usize) -> Vec<f64> {
        let scores = scores(n);
        let mut found = Vec::new();
        let mut order: Vec<usize> = Vec::new();
        extend(&scores, &mut order, &mut found);
        found
    }

    fn extend(scores: &[f64], order: &mut Vec<usize>, found: &mut Vec<f64>) {
        if order.len() == scores.len() - EDGE {
            let rest = (0..scores.len()).filter(|index| !order.contains(index));
            let all: Vec<f64> = order
                .iter()
                .copied()
                .chain(rest)
                .map(|index| scores[index])
                .collect();
            found.push(size(&all, EDGE));
            return;
        }
        // Within the first four only ascending ones: their order does not matter.
        let ascending = order.last().filter(|_| order.len() < EDGE);
        let from = ascending.map_or(0, |last| last + 1);
        for next in from..scores.len() {
            if !order.contains(&next) {
                order.push(next);
                extend(scores, order, found);
                order.pop();
            }
        }
    }

    /// The smallest value that at most a share `p` reaches.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "small counts"
    )]
    fn quantile(mut sizes: Vec<f64>, p: f64) -> Option<f64> {
        sizes.sort_unstable_by(|a, b| b.total_cmp(a));
        let most = (sizes.len() as f64 * p) as usize;
        let (mut reached, mut found) = (0, None);
        for equal in sizes.chunk_by(|a, b| a - b < 1e-9) {
            reached += equal.len();
            if reached > most {
                break;
            }
            found = equal.last().copied();
        }
        found
    }

    fn down(value: f64) -> f64 {
        (value * 1e4).floor() / 1e4
    }

    #[test]
    fn small_numbers_are_enumerated() {
        // 8!/(4! 4!), 9!/(4! 4!) and 10!/(4! 4!).
        for (n, orders) in [(8, 70), (9, 630), (10, 6300)] {
            let all = enumerated(n);
            assert_eq!(all.len(), orders);
            let exact = quantile(all, 0.01).map(down);
            assert_eq!(exact, critical(n), "{n}");
        }
        assert_eq!(critical(0), None);
    }

    /// Another seed than the table's: 4000 draws must reach the table's value in 1 % of cases
    /// within 3.5 standard errors (±0.55 points).
    #[test]
    fn drawing_again_agrees_with_the_table() {
        for n in [13, 20, 33, 60, 100, 300] {
            let limit = critical(n).unwrap();
            let sizes = drawn(n, 4000, EDGE, 99 + n as u64);
            let share = sizes.iter().filter(|size| **size >= limit).count() as f64 / 4000.0;
            assert!((share - 0.01).abs() < 0.0055, "{n}: {share}");
        }
    }

    /// Andrews 1993, *Econometrica* 61, table I, as corrected in 2003 (*Econometrica* 71, 395–397):
    /// the supremum of the Wald statistic with one parameter and 15 % trimming exceeds 7.12, 8.68
    /// and 12.16 in 10, 5 and 1 % of cases. S² is that statistic for long series.
    #[test]
    fn long_series_follow_the_published_distribution() {
        let sizes = drawn(1000, 3000, 150, 7);
        for (p, published, error) in [(0.10, 7.12, 0.35), (0.05, 8.68, 0.5), (0.01, 12.16, 1.3)] {
            let found = quantile(sizes.clone(), p).unwrap().powi(2);
            assert!((found - published).abs() < error, "{p}: {found}");
        }
    }

    #[test]
    fn between_entries_it_grows_evenly() {
        let all: Vec<f64> = (10..=10_000).map(|n| critical(n).unwrap()).collect();
        assert!(all.is_sorted());
        assert_eq!(critical(20_000), critical(10_000));
    }

    /// Makes the table: minutes without optimisation.
    #[test]
    #[ignore = "prints the table that stands above"]
    fn print_the_table() {
        let draws = |n: usize| (200_000_000 / n).clamp(20_000, 400_000);
        let mut rows = String::new();
        for (n, _) in TABLE {
            let sizes = if *n <= 12 {
                enumerated(*n)
            } else {
                drawn(*n, draws(*n), EDGE, 1)
            };
            let limit = down(quantile(sizes, 0.01).unwrap());
            writeln!(rows, "    ({n}, {limit:.4}),").unwrap();
        }
        std::fs::write(std::env::temp_dir().join("cusum_null_table.txt"), rows).unwrap();
    }
}
