//! What charts draw and say of cells in which operations have no answer.

use super::*;
use crate::measured::RunData;
use crate::sample;
use crate::summary::summarise;

/// A run in which every PUT of 4Ki from 8 clients failed on SeaweedFS, and one of twenty-one from 32 clients on MinIO.
fn failing() -> Summary {
    let (manifest, mut records) = sample::phase1_c();
    for record in &mut records {
        let level = |factor: &str| record.trial.cell.get(factor).map(String::as_str);
        if level("objectSize") != Some("4Ki") {
            continue;
        }
        let load = &mut record.load;
        match (level("concurrency"), record.trial.backend.as_str()) {
            (Some("8"), "seaweedfs") => {
                load.failed = load.planned;
                load.completed = 0;
                let none = Default::default();
                record.operations.insert("put".to_owned(), none);
            }
            (Some("32"), "minio") => {
                load.failed = load.completed / 20;
                load.planned += load.failed;
            }
            _ => {}
        }
    }
    summarise(&RunData::new(&manifest, &records)).unwrap()
}

fn titled<'a>(figures: &'a [Drawing], title: &str) -> &'a Drawing {
    let found = figures.iter().find(|figure| figure.chart.title() == title);
    found.unwrap_or_else(|| panic!("{title}"))
}

fn points(figure: &Drawing, backend: &str) -> usize {
    let Chart::Lines(drawn) = &figure.chart else {
        panic!("{}", figure.chart.title());
    };
    let series = drawn.series.iter().find(|series| series.name == backend);
    series.map_or(0, |series| series.points.len())
}

#[test]
fn a_cell_without_an_answer_is_no_point() {
    let summary = failing();
    let figures = scaling(&summary);
    let size = titled(&figures, "PUT p99 by throughput, 4Ki");
    assert_eq!((points(size, "minio"), points(size, "seaweedfs")), (3, 2));
    let said = "seaweedfs at concurrency=8 no answer;";
    assert!(size.text.contains(said), "{}", size.text);
    let drawn = spectra(&summary);
    let spectrum = titled(&drawn, "PUT spectrum, put 4Ki · 8");
    assert_eq!(points(spectrum, "seaweedfs"), 0);
    let said = "; seaweedfs no answer.";
    assert!(spectrum.text.contains(said), "{}", spectrum.text);
    for figure in figures.iter().chain(&drawn) {
        assert!(!figure.text.contains(" 0 µs"), "{}", figure.text);
    }
}

#[test]
fn cells_of_several_loads_are_no_one_line() {
    let mut spec = sample::head_spec();
    let head = spec.workloads[0].head_row.as_mut().unwrap();
    head.load =
        serde_json::from_value(serde_json::json!({"closed": {"concurrency": [1, 32]}})).unwrap();
    let manifest = sample::manifest(&spec);
    let records = sample::records(&spec, |_| sample::PLAIN);
    let figures = scaling(&summarise(&RunData::new(&manifest, &records)).unwrap());
    assert_eq!(figures.len(), 4, "two sizes, two loads");
    for figure in &figures {
        let Chart::Lines(drawn) = &figure.chart else {
            panic!("{}", figure.chart.title());
        };
        assert!(
            figure.chart.title().contains(" · concurrency="),
            "{}",
            figure.chart.title()
        );
        for series in &drawn.series {
            let mut across: Vec<f64> = series.points.iter().map(|point| point.0).collect();
            across.dedup();
            assert_eq!(across.len(), 2, "{:?}", series.points);
        }
    }
}

#[test]
fn a_percentile_that_is_only_a_bound_is_said_to_be_one() {
    let summary = failing();
    let figures = scaling(&summary);
    let size = titled(&figures, "PUT p99 by throughput, 4Ki");
    let said = "minio at concurrency=32 ≥ ";
    assert!(size.text.contains(said), "{}", size.text);
    assert_eq!(size.text.matches('≥').count(), 1, "{}", size.text);
    let other = titled(&figures, "PUT p99 by throughput, 1Ki");
    assert!(!other.text.contains('≥'), "{}", other.text);

    // MinIO is the denominator, so the ratio of that cell is an upper bound. It is alone on its chart here.
    let mut one = summary.clone();
    let cells = &mut one.measured.workloads[0].cells;
    cells.retain(|cell| cell.label == "concurrency=32 objectSize=4Ki");
    let figures = forests(&one);
    let forest = titled(&figures, "PUT p99, seaweedfs / minio");
    let said = "from ≤ 0.";
    assert!(forest.text.contains(said), "{}", forest.text);
}
