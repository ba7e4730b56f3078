//! How long the page of a history takes to be drawn: `bench/run trend`. Prints milliseconds for histories of several lengths.

use std::time::Instant;

use bakeoff_analysis::report::trend::trend_html;
use bakeoff_analysis::series::judge;
use bakeoff_crds::history::RunRecord;
use bakeoff_crds::rng::SplitMix64;
use bakeoff_crds::spec::Series;
use serde_json::json;

/// Figures that are watched.
const METRICS: [&str; 4] = ["a", "b", "c", "d"];
/// Pages drawn of each length: the slowest and the fastest are printed.
const PAGES: u32 = 5;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("runs  kB of page  ms, fastest  ms, slowest");
    for runs in [60, 250, 1_000] {
        let (series, records) = history(runs)?;
        let Some(regression) = &series.regression else {
            return Err("the series watches nothing".into());
        };
        let mut bytes = 0;
        let mut millis = Vec::new();
        for _ in 0..PAGES {
            let begun = Instant::now();
            bytes = trend_html("lab/nightly", regression, &records).len();
            millis.push(begun.elapsed().as_secs_f64() * 1e3);
        }
        millis.sort_by(f64::total_cmp);
        let (fastest, slowest) = (millis.first(), millis.last());
        println!(
            "{runs:>4}  {:>10}  {:>11.1}  {:>11.1}",
            bytes / 1_000,
            fastest.unwrap_or(&0.0),
            slowest.unwrap_or(&0.0)
        );
    }
    Ok(())
}

/// Nights in which a setting changes every hundred nights, and costs a third every other time.
fn history(runs: i64) -> Result<(Series, Vec<RunRecord>), Box<dyn std::error::Error>> {
    let metrics = METRICS.map(
        |name| json!({"name": name, "expression": format!("x.{name}"), "better": "Lower", "minChangePercent": 10}),
    );
    let series: Series =
        serde_json::from_value(json!({"name": "nightly", "regression": {"metrics": metrics}}))?;
    let mut rng = SplitMix64::new(7);
    let mut records: Vec<RunRecord> = Vec::new();
    for number in 0..runs {
        let slow = if number / 100 % 2 == 1 { 1.4 } else { 1.0 };
        let value = |rng: &mut SplitMix64| 12_000.0 * slow * (1.0 + rng.below(60) as f64 / 1_000.0);
        let values: serde_json::Map<String, serde_json::Value> = METRICS
            .iter()
            .map(|name| (format!("x.{name}"), json!(value(&mut rng))))
            .collect();
        let mut record: RunRecord = serde_json::from_value(json!({
            "schemaVersion": "catalogue.bakeoff.dev/v1",
            "experiment": {"namespace": "lab", "uid": number.to_string(), "name": format!("nightly-{number:04}")},
            "series": "nightly",
            "startedAt": jiff::Timestamp::from_second(1_790_000_000 + number * 86_400)?,
            "end": "Completed", "class": "Relative", "design": "d", "results": "lab/x",
            "facts": {"autovacuum_naptime of postgres": if slow > 1.0 { "60s" } else { "1s" }},
            "regression": series.regression, "values": values,
        }))?;
        record.verdict = judge(&series, &records, &record);
        records.push(record);
    }
    Ok((series, records))
}
