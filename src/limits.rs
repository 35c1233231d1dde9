//! What the system allows this process, and how it writes lists of processors.

/// Raises the soft limit of open files to the hard one and says how many may be open then: a
/// thousand streams need more than some systems allow at first. `None` where there is no such
/// limit, or it cannot be read.
pub fn open_files() -> Option<u64> {
    #[cfg(unix)]
    {
        use nix::sys::resource::{Resource, getrlimit, setrlimit};
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
        // macOS names a hard limit that it does not accept: the soft one stays then.
        let raised = soft < hard && setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok();
        Some(if raised { hard } else { soft })
    }
    #[cfg(not(unix))]
    None
}

/// The kernel's lists of numbers, such as `0-3,8`, for processors and memory nodes. `None` for
/// anything else.
pub fn numbers(list: &str) -> Option<Vec<u32>> {
    /// No machine has more; a damaged file does not make a list of billions.
    const MOST: u32 = 1 << 16;
    let mut found = Vec::new();
    for range in list.trim().split(',') {
        let (low, high) = range.split_once('-').unwrap_or((range, range));
        let (low, high): (u32, u32) = (low.trim().parse().ok()?, high.trim().parse().ok()?);
        if low > high || high >= MOST {
            return None;
        }
        found.extend(low..=high);
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lists_of_the_kernel_are_read_and_nothing_else() {
        assert_eq!(numbers("0-3,8\n"), Some(vec![0, 1, 2, 3, 8]));
        assert_eq!(numbers("5"), Some(vec![5]));
        for odd in ["", "x", "1-", "3-1", "0,,1", "0-4294967295", "65536"] {
            assert_eq!(numbers(odd), None, "{odd}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_a_long_list(text in "[0-9,\\- x]{0,40}") {
            let most = (text.len() + 1) << 16;
            prop_assert!(numbers(&text).is_none_or(|found| found.len() <= most));
        }
    }
}
