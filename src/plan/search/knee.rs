//! The knee of a throughput-latency curve.

use super::PointResult;

/// Throughput over latency (Kleinrock, "Power and deterministic rules of thumb for probabilistic
/// problems in computer communications", ICC 1979): its maximum is the knee, where adding load
/// begins to buy less throughput than it costs latency. In tokens (requests, where tokens are
/// not known) per second and second; `None` where either was not measured.
pub fn power(result: &PointResult) -> Option<f64> {
    let throughput = result.output_tps.or(result.request_rps)?;
    let latency = result.e2e_p50_ms.filter(|latency| *latency > 0.0)? / 1e3;
    let power = throughput / latency;
    power.is_finite().then_some(power)
}

/// The point of the highest power that the server bears; of equals the first.
pub(super) fn highest_power(done: &[PointResult]) -> Option<&PointResult> {
    let mut best: Option<(&PointResult, f64)> = None;
    for result in done.iter().filter(|result| result.overload().is_none()) {
        let Some(power) = power(result) else { continue };
        if best.is_none_or(|(_, known)| power > known) {
            best = Some((result, power));
        }
    }
    best.map(|(result, _)| result)
}
