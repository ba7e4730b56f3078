//! Schedules: what begins a run, what is kept of it, what is refused, and that nothing stays when one is deleted.

use crate::admission::dry_run;
use anyhow::{Context as _, ensure};
use bakeoff_crds::conditions::{self, ACCEPTED, LAST_RUN_SUCCEEDED};
use bakeoff_crds::experiment_schedule::Trigger;
use bakeoff_crds::history::RegressionState;
use bakeoff_crds::names::LABEL_SCHEDULE;
use bakeoff_crds::{ExperimentSchedule, ExperimentScheduleStatus};
use bakeoff_e2e::{Fixture, Lab, Needs, SYSTEM, kubectl, scenario};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use serde_json::{Value, json};

fn schedules(lab: &Lab) -> Api<ExperimentSchedule> {
    Api::namespaced(lab.client.clone(), &lab.namespace)
}

async fn patch(lab: &Lab, name: &str, spec: Value) -> anyhow::Result<()> {
    let patch = Patch::Merge(json!({"spec": spec}));
    let parameters = PatchParams::default();
    schedules(lab).patch(name, &parameters, &patch).await?;
    Ok(())
}

async fn reaches(
    lab: &Lab,
    name: &str,
    what: &str,
    seconds: u64,
    wanted: impl Fn(&ExperimentScheduleStatus) -> bool,
) -> anyhow::Result<ExperimentScheduleStatus> {
    lab.becomes::<ExperimentSchedule>(name, what, seconds, wanted)
        .await
}

fn reason<'a>(status: &'a ExperimentScheduleStatus, type_: &str) -> &'a str {
    conditions::get(&status.conditions, type_).map_or("", |condition| &condition.reason)
}

async fn runs(lab: &Lab, of: &str) -> anyhow::Result<Vec<String>> {
    let labels = ListParams::default().labels(&format!("{LABEL_SCHEDULE}={of}"));
    let runs = lab.experiments().list(&labels).await?;
    Ok(runs.iter().map(ResourceExt::name_any).collect())
}

#[tokio::test]
async fn a_schedule_runs_when_its_template_changes_and_by_the_clock() -> anyhow::Result<()> {
    scenario("schedule", Needs::Nodes(1), async |lab: &Lab| {
        lab.apply(Fixture::schedule("soak").manifest()).await?;
        let status = reaches(lab, "soak", "run once", 240, |status| {
            status.counts.succeeded == 1
        })
        .await?;
        ensure!(
            status.runs[0].name == "soak-g1" && status.runs[0].trigger == Trigger::Change,
            "{status:?}"
        );
        ensure!(
            reason(&status, LAST_RUN_SUCCEEDED) == "Completed",
            "{status:?}"
        );
        ensure!(status.last_report.is_some(), "{status:?}");
        // It belongs to a history now, which is too short to say anything.
        let verdict = status.regression.clone().context("no verdict")?;
        ensure!(verdict.state == RegressionState::Baselining, "{verdict:?}");
        ensure!(verdict.message.starts_with("0 of "), "{verdict:?}");
        let run = lab.experiments().get("soak-g1").await?;
        ensure!(
            run.labels()
                .get("team")
                .is_some_and(|team| team == "storage")
        );

        // What cannot run says why; what it had is kept, and its mend is no change of the template.
        patch(lab, "soak", json!({"timeZone": "Europe/Atlantis"})).await?;
        reaches(lab, "soak", "refused", 60, |status| {
            reason(status, ACCEPTED) == "InvalidTimeZone"
        })
        .await?;
        patch(lab, "soak", json!({"timeZone": "Europe/Berlin"})).await?;
        reaches(lab, "soak", "accepted", 60, |status| {
            reason(status, ACCEPTED) == "Scheduled"
        })
        .await?;

        // The next change runs although the operator dies over it; the older run is removed, its results stay.
        patch(lab, "soak", json!({"template": {"spec": {"seed": 8}}})).await?;
        lab.kill(SYSTEM, "app.kubernetes.io/component=operator")
            .await?;
        let status = reaches(lab, "soak", "run twice", 300, |status| {
            status.counts.succeeded == 2
        })
        .await?;
        ensure!(status.counts.started == 2, "{status:?}");
        ensure!(status.runs.len() == 2, "{status:?}");
        let newest = status.runs[0].name.clone();
        lab.until("the removal of the older run", 60, async || {
            Ok(runs(lab, "soak").await? == [newest.clone()])
        })
        .await?;

        // By the clock, every minute; deleted in the middle of it.
        patch(
            lab,
            "soak",
            json!({"schedule": "* * * * *", "runOnChange": false}),
        )
        .await?;
        let status = reaches(lab, "soak", "run by the clock", 120, |status| {
            !status.active.is_empty()
        })
        .await?;
        let run = status.active[0].name.clone();
        ensure!(
            status.active[0].trigger == Trigger::Cron && status.last_schedule_time.is_some(),
            "{status:?}"
        );
        lab.reaches(&run, "started", 120, |status| status.start_time.is_some())
            .await?;
        let table = kubectl(&["-n", &lab.namespace, "get", "expsched"]).await?;
        let row = table.lines().nth(1).context("no row")?;
        for cell in ["* * * * *", "false", &run, "Completed"] {
            ensure!(row.contains(cell), "no {cell} in\n{table}");
        }
        schedules(lab)
            .delete("soak", &DeleteParams::default())
            .await?;
        lab.until("the removal of all runs", 180, async || {
            Ok(runs(lab, "soak").await?.is_empty())
        })
        .await?;
        lab.nothing_left(&[]).await
    })
    .await
}

#[tokio::test]
async fn a_schedule_that_is_wrong_is_refused_with_the_mend() -> anyhow::Result<()> {
    scenario("schedule-admission", Needs::Nothing, async |lab: &Lab| {
        let good = || Fixture::schedule("good").set("/spec/schedule", json!("0 2 * * *"));
        lab.until("the admission of a good schedule", 30, async || {
            Ok(dry_run(lab, good().manifest()).await.is_ok())
        })
        .await?;
        let wrong = [
            (
                "/spec/schedule",
                json!("0 0 2 * * *"),
                "there are no seconds",
            ),
            (
                "/spec/schedule",
                json!("@reboot"),
                "schedule has five fields",
            ),
            (
                "/spec/schedule",
                json!("TZ=UTC 2 * * *"),
                "stands in timeZone",
            ),
            (
                "/spec/startingDeadlineSeconds",
                json!(5),
                "greater than or equal to 10",
            ),
            (
                "/spec/successfulHistoryLimit",
                json!(500),
                "less than or equal to 30",
            ),
            (
                "/spec/concurrencyPolicy",
                json!("Queue"),
                "Unsupported value",
            ),
            (
                "/spec/template/spec/cancel",
                json!(true),
                "every run would be ended",
            ),
            (
                "/spec/template/spec/suspend",
                json!(true),
                "set suspend of the schedule",
            ),
            (
                "/spec/template/spec/ttlSecondsAfterFinished",
                json!(60),
                "successfulHistoryLimit",
            ),
            (
                "/spec/template/metadata",
                json!({"labels": {"argocd.argoproj.io/instance": "x"}}),
                "would prune the runs",
            ),
            (
                "/spec/template/metadata",
                json!({"annotations": {"bakeoff.dev/trigger": "Cron"}}),
                "Bakeoff's own",
            ),
            (
                "/spec/template/spec/series",
                json!({"name": "x"}),
                "the schedule states it",
            ),
            (
                "/spec/regression/metrics/0/minChange",
                json!(1.0),
                "either minChangePercent",
            ),
            (
                "/spec/concurrencyPolicy",
                json!("Allow"),
                "one after the other",
            ),
            ("/spec/template/spec/backends", json!([]), "at least 1"),
            (
                "/spec/template/spec/trials/blocks",
                json!(0),
                "greater than or equal to 1",
            ),
            (
                "/spec/template/spec/resultClass",
                json!("Absolute"),
                "environment",
            ),
            (
                "/metadata/name",
                json!("a-name-of-thirty-seven-characters-here"),
                "at most 36 characters",
            ),
        ];
        let mut failures = Vec::new();
        for (place, value, fragment) in wrong {
            match dry_run(lab, good().set(place, value.clone()).manifest()).await {
                Ok(_) => failures.push(format!("{place} = {value}: admitted")),
                Err(error) if format!("{error:#}").contains(fragment) => {}
                Err(error) => failures.push(format!(
                    "{place} = {value}: expected {fragment:?}, got {error:#}"
                )),
            }
        }
        let idle = good()
            .remove("/spec", "schedule")
            .set("/spec/runOnChange", json!(false));
        match dry_run(lab, idle.manifest()).await {
            Err(error) if format!("{error:#}").contains("nothing would begin a run") => {}
            other => failures.push(format!("neither schedule nor runOnChange: {other:?}")),
        }
        ensure!(failures.is_empty(), "{}", failures.join("\n"));

        // What only the installation knows is said by a condition and an event, and nothing is made.
        let unknown = Fixture::schedule("unknown").set(
            "/spec/template/spec/objectives",
            json!([{"name": "x", "expression": "nothing.p99 < 1"}]),
        );
        lab.apply(unknown.manifest()).await?;
        let status = reaches(lab, "unknown", "refused", 60, |status| {
            reason(status, ACCEPTED) == "InvalidTemplate"
        })
        .await?;
        let accepted = conditions::get(&status.conditions, ACCEPTED).context("no condition")?;
        ensure!(accepted.message.contains("nothing"), "{}", accepted.message);
        ensure!(runs(lab, "unknown").await?.is_empty());
        schedules(lab)
            .delete("unknown", &DeleteParams::default())
            .await?;
        lab.nothing_left(&[]).await
    })
    .await
}
