//! The report as data: what stands on the page, in which order.

use bakeoff_crds::spec::ResultClass;
use bakeoff_crds::status::DecisionOutcome;

use super::datum::Datum;
use super::svg::Chart;

/// A report.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// `namespace/name`.
    pub name: String,
    /// When the run started.
    pub started_at: String,
    /// The class of every figure on the page; none where its sections have classes of their own.
    pub class: Option<ResultClass>,
    /// The question, which is the title.
    pub question: String,
    /// The answer; absent when the experiment asked for none.
    pub decision: Option<Verdict>,
    /// A few figures that say how large and how sound the run was.
    pub facts: Vec<(String, Datum)>,
    /// What the page says, in order.
    pub sections: Vec<Section>,
    /// The line at the bottom.
    pub footer: String,
}

/// The answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// Go, NoGo or Inconclusive.
    pub outcome: DecisionOutcome,
    /// The rule that gave it.
    pub rule: String,
    /// Why.
    pub reason: String,
    /// What it changes.
    pub consequence: String,
}

/// A part of the page under its own heading.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Section {
    /// The heading.
    pub heading: String,
    /// The class of its figures, where that is not the page's.
    pub class: Option<ResultClass>,
    /// Whether it begins a sheet of paper.
    pub begins_a_page: bool,
    /// A sentence that says how to read what follows.
    pub intro: Vec<String>,
    /// Charts, side by side.
    pub figures: Vec<Drawing>,
    /// The styles that the charts use: name and style.
    pub legend: Vec<(String, usize)>,
    /// Tables.
    pub tables: Vec<Table>,
    /// Whether paper sets the tables in two columns.
    pub dense: bool,
    /// Points.
    pub list: Vec<String>,
    /// Text that is shown as it is: title and text.
    pub code: Vec<(String, String)>,
}

/// A chart with a text for those who do not see it.
#[derive(Clone, Debug, PartialEq)]
pub struct Drawing {
    /// The chart.
    pub chart: Chart,
    /// What it shows, in words.
    pub text: String,
}

/// A table.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// What it holds.
    pub caption: String,
    /// The heads of the columns; a `true` makes numbers of a column.
    pub columns: Vec<(String, bool)>,
    /// The rows.
    pub rows: Vec<Vec<Datum>>,
    /// Whether the page shows it only on demand.
    pub folded: bool,
    /// Whether it carries measured figures, and so the class of the result.
    pub measured: bool,
    /// Whether its first column names files beside the page, which are links there.
    pub lists_files: bool,
}

impl Table {
    pub(super) fn new(caption: &str, columns: &[(&str, bool)]) -> Self {
        Self {
            caption: caption.to_owned(),
            columns: columns
                .iter()
                .map(|(name, number)| ((*name).to_owned(), *number))
                .collect(),
            rows: Vec::new(),
            folded: false,
            measured: true,
            lists_files: false,
        }
    }

    pub(super) fn folded(self) -> Self {
        Self {
            folded: true,
            ..self
        }
    }

    pub(super) fn listing_files(self) -> Self {
        Self {
            lists_files: true,
            ..self
        }
    }

    pub(super) fn described(self) -> Self {
        Self {
            measured: false,
            ..self
        }
    }
}

/// What a class of results may be used for.
#[must_use]
pub fn class_text(class: ResultClass) -> &'static str {
    match class {
        ResultClass::Relative => {
            "Relative: valid as comparison, shape and correctness on this equipment; not as absolute figures."
        }
        ResultClass::Absolute => "Absolute: valid as figures of the environment stated below.",
    }
}
