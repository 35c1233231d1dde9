//! The statistics that decide, held against numbers that others published or that follow exactly.
//!
//! "Library" values were computed once with mpmath 1.3 at 40 digits, `SciPy` 1.17 and statsmodels
//! 0.15; they are given to the digits a double holds.

use kitt_action::{
    compare::{
        Counts, ItemChanges, Reference, benjamini_hochberg, difference_limits, holm, holm_levels,
        normal_quantile, t_quantile, t_upper_tail,
    },
    verdict::{Levels, Looks},
};

/// Within 1e-9, of the value where that is larger than 1.
fn exact(found: f64, expected: f64, what: &str) {
    let error = (found - expected).abs() / expected.abs().max(1.0);
    assert!(error < 1e-9, "{what}: {found} is not {expected}");
}

/// For a number that may be tiny: 1e-9 of it.
fn relative(found: f64, expected: f64, what: &str) {
    let error = (found / expected - 1.0).abs();
    assert!(error < 1e-9, "{what}: {found} is not {expected}");
}

/// To the digits a table prints.
fn printed(found: f64, table: f64, digits: i32) {
    let half = 0.5 * 10_f64.powi(-digits) * (1.0 + 1e-9);
    assert!((found - table).abs() <= half, "{found} is not {table}");
}

/// Library values; the first four are also in NIST/SEMATECH 1.3.6.7.1.
#[test]
fn normal_quantiles_and_tails() {
    for (tail, z) in [
        (0.05, 1.644_853_626_951_472_7),
        (0.025, 1.959_963_984_540_054_2),
        (0.01, 2.326_347_874_040_841),
        (0.005, 2.575_829_303_548_901),
        (1e-4, 3.719_016_485_455_680_6),
        (1e-6, 4.753_424_308_822_899),
        (1e-11, 6.706_023_155_495_136),
    ] {
        exact(Reference::Normal.upper(tail).unwrap(), z, "upper");
        exact(normal_quantile(tail).unwrap(), -z, "quantile");
    }
    for (z, tail) in [
        (1.0, 0.158_655_253_931_457_05),
        (2.0, 0.022_750_131_948_179_21),
        (3.0, 0.001_349_898_031_630_094_5),
        (5.0, 2.866_515_718_791_939e-7),
        (8.0, 6.220_960_574_271_784e-16),
    ] {
        relative(Reference::Normal.tail(z).unwrap(), tail, "tail");
    }
}

/// One, two and four degrees of freedom have closed forms (Shaw 2006, *Journal of Computational
/// Finance* 9, 37–73): tan π(p − ½); (2p − 1) √(2 / (4p(1 − p))); and with a = 4p(1 − p),
/// 2 √(cos(arccos(√a) / 3) / √a − 1).
#[test]
fn student_quantiles_with_closed_forms() {
    for tail in [
        0.25,
        0.1,
        0.05,
        0.025,
        0.01,
        0.005,
        0.001,
        1.0 / 1200.0,
        1e-5,
    ] {
        let cauchy = 1.0 / (std::f64::consts::PI * tail).tan();
        exact(t_quantile(tail, 1.0).unwrap(), -cauchy, "df 1");
        let a: f64 = 4.0 * tail * (1.0 - tail);
        let two = (1.0 - 2.0 * tail) * (2.0 / a).sqrt();
        exact(t_quantile(tail, 2.0).unwrap(), -two, "df 2");
        let four = 2.0 * ((a.sqrt().acos() / 3.0).cos() / a.sqrt() - 1.0).sqrt();
        exact(t_quantile(tail, 4.0).unwrap(), -four, "df 4");
        exact(Reference::StudentT(4.0).upper(tail).unwrap(), four, "df 4");
    }
}

/// Library values for the degrees of freedom of three to twelve pairs, with and without a prior,
/// whole and not.
#[test]
fn student_quantiles_at_the_levels_of_a_gate() {
    for (tail, df, t) in [
        (0.05, 3.0, 2.353_363_434_801_823_9),
        (1e-4, 3.0, 22.203_742_273_204_183),
        (1e-8, 3.0, 479.525_069_579_738_3),
        (0.01, 6.0, 3.142_668_403_290_983_4),
        (1e-8, 6.0, 38.662_010_446_343_12),
        (0.005, 7.5, 3.421_422_688_124_044_4),
        (1e-8, 7.5, 24.451_239_425_973_23),
        (1.0 / 1200.0, 8.0, 4.639_790_043_707_542),
        (0.05, 11.0, 1.795_884_818_704_044),
        (1e-4, 11.0, 5.452_762_088_822_181),
        (0.005, 19.0, 2.860_934_606_464_979),
        (1e-8, 19.0, 9.194_475_884_384_203),
        (1e-8, 60.0, 6.468_760_665_985_53),
    ] {
        exact(t_quantile(tail, df).unwrap(), -t, "quantile");
    }
}

/// NIST/SEMATECH e-Handbook 1.3.6.7.2: one-sided critical values to three decimals.
#[test]
#[expect(clippy::approx_constant, reason = "2.718 is a quantile here")]
fn student_quantiles_of_a_printed_table() {
    for (df, row) in [
        (2.0, [1.886, 2.920, 4.303, 6.965, 9.925, 22.327]),
        (5.0, [1.476, 2.015, 2.571, 3.365, 4.032, 5.893]),
        (7.0, [1.415, 1.895, 2.365, 2.998, 3.499, 4.785]),
        (9.0, [1.383, 1.833, 2.262, 2.821, 3.250, 4.297]),
        (11.0, [1.363, 1.796, 2.201, 2.718, 3.106, 4.025]),
        (20.0, [1.325, 1.725, 2.086, 2.528, 2.845, 3.552]),
    ] {
        for (tail, table) in [0.1, 0.05, 0.025, 0.01, 0.005, 0.001].into_iter().zip(row) {
            printed(-t_quantile(tail, df).unwrap(), table, 3);
        }
    }
}

/// Closed forms for one and two degrees of freedom, library values beyond.
#[test]
fn student_tails() {
    for t in [0.5_f64, 2.0, 10.0, 300.0] {
        let one = (1.0 / t).atan() / std::f64::consts::PI;
        relative(t_upper_tail(t, 1.0).unwrap(), one, "df 1");
        let root = (2.0 + t * t).sqrt();
        // ½ (1 − t / √(2 + t²)) without the cancellation.
        let two = 1.0 / (root * (root + t));
        relative(t_upper_tail(t, 2.0).unwrap(), two, "df 2");
    }
    for (t, df, tail) in [
        (2.0, 5.0, 0.050_969_739_414_929_18),
        (4.0, 8.0, 0.001_974_886_401_722_663),
        (10.0, 6.0, 2.895_991_377_476_812_7e-5),
        (1.5, 30.0, 0.072_032_964_564_323),
    ] {
        relative(t_upper_tail(t, df).unwrap(), tail, "tail");
    }
}

/// McNemar 1947 in fractions of 2ⁿ, and the approval ratings of Agresti, *Categorical Data
/// Analysis*, table 10.1: 150 of 1600 people changed one way and 86 the other, z² = 17.36 there;
/// the exact tail is the library's (R: `binom.test(150, 236, alternative = "greater")`).
#[test]
fn mcnemar() {
    let p = |lost, gained| ItemChanges::once(2000, lost, gained).unwrap().worse_p();
    relative(p(5, 0), 1.0 / 32.0, "5 of 5");
    relative(p(8, 2), 56.0 / 1024.0, "8 of 10");
    relative(p(16, 8), 0.075_794_816_017_150_88, "16 of 24");
    relative(p(30, 0), 2_f64.powi(-30), "30 of 30");
    relative(p(150, 86), 1.857_968_069_785_693_3e-5, "150 of 236");
    let z2 = (150.0_f64 - 86.0).powi(2) / (150.0 + 86.0);
    printed(z2, 17.36, 2);
}

/// Agresti and Min 2005, the interval "Wald+2" as in R code of Agresti's own page
/// (users.stat.ufl.edu/~aa/cda/R/matched): 8 and 16 of 86 changed; 150 and 86 of 1600.
#[test]
fn agresti_and_min() {
    let z = Reference::Normal.upper(0.025).unwrap();
    let limits = |n, b, c| ItemChanges::once(n, b, c).unwrap().limits(z);
    let (low, high) = limits(86, 8, 16);
    exact(low, -0.018_820_739_244_482_923, "low");
    exact(high, 0.200_638_921_062_664_73, "high");
    let (low, high) = limits(1600, 150, 86);
    exact(low, -0.058_682_935_725_972_45, "low");
    exact(high, -0.021_217_189_117_972_622, "high");
}

/// Newcombe 1998, table II, method 10, to the four digits printed there; all digits are
/// statsmodels' `confint_proportions_2indep(method="newcomb")`.
#[test]
fn newcombe() {
    let z = Reference::Normal.upper(0.025).unwrap();
    for (current, baseline, low, high, table) in [
        (
            (56.0, 70.0),
            (48.0, 80.0),
            0.052_431_472_402_364_98,
            0.333_872_654_036_906_14,
            (0.0524, 0.3339),
        ),
        (
            (9.0, 10.0),
            (3.0, 10.0),
            0.170_522_723_934_502_9,
            0.809_017_973_535_488,
            (0.1705, 0.8090),
        ),
        (
            (6.0, 7.0),
            (2.0, 7.0),
            0.058_227_927_482_312_09,
            0.806_249_637_524_227_8,
            (0.0582, 0.8062),
        ),
        (
            (10.0, 10.0),
            (0.0, 20.0),
            0.679_086_037_141_914_5,
            1.0,
            (0.6791, 1.0),
        ),
    ] {
        let counts = |(events, trials)| Counts { events, trials };
        let found = difference_limits(counts(baseline), counts(current), z);
        exact(found.0, low, "low");
        exact(found.1, high, "high");
        printed(found.0, table.0, 4);
        printed(found.1, table.1, 4);
    }
}

/// The fifteen p-values of Benjamini and Hochberg 1995, §4.1: at 5 % their procedure rejects
/// four, Bonferroni's rejects three. Adjusted values are statsmodels' `multipletests` (R's
/// `p.adjust` defines them the same way).
#[test]
fn many_tests_of_benjamini_and_hochberg() {
    let p = [
        0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262,
        0.5719, 0.6528, 0.7590, 1.000,
    ];
    let q = benjamini_hochberg(&p);
    assert_eq!(q.iter().filter(|q| **q <= 0.05).count(), 4);
    for (found, expected) in q.iter().zip([
        0.0015,
        0.003,
        0.0095,
        0.035_625,
        0.0603,
        0.063_857_142_857_142_86,
        0.063_857_142_857_142_86,
        0.0645,
        0.0765,
        0.486,
        0.581_181_818_181_818_2,
        0.714_875,
        0.753_230_769_230_769_3,
        0.813_214_285_714_285_7,
        1.0,
    ]) {
        exact(*found, expected, "q");
    }
    let adjusted = holm(&p);
    assert_eq!(adjusted.iter().filter(|p| **p <= 0.05).count(), 3);
    for (found, expected) in adjusted.iter().zip([
        0.0015, 0.0056, 0.0247, 0.114, 0.2211, 0.278, 0.278, 0.278, 0.3213, 1.0,
    ]) {
        exact(*found, expected, "holm");
    }
    let levels = holm_levels(&p, 0.05);
    let rejected = p.iter().zip(&levels).filter(|(p, level)| p <= level);
    assert_eq!(rejected.count(), 3);
    exact(levels[2], 0.05 / 13.0, "third");
    exact(levels[14], 0.05 / 12.0, "where it stopped");
}

/// Lan and `DeMets` 1983 with the O'Brien-Fleming type function at a two-sided 5 %: of the table
/// of Reboussin, `DeMets`, Kim and Lan 2000 (and R's `ldbounds`) the probabilities spent by
/// t = 0.4, 0.6, 0.8 and 1 are 7.883e-4, 7.6161e-3, 2.4424e-2 and 5e-2, half of it on each side.
#[test]
fn spending_of_lan_and_demets() {
    let whole = Levels {
        alpha: 0.025,
        beta: 0.05,
    };
    let mut spent = 0.0;
    let mut found = Vec::new();
    for (look, levels) in Looks::up_to(10).spend(whole).unwrap() {
        spent += levels.alpha;
        found.push((look, spent));
    }
    for (look, published, library) in [
        (4, 7.8830e-4, 3.941_517_566_911_857_7e-4),
        (6, 7.6161e-3, 3.808_063_310_989_332e-3),
        (8, 2.4424e-2, 1.221_179_034_644_807_7e-2),
        (10, 5e-2, 0.025),
    ] {
        let at = found.iter().find(|(at, _)| *at == look).unwrap().1;
        relative(at, library, "spent");
        assert!((2.0 * at / published - 1.0).abs() < 1e-4, "{look}: {at}");
    }
}
