//! What the runs of a schedule look like. (Pure.)

use crate::owner;
use bakeoff_crds::experiment_schedule::{ExperimentTemplate, Trigger};
use bakeoff_crds::identity::Identity;
use bakeoff_crds::{Experiment, ExperimentSchedule, names};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use kube::core::ObjectMeta;
use sha2::{Digest, Sha256};
use std::fmt::Write;

/// How many digits of a hash are kept: enough to tell two templates of one schedule apart.
const DIGITS: usize = 16;

/// What begins a run, and when it was due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A tick.
    Tick(Timestamp),
    /// The template of this generation.
    Change(i64, Timestamp),
}

impl Cause {
    fn trigger(self) -> Trigger {
        match self {
            Self::Tick(_) => Trigger::Cron,
            Self::Change(..) => Trigger::Change,
        }
    }

    fn due(self) -> Timestamp {
        match self {
            Self::Tick(at) | Self::Change(_, at) => at,
        }
    }

    /// The name of its run: the same whoever works it out, and whenever.
    #[must_use]
    pub fn name(self, schedule: &str) -> String {
        match self {
            Self::Tick(at) => {
                let minute = at.to_zoned(TimeZone::UTC).strftime("%Y%m%d%H%M");
                format!("{schedule}-{minute}")
            }
            Self::Change(generation, _) => format!("{schedule}-g{generation}"),
        }
    }
}

/// The run of a cause.
#[must_use]
pub fn run(id: &Identity, template: &ExperimentTemplate, cause: Cause) -> Experiment {
    let marks = template.metadata.clone().unwrap_or_default();
    let (mut labels, mut annotations) = (marks.labels, marks.annotations);
    labels.insert(names::LABEL_SCHEDULE.to_owned(), id.name.clone());
    for (key, value) in [
        (names::ANNOTATION_SCHEDULED_FOR, cause.due().to_string()),
        (
            names::ANNOTATION_TRIGGER,
            cause.trigger().as_str().to_owned(),
        ),
        (names::ANNOTATION_TEMPLATE, hash(template)),
    ] {
        annotations.insert(key.to_owned(), value);
    }
    Experiment {
        metadata: ObjectMeta {
            name: Some(cause.name(&id.name)),
            namespace: Some(id.namespace.to_string()),
            labels: Some(labels),
            annotations: Some(annotations),
            owner_references: Some(vec![owner::reference::<ExperimentSchedule>(id)]),
            ..Default::default()
        },
        spec: template.spec.clone(),
        status: None,
    }
}

/// What is asked of the API server to learn whether it would take the template.
#[must_use]
pub fn trial(id: &Identity, template: &ExperimentTemplate) -> Experiment {
    let mut run = run(id, template, Cause::Change(0, Timestamp::UNIX_EPOCH));
    run.metadata.name = None;
    run.metadata.generate_name = Some(format!("{}-", id.name));
    run
}

/// A hash of the template: whether it has changed.
#[must_use]
pub fn hash(template: &ExperimentTemplate) -> String {
    // A template has no maps with keys that are no text, and nothing else can fail.
    let text = serde_json::to_vec(template).unwrap_or_default();
    let mut hex = String::with_capacity(DIGITS);
    for byte in Sha256::digest(text).iter().take(DIGITS / 2) {
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}
