//! The page of a recording: what ran when, whatever it was about.

use super::datum::Datum;
use super::html;
use super::model::{Drawing, Report, Section, Table};
use super::svg::{Axis, Chart, Lines, Scale, Series};
use crate::format;

/// What was found in a recording.
#[derive(Clone, Debug, PartialEq)]
pub struct Recording {
    /// What it is called.
    pub name: String,
    /// When it began, where that is known.
    pub started_at: String,
    /// Figures: what each is, and the figure.
    pub figures: Vec<(String, String)>,
    /// Its length, seconds.
    pub seconds: f64,
    /// The time in pieces of the same length.
    pub pieces: Vec<Piece>,
}

/// A piece of the time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Piece {
    /// When it ends, seconds since the recording began.
    pub until: f64,
    /// Events per second in it.
    pub per_second: f64,
    /// Runs that are open at its end.
    pub open: f64,
}

/// Seconds of a unit in which a length of time is well read, and its name.
fn unit(seconds: f64) -> (f64, &'static str) {
    let units = [
        (2.0 * 86_400.0, 86_400.0, "days"),
        (2.0 * 3_600.0, 3_600.0, "hours"),
        (120.0, 60.0, "minutes"),
    ];
    let unit = units.into_iter().find(|(from, ..)| seconds >= *from);
    unit.map_or((1.0, "seconds"), |(_, unit, name)| (unit, name))
}

/// The page of a recording.
#[must_use]
pub fn recording_html(recording: &Recording) -> String {
    let (per, name) = unit(recording.seconds);
    let course = |title: &str, label: &str, value: fn(&Piece) -> f64| {
        let points: Vec<(f64, f64)> = recording
            .pieces
            .iter()
            .map(|piece| (piece.until / per, value(piece)))
            .collect();
        let most = points
            .iter()
            .copied()
            .reduce(|most, point| if point.1 > most.1 { point } else { most });
        let (at, most) = most.unwrap_or_default();
        Drawing {
            text: format!(
                "{title}: at most {} {label}, after {} {name}.",
                format::three(most),
                format::three(at)
            ),
            chart: Chart::Lines(Lines {
                title: title.to_owned(),
                x: Axis {
                    label: name.to_owned(),
                    scale: Scale::Linear,
                },
                y: Axis {
                    label: label.to_owned(),
                    scale: Scale::Linear,
                },
                series: vec![Series {
                    name: label.to_owned(),
                    style: 0,
                    points,
                }],
                markers: false,
                events: Vec::new(),
            }),
        }
    };
    let mut table = Table::new("In figures", &[("what", false), ("is", false)]);
    table.rows = recording
        .figures
        .iter()
        .map(|(what, is)| vec![Datum::from(what.clone()), is.clone().into()])
        .collect();
    let piece = recording.pieces.first().map_or(0.0, |piece| piece.until);
    let sections = vec![
        Section {
            heading: "The course".to_owned(),
            intro: vec![format!(
                "{} pieces of {} s each. A burst that is shorter than a piece is lower here than it was: see the busiest second.",
                recording.pieces.len(),
                format::three(piece)
            )],
            figures: vec![
                course("Events", "events per second", |piece| piece.per_second),
                course("Open runs", "open runs", |piece| piece.open),
            ],
            ..Section::default()
        },
        Section {
            heading: "What is in it".to_owned(),
            tables: vec![table.described()],
            ..Section::default()
        },
    ];
    html::render(&Report {
        name: recording.name.clone(),
        started_at: recording.started_at.clone(),
        class: None,
        question: format!("What is in {}?", recording.name),
        decision: None,
        facts: Vec::new(),
        sections,
        footer: format!("Bakeoff · recording {}", recording.name),
    })
}
