//! Reads the summaries of a plan's experiments and writes the report of the plan: `summary.json`, `report.html` and `report.md`
//! below `plans/<namespace>/<name>/<uid>/`. All of it is a function of what is read, and may be written again.

use bakeoff_analysis::report::plan::{Found, plan_html, plan_markdown, summary};
use bakeoff_crds::experiment_plan::{PlanReport, StepStatus};
use bakeoff_crds::identity::Identity;
use bakeoff_crds::run::StoreTarget;

use crate::report::ReportError;
use crate::store::{Store, StoreError, layout};

/// Writes the report of a plan.
///
/// # Errors
/// When the results store cannot be reached. A summary that is not there, or cannot be read, is named on the page instead.
pub async fn write(plan: &PlanReport) -> Result<(), ReportError> {
    let mut found = Found::new();
    let statuses = plan.phases.iter().filter_map(|phase| phase.status.as_ref());
    for step in statuses.flat_map(|status| &status.experiments) {
        if let Some(result) = of(plan, step).await? {
            found.insert(step.experiment.clone(), result);
        }
    }
    let store = Store::open(&plan.results)?;
    store.ensure().await?;
    let text = serde_json::to_vec_pretty(&summary(plan, &found));
    let text = text.map_err(|source| ReportError::Json {
        file: layout::SUMMARY.to_owned(),
        source,
    })?;
    store.put(layout::SUMMARY, text).await?;
    let markdown = plan_markdown(plan, &found);
    store
        .put(layout::REPORT_MARKDOWN, markdown.into_bytes())
        .await?;
    // The page that people look for comes last: where it is, the rest is.
    let page = plan_html(plan, &found);
    store.put(layout::REPORT_HTML, page.into_bytes()).await?;
    Ok(())
}

/// The summary of an experiment; nothing where it has none by its own account.
async fn of(
    plan: &PlanReport,
    step: &StepStatus,
) -> Result<Option<Result<Box<bakeoff_analysis::summary::Summary>, String>>, StoreError> {
    let (Some(report), Some(uid)) = (&step.report, &step.uid) else {
        return Ok(None);
    };
    let experiment = Identity {
        namespace: plan.plan.namespace.clone(),
        name: step.experiment.clone(),
        uid: uid.as_str().into(),
    };
    let target = StoreTarget {
        prefix: experiment.prefix(),
        ..plan.results.clone()
    };
    if *report != format!("{}/{}", target.url(), layout::REPORT_HTML) {
        let elsewhere =
            "they are in another results store than those of the plan's first experiment";
        return Ok(Some(Err(elsewhere.to_owned())));
    }
    let Some(bytes) = Store::open(&target)?.get(layout::SUMMARY).await? else {
        return Ok(Some(Err(format!("{} is gone", layout::SUMMARY))));
    };
    let summary = serde_json::from_slice(&bytes);
    let unreadable = |error| format!("{} cannot be read: {error}", layout::SUMMARY);
    Ok(Some(summary.map(Box::new).map_err(unreadable)))
}
