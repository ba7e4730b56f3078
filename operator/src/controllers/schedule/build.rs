//! What the runs of a schedule look like. (Pure.)

use crate::runs::build;
use bakeoff_crds::experiment_schedule::{ExperimentTemplate, Trigger};
use bakeoff_crds::identity::Identity;
use bakeoff_crds::{Experiment, ExperimentSchedule, names};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use kube::ResourceExt;

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
    let mut run = build::run::<ExperimentSchedule>(id, template, &cause.name(&id.name));
    run.labels_mut()
        .insert(names::LABEL_SCHEDULE.to_owned(), id.name.clone());
    let annotations = run.annotations_mut();
    for (key, value) in [
        (names::ANNOTATION_SCHEDULED_FOR, cause.due().to_string()),
        (
            names::ANNOTATION_TRIGGER,
            cause.trigger().as_str().to_owned(),
        ),
        (names::ANNOTATION_TEMPLATE, build::hash(template)),
    ] {
        annotations.insert(key.to_owned(), value);
    }
    run
}
