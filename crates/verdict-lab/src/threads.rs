//! The same work for many numbers, on all processors.

use std::{num::NonZeroUsize, thread};

/// `work` of every number below `count`, in order.
pub fn map<T: Send>(count: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let threads = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let each = count.div_ceil(threads).max(1);
    let work = &work;
    thread::scope(|scope| {
        let parts: Vec<_> = (0..count)
            .step_by(each)
            .map(|start| scope.spawn(move || (start..count.min(start + each)).map(work).collect()))
            .collect();
        let joined = |part: thread::ScopedJoinHandle<'_, Vec<T>>| part.join().expect("no panic");
        parts.into_iter().flat_map(joined).collect()
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_order_is_kept() {
        let squares: Vec<usize> = (0..1001).map(|n| n * n).collect();
        assert_eq!(super::map(1001, |n| n * n), squares);
        assert!(super::map(0, |n| n).is_empty());
    }
}
