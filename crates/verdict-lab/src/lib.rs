//! How often kitt's verdict is wrong, measured.
//!
//! Simulated runners with known truth, many pull requests on each, and the very code that the
//! program calls: [`kitt_action::compare::compare`] and [`kitt_action::verdict::decide`]. Nothing
//! here is shipped. `scripts/verdict-lab.sh` prints the tables of `docs/deciding.md`.
//!
//! | module | duty |
//! |---|---|
//! | [`requests`] | one run: latencies of its requests, and the twelve metrics |
//! | [`bank`] | many runs, made once |
//! | [`laws`] | how runs and jobs differ when nothing changed |
//! | [`sides`] | runs as the result sets, pairs and histories that kitt reads |
//! | [`designs`] | one pull request through one design, by the real procedure |
//! | [`rivals`] | the same pull requests through rules that others use |
//! | [`cells`] | many pull requests, counted |
//! | [`requirements`] | what the counts must be |
//! | [`series`] | change points on histories |
//! | [`documents`], [`score`] | scenario files, and a binary's answers to them |
//! | [`table`], [`binomial`], [`threads`] | Markdown, limits of rates, both processors |

pub mod bank;
pub mod binomial;
pub mod cells;
pub mod designs;
pub mod documents;
pub mod laws;
pub mod requests;
pub mod requirements;
pub mod rivals;
pub mod score;
pub mod series;
pub mod sides;
pub mod table;
pub mod threads;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// The generator of one draw: the same for the same seed, purpose and number on every machine,
/// whichever thread makes it.
pub fn generator(seed: u64, purpose: u64, number: usize) -> ChaCha8Rng {
    let mut generator =
        ChaCha8Rng::seed_from_u64(seed ^ purpose.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    generator.set_stream(number as u64);
    generator
}
