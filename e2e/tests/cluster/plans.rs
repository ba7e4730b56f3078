//! Plans: phase by phase, on evidence, with a person in between, while the operator dies.

use crate::admission::dry_run;
use crate::store;
use anyhow::{Context as _, ensure};
use bakeoff_crds::conditions::{self, ACCEPTED, SUCCEEDED};
use bakeoff_crds::experiment_plan::{PhaseOutcome, PlanState};
use bakeoff_crds::names::LABEL_PLAN;
use bakeoff_crds::{ExperimentPlan, ExperimentPlanStatus};
use bakeoff_e2e::{Fixture, Lab, Needs, SYSTEM, kubectl, scenario};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use serde_json::{Value, json};

fn plans(lab: &Lab) -> Api<ExperimentPlan> {
    Api::namespaced(lab.client.clone(), &lab.namespace)
}

async fn patch(lab: &Lab, name: &str, spec: Value) -> anyhow::Result<()> {
    let patch = Patch::Merge(json!({"spec": spec}));
    let parameters = PatchParams::default();
    plans(lab).patch(name, &parameters, &patch).await?;
    Ok(())
}

async fn reaches(
    lab: &Lab,
    name: &str,
    what: &str,
    seconds: u64,
    wanted: impl Fn(&ExperimentPlanStatus) -> bool,
) -> anyhow::Result<ExperimentPlanStatus> {
    lab.becomes::<ExperimentPlan>(name, what, seconds, wanted)
        .await
}

async fn runs(lab: &Lab, of: &str) -> anyhow::Result<Vec<String>> {
    let labels = ListParams::default().labels(&format!("{LABEL_PLAN}={of}"));
    let runs = lab.experiments().list(&labels).await?;
    Ok(runs.iter().map(ResourceExt::name_any).collect())
}

/// Deletes a plan; nothing of it stays.
async fn delete(lab: &Lab, name: &str, own: &[&str]) -> anyhow::Result<()> {
    plans(lab).delete(name, &DeleteParams::default()).await?;
    lab.until("the removal of all runs", 180, async || {
        Ok(runs(lab, name).await?.is_empty())
    })
    .await?;
    lab.nothing_left(own).await
}

#[tokio::test]
async fn a_plan_runs_phase_by_phase_on_evidence() -> anyhow::Result<()> {
    scenario("plan", Needs::Nodes(1), async |lab: &Lab| {
        // A receiver that is there and takes no POST to a bucket that is none: what it answers is told, and the plan goes on.
        let url = format!("{}/hook", store::endpoint());
        let hook = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "hook"}, "stringData": {"url": url, "key": "secret"}});
        lab.apply(&hook).await?;
        let receiver = json!([{"name": "team", "secretRef": {"name": "hook", "hmacKey": "key"}, "on": ["ApprovalNeeded"]}]);
        let ladder = Fixture::plan("ladder").set("/spec/notify", receiver);
        lab.apply(ladder.manifest()).await?;
        reaches(lab, "ladder", "running", 60, |status| status.start_time.is_some()).await?;
        lab.kill(SYSTEM, "app.kubernetes.io/component=operator").await?;
        let waits = |status: &ExperimentPlanStatus| status.state == PlanState::Waiting;
        let status = reaches(lab, "ladder", "waiting for a person", 400, waits).await?;
        let outcome = |phase: usize| status.phases[phase].outcome;
        ensure!(outcome(0) == Some(PhaseOutcome::Go), "{status:?}");
        ensure!(outcome(1) == Some(PhaseOutcome::Skipped), "{status:?}");
        let why = status.phases[1].reason.as_deref();
        ensure!(why == Some("p0 is Go, and not NoGo"), "{status:?}");
        let made = runs(lab, "ladder").await?;
        ensure!(made == ["ladder-p0-a", "ladder-p2-a"], "what is skipped makes nothing: {made:?}");
        let table = kubectl(&["-n", &lab.namespace, "get", "expplan"]).await?;
        let row = table.lines().nth(1).context("no row")?;
        for cell in ["Waiting", "p2", "2/3"] {
            ensure!(row.contains(cell), "no {cell} in\n{table}");
        }

        let decision = json!({"phase": "p2", "action": "NoGo", "reason": "as the objective says", "by": "kim"});
        patch(lab, "ladder", json!({"decisions": [decision]})).await?;
        let status = reaches(lab, "ladder", "at its end", 120, |status| status.completion_time.is_some()).await?;
        ensure!(status.outcome == Some(PhaseOutcome::NoGo), "{status:?}");
        ensure!(status.state == PlanState::Completed, "{status:?}");
        let succeeded = conditions::get(&status.conditions, SUCCEEDED).context("no condition")?;
        ensure!(succeeded.status == "True", "NoGo is a result: {succeeded:?}");
        ensure!(status.phases[2].experiments[0].report.is_some(), "{status:?}");
        let report = status.report.context("no report")?;
        let url = report.url.context("the report was not written")?;
        ensure!(report.whole && report.phases == 3 && report.failure.is_none(), "{url}");
        let page = store::read(&url).await?;
        for text in ["ladder: what its phases came to", "p0 is Go, and not NoGo", "decided by kim", ">p2/a<"] {
            ensure!(page.contains(text), "{text:?} is not on the page of the plan");
        }
        lab.until("the word of what the receiver answers", 60, async || {
            let events = kubectl(&["-n", &lab.namespace, "get", "events", "--field-selector=reason=NotificationFailed"]).await?;
            Ok(events.contains("team was not told of ApprovalNeeded") && events.contains("answers 405"))
        })
        .await?;
        // What its Jobs needed is gone while the plan is still there; the experiments are kept.
        lab.nothing_left(&["secret/hook", "experimentplan.bakeoff.dev/ladder"]).await?;
        delete(lab, "ladder", &["secret/hook"]).await?;

        // Deleted in the middle of a phase.
        lab.apply(Fixture::plan("short").manifest()).await?;
        lab.until("its first run", 60, async || Ok(!runs(lab, "short").await?.is_empty()))
            .await?;
        delete(lab, "short", &["secret/hook"]).await
    })
    .await
}

#[tokio::test]
async fn a_plan_that_is_wrong_begins_nothing() -> anyhow::Result<()> {
    scenario("plan-admission", Needs::Nothing, async |lab: &Lab| {
        let good = || Fixture::plan("good");
        lab.until("the admission of a good plan", 30, async || {
            Ok(dry_run(lab, good().manifest()).await.is_ok())
        })
        .await?;
        let template = "/spec/phases/0/experiments/0/template";
        let backends = format!("{template}/spec/backends");
        let decision = json!([{"phase": "p9", "action": "Go", "reason": "so it is", "by": "kim"}]);
        let wrong = [
            (
                "/spec/phases/1/when",
                json!([{"phase": "p9", "outcome": ["Go"]}]),
                "names a phase of the plan",
            ),
            (
                "/spec/phases/1/when",
                json!([{"phase": "p0", "experiment": "b", "outcome": ["Go"]}]),
                "an experiment of that phase",
            ),
            (
                "/spec/phases/1/when",
                json!([{"phase": "p0", "outcome": []}]),
                "at least 1",
            ),
            (
                "/spec/phases/1/name",
                json!("p0"),
                "phase names must be unique",
            ),
            (
                "/spec/phases/0/experiments/0/ref",
                json!({"name": "x"}),
                "either a template or a ref",
            ),
            (backends.as_str(), json!([]), "at least 1"),
            (
                "/spec/phases/0/retries",
                json!(9),
                "less than or equal to 3",
            ),
            ("/spec/decisions", decision, "a decision names a phase"),
            (
                "/metadata/name",
                json!("a-name-of-too-many-chars"),
                "at most 22 characters",
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
        ensure!(failures.is_empty(), "{}", failures.join("\n"));

        // The rules of an Experiment hold for every template, and all are tried before the first is begun.
        let late = Fixture::plan("late").set(
            "/spec/phases/2/experiments/0/template/spec/resultClass",
            json!("Absolute"),
        );
        lab.apply(late.manifest()).await?;
        let status = reaches(lab, "late", "looked at", 60, |status| {
            !status.conditions.is_empty()
        })
        .await?;
        let accepted = conditions::get(&status.conditions, ACCEPTED).context("no condition")?;
        ensure!(
            accepted.status == "False" && accepted.message.contains("p2/a"),
            "{accepted:?}"
        );
        ensure!(accepted.message.contains("environment"), "{accepted:?}");
        ensure!(runs(lab, "late").await?.is_empty());
        delete(lab, "late", &[]).await
    })
    .await
}
