//! Whether a generator can hold what it works with. (Pure.)

use super::WorkloadError;

/// What a generator needs besides: it takes some 20 MiB itself, and what a window measures comes on top.
pub(super) const BESIDES: u64 = 64 << 20;

/// Refuses so many runs of so many bytes each where the control group allows less, in bytes.
pub(super) fn fits(runs: u64, each: u64, limit: Option<i64>) -> Result<(), WorkloadError> {
    let what = format!("the {runs} open runs that it moves");
    within(
        runs.saturating_mul(each),
        limit,
        &what,
        "take fewer activeRuns",
    )
}

/// Refuses so many bytes of `what` where the control group allows less with all else; `mend` says what takes fewer. A
/// generator that the kernel ends in the midst of a trial would be started again, and ended again.
pub(super) fn within(
    bytes: u64,
    limit: Option<i64>,
    what: &str,
    mend: &str,
) -> Result<(), WorkloadError> {
    let needed = bytes.saturating_add(BESIDES);
    let allowed = limit.map_or(u64::MAX, i64::unsigned_abs);
    if needed <= allowed {
        return Ok(());
    }
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    Err(WorkloadError::Spec(format!(
        "a generator holds {what}, which takes {} MiB with all else, and has {} MiB: give \
         generators.resources.memory at least {}Mi, or {mend}",
        mib(needed),
        allowed >> 20,
        mib(needed)
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused_in_words() {
        let limit = |mib: i64| Some(mib << 20);
        // The largest population admitted, and what generators get by default.
        assert!(fits(20_000_000, 8, limit(512)).is_ok());
        assert!(fits(20_000_000, 8, None).is_ok());
        assert!(fits(1_000, 8, limit(65)).is_ok());
        let refused = fits(20_000_000, 8, limit(128)).unwrap_err();
        assert_eq!(refused.reason(), "SpecInvalid");
        assert_eq!(
            refused.to_string(),
            "a generator holds the 20000000 open runs that it moves, which takes 217 MiB with all else, and has 128 MiB: \
             give generators.resources.memory at least 217Mi, or take fewer activeRuns"
        );
    }
}
