//! What the methods showed: each way of one by its demands, and a method by its ways. (Pure.)

use std::fmt;

use bakeoff_crds::spec::{ExperimentSpec, RetentionCleanup, RetentionMethod};

use crate::decision::{DecisionInput, Role, Standing, Unit};

/// An input, and the blocks that would settle it where that can be said.
pub(super) struct Judged {
    pub(super) input: DecisionInput,
    pub(super) more: Option<i32>,
}

impl From<DecisionInput> for Judged {
    fn from(input: DecisionInput) -> Self {
        Self { input, more: None }
    }
}

/// How a bulk delete is done, which no factor tells; a drop is always done alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Way {
    /// Rows that one statement removes; 0: all of them.
    rows: i32,
    /// Whether a `VACUUM` follows.
    vacuum: bool,
}

impl Way {
    pub(super) fn of(spec: &ExperimentSpec, workload: &str, method: RetentionMethod) -> Self {
        let stated = spec.workloads.iter().find(|one| one.name == workload);
        match (stated.and_then(|one| one.retention.as_ref()), method) {
            (Some(retention), RetentionMethod::BulkDelete) => Self {
                rows: retention.delete_batch_rows,
                vacuum: retention.cleanup == RetentionCleanup::Vacuum,
            },
            _ => Self {
                rows: 0,
                vacuum: false,
            },
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.rows {
            0 => f.write_str("all at once")?,
            rows => write!(f, "{rows} rows at a time")?,
        }
        f.write_str(if self.vacuum { " with VACUUM" } else { "" })
    }
}

/// What one way of a method shows over all its cells.
#[derive(Default)]
pub(super) struct Shown {
    pub(super) inputs: Vec<Judged>,
}

impl Shown {
    pub(super) fn deciding(&self) -> impl Iterator<Item = &Judged> {
        self.inputs
            .iter()
            .filter(|judged| judged.input.role != Role::Context)
    }

    pub(super) fn first(&self, standing: Standing) -> Option<&Judged> {
        self.deciding()
            .find(|judged| judged.input.standing == standing)
    }

    pub(super) fn standing(&self) -> Standing {
        if self.first(Standing::NotMet).is_some() {
            Standing::NotMet
        } else if self.first(Standing::Open).is_some() {
            Standing::Open
        } else {
            Standing::Met
        }
    }
}

/// What a method shows: one way that keeps every demand is enough, and all have to break one before the method does.
pub(super) struct Method {
    pub(super) ways: Vec<Shown>,
}

impl Method {
    pub(super) fn standing(&self) -> Standing {
        if self.holding().is_some() {
            Standing::Met
        } else if self.ways.is_empty() || self.standing_at(Standing::Open).next().is_some() {
            Standing::Open
        } else {
            Standing::NotMet
        }
    }

    pub(super) fn standing_at(&self, standing: Standing) -> impl Iterator<Item = &Shown> {
        let ways = self.ways.iter();
        ways.filter(move |way| way.standing() == standing)
    }

    pub(super) fn holding(&self) -> Option<&Shown> {
        self.standing_at(Standing::Met).next()
    }

    /// What is not settled first.
    pub(super) fn open(&self) -> Option<&Judged> {
        let mut open = self.standing_at(Standing::Open);
        open.find_map(|way| way.first(Standing::Open))
    }

    /// Which demand each way breaks first, in words.
    pub(super) fn failures(&self) -> String {
        let ways = self.ways.iter();
        let each: Vec<String> = ways
            .filter_map(|way| way.first(Standing::NotMet).map(describe))
            .collect();
        each.join("; ")
    }

    pub(super) fn into_inputs(self) -> impl Iterator<Item = DecisionInput> {
        let judged = self.ways.into_iter().flat_map(|way| way.inputs);
        judged.map(|judged| judged.input)
    }
}

/// What a demand found, in words.
pub(super) fn describe(Judged { input, .. }: &Judged) -> String {
    let unit = match input.unit {
        Unit::Percent => " points",
        Unit::Milliseconds => " ms",
        Unit::Ratio => "x",
        _ => "",
    };
    let value = input.value.map_or_else(
        || "not measured".to_owned(),
        |value| match (input.low, input.high) {
            (Some(low), Some(high)) if input.role == Role::Primary => {
                format!("{value:.2}{unit} ({low:.2} to {high:.2})")
            }
            _ => format!("{value:.1}{unit}"),
        },
    );
    format!(
        "{} with {} is {value}, and the rule demands: {}",
        input.name, input.scope, input.demand
    )
}
