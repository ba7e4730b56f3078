//! What a reconcile of a schedule holds on to. (I/O handles; the decisions are elsewhere.)

use super::{Watched, build};
use crate::act::Writer;
use crate::controllers::experiment;
use crate::error::Error;
use crate::metrics::Metrics;
use crate::owner;
use crate::remembered::Remembered;
use crate::runs::{Answer, Answers, Run};
use crate::settings::Settings;
use crate::troubles::Troubles;
use bakeoff_crds::ExperimentSchedule;
use bakeoff_crds::experiment_schedule::ExperimentTemplate;
use bakeoff_crds::identity::{Identity, Uid};
use bakeoff_rules::validate::{self, Known, Remains};
use kube::runtime::reflector::Store;
use kube::{Resource, ResourceExt};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A run that was made and is not seen for so long is made again.
const UNSEEN: Duration = Duration::from_secs(30);
/// A template that would be refused is tried again after this time: the installation may take it by then.
const REFUSED: Duration = Duration::from_secs(60);

/// What a reconcile holds on to.
pub struct Context {
    /// Writes.
    pub writer: Writer,
    /// The configuration of the installation.
    pub settings: Settings,
    /// All experiments, runs of schedules among them.
    pub experiments: Store<experiment::Watched>,
    /// All schedules.
    pub schedules: Store<Watched>,
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// What the API server said of runs that it was asked to make.
    pub answers: Remembered<BTreeMap<String, (Answer, Instant)>>,
    /// What it said of templates.
    pub templates: Remembered<Checked>,
    /// Who is in trouble for how long.
    pub troubles: Troubles,
}

/// A template that was asked about.
pub struct Checked {
    hash: String,
    refused: Option<String>,
    at: Instant,
}

impl Context {
    /// The runs of a schedule.
    #[must_use]
    pub fn runs(&self, id: &Identity) -> Vec<Run> {
        let runs = self.experiments.state_filter(|experiment| {
            experiment.meta().namespace.as_deref() == Some(id.namespace.as_str())
                && owner::controller::<ExperimentSchedule>(experiment.meta())
                    .is_some_and(|(_, uid)| uid == id.uid.as_str())
        });
        runs.iter().map(|run| Run::of(run)).collect()
    }

    /// What was said of the runs of a schedule that are not seen yet.
    #[must_use]
    pub fn answers(&self, id: &Identity, seen: &[Run]) -> Answers {
        let seen: BTreeSet<&str> = seen.iter().map(|run| run.name.as_str()).collect();
        let mut all = self.answers.lock();
        let Some(own) = all.get_mut(&id.uid) else {
            return Answers::new();
        };
        own.retain(|name, (_, since)| !seen.contains(name.as_str()) && since.elapsed() < UNSEEN);
        let own = own.iter();
        own.map(|(name, (answer, _))| (name.clone(), answer.clone()))
            .collect()
    }

    /// Remembers what was said of a run; whether that is news.
    pub fn answered(&self, uid: &Uid, name: String, answer: Answer) -> bool {
        let mut all = self.answers.lock();
        let own = all.entry(uid.clone()).or_default();
        let before = own.insert(name, (answer.clone(), Instant::now()));
        before.is_none_or(|(before, _)| before != answer)
    }

    /// Why a template would be refused, if it would: by the API server, or by what the installation offers.
    ///
    /// # Errors
    /// The API server did not answer.
    pub async fn refused(
        &self,
        id: &Identity,
        template: &ExperimentTemplate,
    ) -> Result<Option<String>, Error> {
        let hash = build::hash(template);
        if let Some(checked) = self.templates.lock().get(&id.uid)
            && checked.hash == hash
            && (checked.refused.is_none() || checked.at.elapsed() < REFUSED)
        {
            return Ok(checked.refused.clone());
        }
        let trial = build::trial(id, template);
        let refused = match self.writer.would_take(id, &trial).await? {
            Err(why) => Some(why),
            Ok(()) => {
                let remains = Remains {
                    id: id.clone(),
                    spec: trial.spec,
                };
                match validate::check(remains, self.settings.offer()) {
                    Known::Valid(_) => None,
                    Known::Refused(_, refusal) => Some(refusal.to_string()),
                }
            }
        };
        let checked = Checked {
            hash,
            refused: refused.clone(),
            at: Instant::now(),
        };
        self.templates.lock().insert(id.uid.clone(), checked);
        Ok(refused)
    }

    /// Forgets the schedules that exist no longer.
    pub fn forget_deleted(&self) {
        let schedules = self.schedules.state();
        let left: BTreeSet<Uid> = schedules
            .iter()
            .filter_map(|stored| stored.uid().map(Uid::from))
            .collect();
        let needed = |uid: &Uid| left.contains(uid);
        self.writer.keep(needed);
        self.answers.keep(needed);
        self.templates.keep(needed);
        self.troubles.keep(needed);
    }
}
