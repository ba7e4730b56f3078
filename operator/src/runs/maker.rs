//! Makes and ends the experiments of owners, and remembers what was said of that. (I/O.)

use super::{Answer, Answers, Run, RunAction, build};
use crate::act::{Acted, Writer};
use crate::action::Note;
use crate::caches::Caches;
use crate::errands::Seen;
use crate::error::Error;
use crate::owner::{self, Owner};
use crate::remembered::Remembered;
use crate::settings::Settings;
use crate::stored::Stored;
use bakeoff_crds::Experiment;
use bakeoff_crds::conditions::reasons;
use bakeoff_crds::experiment_schedule::ExperimentTemplate;
use bakeoff_crds::identity::{Identity, Namespace, Uid};
use bakeoff_rules::validate::{self, Known, Remains};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A run that was made and is not seen for so long is made again.
const UNSEEN: Duration = Duration::from_secs(30);
/// A template that would be refused is tried again after this time: the installation may take it by then.
pub const REFUSED_SECONDS: i64 = 60;
const REFUSED: Duration = Duration::from_secs(REFUSED_SECONDS.unsigned_abs());

/// Makes and ends the experiments of owners.
pub struct Maker {
    /// Writes.
    pub writer: Writer,
    settings: Settings,
    experiments: Store<Stored<Experiment>>,
    caches: Arc<Caches>,
    /// What was said of runs that were asked for, by name.
    answers: Remembered<BTreeMap<String, (Answer, Instant)>>,
    /// What was said of templates, by their hash.
    templates: Remembered<BTreeMap<String, (Option<String>, Instant)>>,
}

impl Maker {
    /// One that has made nothing yet.
    #[must_use]
    pub fn new(
        writer: Writer,
        settings: Settings,
        experiments: Store<Stored<Experiment>>,
        caches: Arc<Caches>,
    ) -> Self {
        Self {
            writer,
            settings,
            experiments,
            caches,
            answers: Remembered::default(),
            templates: Remembered::default(),
        }
    }

    /// The runs of an owner of the kind `K`.
    #[must_use]
    pub fn runs<K>(&self, id: &Identity) -> Vec<Run>
    where
        K: Resource<DynamicType = ()>,
    {
        let runs = self.experiments.state_filter(|experiment| {
            experiment.meta().namespace.as_deref() == Some(id.namespace.as_str())
                && owner::controller::<K>(experiment.meta())
                    .is_some_and(|(_, uid)| uid == id.uid.as_str())
        });
        runs.iter().map(|run| Run::of(run)).collect()
    }

    /// The installation.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What there is of the errands of an owner.
    #[must_use]
    pub fn errands<K: Owner>(&self, id: &Identity) -> Seen {
        let children = self.caches.children::<K>(id);
        Seen {
            made: self.writer.unseen(&id.uid, &children),
            refused: self.writer.refused(&id.uid),
            children,
        }
    }

    /// An experiment that somebody else has made.
    #[must_use]
    pub fn named(&self, namespace: &Namespace, name: &str) -> Option<Run> {
        let key = ObjectRef::new(name).within(namespace.as_str());
        self.experiments.get(&key).map(|stored| Run::of(&stored))
    }

    /// What was said of the runs of an owner that are not seen yet.
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

    /// Why a template would be refused, if it would: by the API server, or by what the installation offers.
    ///
    /// # Errors
    /// The API server did not answer.
    pub async fn refused<K>(
        &self,
        id: &Identity,
        template: &ExperimentTemplate,
    ) -> Result<Option<String>, Error>
    where
        K: Resource<DynamicType = ()>,
    {
        let hash = build::hash(template);
        let known = |all: &BTreeMap<String, (Option<String>, Instant)>| {
            let (refused, at) = all.get(&hash)?;
            (refused.is_none() || at.elapsed() < REFUSED).then(|| refused.clone())
        };
        let before = self.templates.lock().get(&id.uid).and_then(known);
        if let Some(refused) = before {
            return Ok(refused);
        }
        let trial = build::trial::<K>(id, template);
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
        let mut all = self.templates.lock();
        let own = all.entry(id.uid.clone()).or_default();
        own.retain(|_, (_, at)| at.elapsed() < REFUSED);
        own.insert(hash, (refused.clone(), Instant::now()));
        Ok(refused)
    }

    /// Does what a plan asks for; whether something is left for the next pass. What the API server refuses is said once, and
    /// remembered for the next plan.
    ///
    /// # Errors
    /// The API server did not answer, or another replica may lead; all of it may be done again.
    pub async fn act<K>(
        &self,
        owner: &K,
        id: &Identity,
        actions: Vec<RunAction>,
    ) -> Result<Acted, Error>
    where
        K: Owner + DeserializeOwned + Clone + Debug + Send + Sync,
    {
        let mut errands = Vec::new();
        for action in actions {
            let run = match action {
                RunAction::Create(run) => run,
                RunAction::Errand(action) => {
                    errands.push(action);
                    continue;
                }
                RunAction::Cancel { name, uid } => {
                    self.writer.cancel_run(id, &name, &uid).await?;
                    continue;
                }
                RunAction::Delete { name, uid } => {
                    self.writer.delete_run(id, &name, &uid).await?;
                    continue;
                }
            };
            let name = run.name_any();
            let answer = self.writer.create_run::<K>(id, &run).await?;
            let news = self.answered(&id.uid, name.clone(), answer.clone());
            if let (true, Answer::Refused(why)) = (news, answer) {
                let message = format!("{name} cannot be made and is tried again: {why}");
                let note = Note::new(true, reasons::RUN_REFUSED, &message);
                self.writer.tell(owner, &[note]).await;
            }
        }
        self.writer.act(owner, id, errands).await
    }

    /// Remembers what was said of a run; whether that is news.
    fn answered(&self, uid: &Uid, name: String, answer: Answer) -> bool {
        let mut all = self.answers.lock();
        let own = all.entry(uid.clone()).or_default();
        let before = own.insert(name, (answer.clone(), Instant::now()));
        before.is_none_or(|(before, _)| before != answer)
    }

    /// Forgets all owners but those that still need something.
    pub fn keep(&self, needed: impl Fn(&Uid) -> bool) {
        self.writer.keep(&needed);
        self.answers.keep(&needed);
        self.templates.keep(&needed);
    }
}
