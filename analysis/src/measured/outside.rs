//! Restarts that are seen from outside alone. (Pure.)
//!
//! A server that shows when its process began has its trials voided while they run. Of one that shows nothing, Kubernetes knows
//! when its container began last, and how often it was restarted: the trials over which that happened are voided here.

use std::borrow::Cow;

use bakeoff_crds::result::{InvalidCode, InvalidReason, TrialRecord, Verdict};
use bakeoff_crds::run::{Ending, Manifest, ResolvedBackend};
use bakeoff_crds::spec::Ground;
use std::time::Duration;

/// By how much the clock of a node and that of a generator are taken to differ at most.
const CLOCKS: Duration = Duration::from_secs(2);

/// The record, void where its backend was restarted in it and nobody but Kubernetes saw that.
pub(super) fn judged<'a>(record: &'a TrialRecord, manifest: &Manifest) -> Cow<'a, TrialRecord> {
    // Of a server that is killed on purpose the restart is no news.
    if record.trial.kind.traits().kills_servers {
        return Cow::Borrowed(record);
    }
    let backends = manifest.plan.backends.iter();
    let unseen = |backend: &&ResolvedBackend| {
        let shows_nothing =
            !backend.shows_its_process() && backend.kind.ground() != Ground::Postgres;
        backend.provisioned && shows_nothing && backend.name == record.trial.backend
    };
    let found = backends
        .into_iter()
        .find(unseen)
        .and_then(|backend| restarted(record, manifest.ending.as_ref()?, &backend.name));
    match found {
        None => Cow::Borrowed(record),
        Some(reason) => {
            let mut voided = record.clone();
            voided.verdict = Verdict::Invalid(match voided.verdict {
                Verdict::Valid => vec![reason],
                Verdict::Invalid(reasons) => reasons.into_iter().chain([reason]).collect(),
            });
            Cow::Owned(voided)
        }
    }
}

fn restarted(record: &TrialRecord, ending: &Ending, backend: &str) -> Option<InvalidReason> {
    let began = *ending.backend_last_starts.get(backend)?;
    let restarts = ending.backend_restarts.get(backend).copied().unwrap_or(0);
    let before = record.started_at <= began + CLOCKS;
    let reaches = record.ended_at >= began - CLOCKS;
    let detail = match (before, reaches) {
        (true, true) => format!("its container began anew at {began}, by its node"),
        // When the earlier ones were is not known.
        (true, false) if restarts > 1 => format!(
            "its container was restarted {restarts} times, of which only the last start ({began}) is known"
        ),
        _ => return None,
    };
    Some(InvalidReason {
        code: InvalidCode::BackendRestarted,
        detail,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    /// Which trials of a backend that shows nothing count, after so many restarts of which the last was in the trial of this index.
    fn valid(restarts: i32, metrics: Option<&str>, at: usize) -> Vec<bool> {
        let spec = sample::spec(2);
        let mut manifest = sample::manifest(&spec);
        let backend = &mut manifest.plan.backends[1];
        backend.metrics_url = metrics.map(str::to_owned);
        let name = backend.name.clone();
        let mut records = sample::records(&spec, |_| sample::PLAIN);
        let start = records[0].started_at;
        // One after the other, a minute each.
        for (minute, record) in (0_u64..).zip(&mut records) {
            record.started_at = start + Duration::from_secs(60 * minute);
            record.ended_at = record.started_at + Duration::from_secs(30);
        }
        records.retain(|record| record.trial.backend == name);
        let ending = manifest.ending.as_mut().unwrap();
        ending.backend_restarts.insert(name.clone(), restarts);
        let last = records[at].started_at + Duration::from_secs(10);
        ending.backend_last_starts.insert(name, last);
        records
            .iter()
            .map(|record| judged(record, &manifest).verdict.is_valid())
            .collect()
    }

    #[test]
    fn a_restart_that_kubernetes_alone_saw_voids_its_trial() {
        let once = valid(1, None, 3);
        let void: Vec<usize> = (0..once.len()).filter(|&at| !once[at]).collect();
        assert_eq!(void, [3]);
    }

    #[test]
    fn of_several_the_earlier_ones_may_have_been_in_any_trial_before() {
        let twice = valid(2, None, 3);
        assert!(twice[..4].iter().all(|valid| !valid));
        assert!(twice[4..].iter().all(|valid| *valid));
    }

    #[test]
    fn a_server_that_shows_its_restarts_was_judged_while_it_ran() {
        assert!(
            valid(1, Some("http://it:9000/metrics"), 3)
                .iter()
                .all(|valid| *valid)
        );
    }
}
