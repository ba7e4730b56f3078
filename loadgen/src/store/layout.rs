//! The names of all files in the results store.
//!
//! Below the folder of the run: `manifest.json`, and for each attempt
//! `trials/<trial>/<attempt>/` with `started.json` (written before), `intervals.hlog`,
//! `history.jsonl.gz`, `samples.jsonl` and `autovacuums.jsonl` where the workload keeps them, with several generators `part-<index>.json` beside them (and
//! of a race the `history-<index>.jsonl.gz` of each by its own clock, while `history.jsonl.gz` is what was checked), and `trial.json`,
//! written last: an attempt without it was interrupted and counts for nothing, on demand where it has `stopped.json`.
//! `traces/` in the same bucket has traces that are replayed, and `catalogue/v1/<namespace>/<series>/` has one small record of each run that has ended.
//! Of each S3 backend `conformance/<backend>.json` says what of S3 it keeps. Loads in shares of capacity have `capacity/` beside them, see the module of that name.

use bakeoff_crds::capacity;
use bakeoff_crds::history::RunRecord;
use bakeoff_crds::schedule::Trial;

/// What ran, where, on what.
pub const MANIFEST: &str = "manifest.json";
/// A manifest that could not be read, as it was found.
pub const DAMAGED_MANIFEST: &str = "manifest.damaged.json";
/// Every figure of the report.
pub const SUMMARY: &str = "summary.json";
/// The report as a page.
pub const REPORT_HTML: &str = "report.html";
/// The report as text.
pub const REPORT_MARKDOWN: &str = "report.md";
/// Every other file with its checksum; written last.
pub const INDEX: &str = "index.json";

/// The history that the run belongs to, as a page.
pub const TREND: &str = "trend.html";
/// What the run says of the runs before it, where its report was held against them.
pub const REGRESSION: &str = "regression.json";
/// Where the records of all runs are, beside the folders of the runs themselves.
pub const CATALOGUE: &str = "catalogue/v1";
/// What stands in the place of a series where a run belongs to none.
const NO_SERIES: &str = "_";

/// The folder of the records of a series, in the bucket.
#[must_use]
pub fn catalogue(namespace: &str, series: Option<&str>) -> String {
    format!("{CATALOGUE}/{namespace}/{}", series.unwrap_or(NO_SERIES))
}

/// The record of a run in its folder: in the order of the names runs have started.
#[must_use]
pub fn run_record(record: &RunRecord) -> String {
    let start = record.started_at.strftime("%Y%m%dT%H%M%S%.3fZ");
    format!("{start}-{}.json", record.experiment.uid)
}

/// The folder of a trace, beside those of the runs; its path may be given with or without the folder that all are in.
#[must_use]
pub fn trace(path: &str) -> String {
    format!("traces/{}", path.strip_prefix("traces/").unwrap_or(path))
}

/// Where the attempts are.
pub const TRIALS: &str = "trials/";
/// That an attempt was begun.
pub const STARTED: &str = "started.json";
/// What an attempt has that was cut off because the process was told to stop.
pub const STOPPED: &str = "stopped.json";
/// The record of an attempt, written last.
pub const TRIAL: &str = "trial.json";
/// Latencies by kind and second, of each generator.
pub const INTERVALS: &str = "intervals.hlog";
/// A history of answers.
pub const HISTORY: &str = "history.jsonl.gz";
/// What a server said of itself each second.
pub const SAMPLES: &str = "samples.jsonl";
/// The runs of autovacuum that the server's log tells of.
pub const AUTOVACUUMS: &str = "autovacuums.jsonl";

/// Where searches of capacity are.
pub const CAPACITY: &str = "capacity/";
/// Where their steps are.
pub const CAPACITY_STEPS: &str = "capacity/steps/";
/// What a step showed.
pub const STEP: &str = "step.json";

/// Where it stands what of S3 each backend keeps.
pub const CONFORMANCE: &str = "conformance/";
/// The folders of what was measured: a report is made of nothing else.
pub const RAW: [&str; 3] = [TRIALS, CAPACITY, CONFORMANCE];

/// What of S3 a backend keeps.
#[must_use]
pub fn conformance(backend: &str) -> String {
    format!("{CONFORMANCE}{backend}.json")
}

/// The part of another generator.
#[must_use]
pub fn part(index: usize) -> String {
    of_generator("part.json", index)
}

/// The file of one generator among those of several: `-<index>` stands before the first dot.
#[must_use]
pub fn of_generator(file: &str, index: usize) -> String {
    match file.split_once('.') {
        Some((name, end)) => format!("{name}-{index}.{end}"),
        None => format!("{file}-{index}"),
    }
}

/// What a search found.
#[must_use]
pub fn search(search: &Trial) -> String {
    format!("{CAPACITY}{}.json", capacity::name(search))
}

/// The folder of the steps of a search.
#[must_use]
pub fn steps(search: &Trial) -> String {
    format!("{CAPACITY_STEPS}{}/", capacity::name(search))
}

/// The folder of a step of a search, relative to the run.
#[must_use]
pub fn step_folder(search: &Trial, number: i32) -> String {
    format!("{}{number}/", steps(search))
}

/// The folder of an attempt, relative to the run.
#[must_use]
pub fn attempt_folder(trial: &Trial, attempt: i32) -> String {
    format!("{TRIALS}{}/{attempt}/", trial.id)
}

/// Trial, attempt and file of a name in the store.
#[must_use]
pub fn attempt_file(name: &str) -> Option<(&str, i32, &str)> {
    let mut parts = name.strip_prefix(TRIALS)?.splitn(3, '/');
    Some((parts.next()?, parts.next()?.parse().ok()?, parts.next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generator_among_several_has_its_number_before_the_dot() {
        assert_eq!(of_generator(HISTORY, 2), "history-2.jsonl.gz");
        assert_eq!(of_generator(INTERVALS, 0), "intervals-0.hlog");
        assert_eq!(part(3), "part-3.json");
    }

    #[test]
    fn names_in_the_store_are_read_back() {
        assert_eq!(
            attempt_file("trials/b00-put-c03-a/2/trial.json"),
            Some(("b00-put-c03-a", 2, "trial.json"))
        );
        assert_eq!(attempt_file("manifest.json"), None);
        assert_eq!(attempt_file("trials/x/y/trial.json"), None);
    }
}
