//! What the runs of a schedule look like. (Pure.)

use crate::runs::build;
use bakeoff_crds::experiment_schedule::{ExperimentScheduleSpec, ExperimentTemplate, Trigger};
use bakeoff_crds::identity::Identity;
use bakeoff_crds::spec::Series;
use bakeoff_crds::{Experiment, ExperimentSchedule, names};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use kube::ResourceExt;

/// What begins a run, and when it was due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A tick.
    Tick(Timestamp),
    /// The template of this generation.
    Change(i64, Timestamp),
    /// The run of this name, which is to be confirmed for the so many-th time.
    Confirmation(String, i32, Timestamp),
}

impl Cause {
    fn trigger(&self) -> Trigger {
        match self {
            Self::Tick(_) => Trigger::Cron,
            Self::Change(..) => Trigger::Change,
            Self::Confirmation(..) => Trigger::Confirmation,
        }
    }

    fn due(&self) -> Timestamp {
        match self {
            Self::Tick(at) | Self::Change(_, at) | Self::Confirmation(.., at) => *at,
        }
    }

    /// The name of its run: the same whoever works it out, and whenever.
    #[must_use]
    pub fn name(&self, schedule: &str) -> String {
        match self {
            Self::Tick(at) => {
                let minute = at.to_zoned(TimeZone::UTC).strftime("%Y%m%d%H%M");
                format!("{schedule}-{minute}")
            }
            Self::Change(generation, _) => format!("{schedule}-g{generation}"),
            Self::Confirmation(run, number, _) => format!("{run}-c{number}"),
        }
    }
}

/// The run of a cause.
#[must_use]
pub fn run(id: &Identity, spec: &ExperimentScheduleSpec, looks: i32, cause: &Cause) -> Experiment {
    let template = &spec.template;
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
    let confirms = match cause {
        Cause::Confirmation(run, ..) => Some(run.clone()),
        Cause::Tick(_) | Cause::Change(..) => None,
    };
    run.spec.series = Some(series(id, spec, looks, confirms));
    run
}

/// The history that the runs belong to: by the name of the schedule, so that one that is made anew goes on with it.
fn series(
    id: &Identity,
    spec: &ExperimentScheduleSpec,
    looks: i32,
    confirms: Option<String>,
) -> Series {
    Series {
        name: id.name.clone(),
        confirms,
        looks_per_year: looks,
        regression: spec.regression.clone(),
    }
}

/// The template as its runs have it, to be tried.
#[must_use]
pub fn tried(id: &Identity, spec: &ExperimentScheduleSpec) -> ExperimentTemplate {
    let mut template = spec.template.clone();
    template.spec.series = Some(series(id, spec, 1, None));
    template
}
