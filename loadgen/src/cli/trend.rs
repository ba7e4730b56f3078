//! `loadgen trend`: the history of a series as a page or a table.

use std::path::PathBuf;

use bakeoff_analysis::report::trend;

use super::args::StoreArgs;
use super::commands::{open, unwritable};
use super::{Ended, Failed};
use crate::history;
use crate::store::layout;

/// Draws the records of a folder.
pub async fn trend(catalogue: &str, out: Option<PathBuf>, as_csv: bool, args: &StoreArgs) -> Ended {
    let usual = if as_csv { "trend.csv" } else { layout::TREND };
    let out = out.unwrap_or_else(|| PathBuf::from(usual));
    let store = open(catalogue, args)?;
    let records = history::read(&store).await?;
    // What is watched is what the newest run watched.
    let found = records
        .iter()
        .rev()
        .find_map(|record| Some((record.series.as_ref()?, record.regression.as_ref()?)));
    let Some((name, regression)) = found else {
        let folder = layout::catalogue("NAMESPACE", Some("SERIES"));
        let message = format!(
            "{catalogue} has no runs of a series whose figures are watched: name the folder of its records, s3://BUCKET/{folder}"
        );
        return Err(Failed::new("NoHistory", message, false));
    };
    let text = if as_csv {
        trend::csv(regression, &records)
    } else {
        trend::trend_html(name, regression, &records)
    };
    std::fs::write(&out, text).map_err(unwritable(&out))?;
    super::print(&format!(
        "{} runs of {name}: {}",
        records.len(),
        out.display()
    ));
    Ok((None, 0))
}
