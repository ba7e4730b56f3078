//! What a search by holds found: a table of the levels, one of the holds, and the frontier over the active set.

use bakeoff_crds::figure::Figure as Name;
use bakeoff_crds::schedule::factor;
use bakeoff_crds::spec::{ExperimentSpec, Sustain};

use super::charts;
use super::datum::Datum;
use super::model::{Drawing, Section, Table};
use super::svg::{Axis, Chart, Lines, Scale, Series};
use crate::format::{three, whole};
use crate::measured::{CellBackend, WorkloadSummary};
use crate::summary::Summary;
use crate::sustain::{Frontier, Held, frontier, holds};

/// The styles of the chart.
const LEGEND: [(&str, usize); 3] = [
    ("from the highest rate held to the lowest not held", 0),
    ("target", 1),
    ("target with its headroom", 2),
];

/// A level of the active set, on one backend.
struct Level<'a> {
    active: i64,
    place: String,
    on: &'a CellBackend,
    holds: Vec<Held>,
    frontier: Frontier,
}

/// The section; nothing where no such search was made.
pub(super) fn section(summary: &Summary, spec: &ExperimentSpec) -> Section {
    let mut section = Section::default();
    for (w, workload) in summary.measured.workloads.iter().enumerate() {
        let stated = spec.workloads.iter().find(|one| one.name == workload.name);
        let Some(sustain) = stated.and_then(|one| one.sustain.as_ref()) else {
            continue;
        };
        let levels = levels(w, workload, sustain);
        if levels.iter().all(|level| level.holds.is_empty()) {
            continue;
        }
        section.heading = "What one primary holds".to_owned();
        section.intro = vec![
            "Each hold is a window on a fresh table, at a rate that follows from the holds before it. The frontier lies between the highest rate that was held each time and the lowest that was not held once; rates between them were held at times. A hold that the generator or the set-up spoiled counts for neither.".to_owned(),
        ];
        section.legend = LEGEND
            .map(|(name, style)| (name.to_owned(), style))
            .to_vec();
        section
            .figures
            .push(drawn(summary, workload, &levels, sustain));
        section.tables.push(ends(workload, &levels));
        section.tables.push(each(workload, &levels).folded());
    }
    section
}

fn levels<'a>(w: usize, workload: &'a WorkloadSummary, spec: &Sustain) -> Vec<Level<'a>> {
    let mut levels = Vec::new();
    for (c, cell) in workload.cells.iter().enumerate() {
        for (b, on) in cell.backends.iter().enumerate() {
            let active = cell.levels.get(factor::ACTIVE_RUNS);
            let holds = holds(on, spec);
            let seen: Vec<_> = holds.iter().map(Held::observation).collect();
            levels.push(Level {
                active: active.and_then(|level| level.parse().ok()).unwrap_or(0),
                place: format!("/workloads/{w}/cells/{c}/backends/{b}/figures"),
                on,
                frontier: frontier(&seen),
                holds,
            });
        }
    }
    levels
}

impl Level<'_> {
    /// A figure of a hold, with its place.
    fn figure(&self, name: Name, block: i32, text: fn(f64) -> String) -> Datum {
        let points = self.on.figures.get(&name).map(|figure| &figure.blocks);
        let found = points.and_then(|points| {
            let index = points.iter().position(|point| point.block == block)?;
            Some((index, points.get(index)?.value))
        });
        found.map_or_else(Datum::none, |(index, value)| {
            Datum::figure(
                text(value),
                format!("{}/{name}/blocks/{index}/value", self.place),
            )
        })
    }

    /// An end of the interval, as one of its holds states it.
    fn end(&self, rate: Option<u32>) -> Datum {
        let of = |rate| self.holds.iter().find(|hold| hold.rate == rate);
        match rate.and_then(of) {
            Some(hold) => self.figure(Name::OfferedPerSecond, hold.block, three),
            None => Datum::none(),
        }
    }
}

fn why(hold: &Held) -> String {
    let words: Vec<&str> = hold.why.iter().map(|why| why.words()).collect();
    words.join(", ")
}

fn ends(workload: &WorkloadSummary, levels: &[Level<'_>]) -> Table {
    let mut table = Table::new(
        &format!("{}: the frontier by active runs", workload.name),
        &[
            ("Active runs", true),
            ("Highest rate held", true),
            ("Times", true),
            ("Lowest rate not held", true),
            ("Times", true),
            ("Why not", false),
            ("Held at times", false),
            ("Holds", true),
            ("Saw too little", true),
        ],
    );
    for level in levels {
        let found = &level.frontier;
        let at = |hold: &&Held| Some(hold.rate) == found.not_held;
        let short = level.holds.iter().filter(|hold| !hold.unseen.is_empty());
        let mixed: Vec<String> = found
            .mixed
            .iter()
            .map(|rate| three(f64::from(*rate)))
            .collect();
        table.rows.push(vec![
            whole(level.active).into(),
            level.end(found.held),
            found.held_times.to_string().into(),
            level.end(found.not_held),
            found.not_held_times.to_string().into(),
            level
                .holds
                .iter()
                .rev()
                .find(at)
                .map_or_else(Datum::none, |hold| why(hold).into()),
            if mixed.is_empty() {
                Datum::none()
            } else {
                mixed.join(", ").into()
            },
            level.holds.len().to_string().into(),
            short.count().to_string().into(),
        ]);
    }
    table
}

fn each(workload: &WorkloadSummary, levels: &[Level<'_>]) -> Table {
    let mut table = Table::new(
        &format!(
            "{}: each hold; percent of what was planned, in its worst fifth, of the active runs and of the sizes",
            workload.name
        ),
        &[
            ("Active runs", true),
            ("Hold", true),
            ("Operations a second", true),
            ("Came to", false),
            ("Served", true),
            ("Within the objective", true),
            ("p99, ms", true),
            ("Rise of dead rows", true),
            ("Table growth", true),
            ("Index growth", true),
            ("Not seen", false),
        ],
    );
    for level in levels {
        for hold in &level.holds {
            let percent = |name| level.figure(name, hold.block, |value| format!("{value:.2}"));
            table.rows.push(vec![
                whole(level.active).into(),
                (hold.block + 1).to_string().into(),
                level.figure(Name::OfferedPerSecond, hold.block, three),
                if hold.held() {
                    "held".into()
                } else {
                    why(hold).into()
                },
                percent(Name::ServedPercent),
                percent(Name::FifthWithinPercent),
                percent(Name::FifthP99Milliseconds),
                percent(Name::DeadRisePercent),
                percent(Name::LateTableGrowthPercent),
                percent(Name::LateIndexGrowthPercent),
                hold.unseen.join("; ").into(),
            ]);
        }
    }
    table
}

/// The interval of each level as a bar, and what is to be carried as a line across.
fn drawn(
    summary: &Summary,
    workload: &WorkloadSummary,
    levels: &[Level<'_>],
    spec: &Sustain,
) -> Drawing {
    let line = |style: usize, points: Vec<(f64, f64)>| Series {
        name: LEGEND.get(style).map_or("", |(name, _)| name).to_owned(),
        style,
        points,
    };
    let mut series = Vec::new();
    let mut words = Vec::new();
    for level in levels {
        let ends = [level.frontier.held, level.frontier.not_held];
        let points: Vec<(f64, f64)> = ends
            .into_iter()
            .flatten()
            .map(|rate| (level.active as f64, f64::from(rate)))
            .collect();
        let text = |rate: Option<u32>| {
            rate.map_or_else(|| "no rate".to_owned(), |rate| three(f64::from(rate)))
        };
        words.push(format!(
            "{} active runs: held {}, did not hold {}",
            whole(level.active),
            text(level.frontier.held),
            text(level.frontier.not_held)
        ));
        if !points.is_empty() {
            series.push(line(0, points));
        }
    }
    if let Some(target) = &spec.target {
        let rate = target.rate(spec.operations_per_run());
        let whole = rate * (1.0 + f64::from(target.headroom_percent) / 100.0);
        words.push(format!(
            "target {}, with headroom {}",
            three(rate),
            three(whole)
        ));
        for (style, rate) in [(1, rate), (2, whole)] {
            let mut across: Vec<i64> = levels.iter().map(|level| level.active).collect();
            across.sort_unstable();
            across.dedup();
            let points = across.iter().map(|active| (*active as f64, rate)).collect();
            series.push(line(style, points));
        }
    }
    let axis = |label: &str| Axis {
        label: label.to_owned(),
        scale: Scale::Log,
    };
    Drawing {
        text: format!(
            "{} {}: {}.",
            charts::class(summary),
            workload.name,
            words.join("; ")
        ),
        chart: Chart::Lines(Lines {
            title: format!("What one primary holds, {}", workload.name),
            x: axis("active runs"),
            y: axis("operations a second"),
            series,
            markers: true,
            events: Vec::new(),
        }),
    }
}
