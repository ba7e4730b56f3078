//! Queue, cancel, delete, deadline, suspend, and what happens when something is killed.

use crate::store;
use anyhow::ensure;
use bakeoff_crds::ExperimentStatus;
use bakeoff_crds::names::{LABEL_BACKEND, LABEL_ROLE};
use bakeoff_e2e::{Fixture, Lab, Needs, SYSTEM, kubectl, scenario};
use kube::api::ListParams;
use serde_json::json;

fn done(status: &ExperimentStatus) -> i32 {
    status
        .progress
        .as_ref()
        .map_or(0, |progress| progress.trials.done)
}

/// One that goes on measuring when another test takes the operator away for a moment just then.
const LASTING: i32 = 14;

fn lasting(name: &str) -> Fixture {
    Fixture::long(name).set("/spec/trials/blocks", json!(LASTING))
}

/// Waits until the first trial is durable, while others are still to come.
async fn measuring(lab: &Lab, name: &str) -> anyhow::Result<()> {
    lab.reaches(name, "measuring", 180, |status| {
        let planned = status.progress.as_ref().map(|now| now.trials.planned);
        done(status) > 0 && planned.is_some_and(|planned| done(status) < planned)
    })
    .await
    .map(drop)
}

/// All trials are durable, none twice.
fn complete(status: &ExperimentStatus, planned: i32) -> anyhow::Result<()> {
    let trials = status.progress.clone().unwrap_or_default().trials;
    ensure!(
        trials.planned == planned && trials.done == planned,
        "{trials:?}"
    );
    Ok(())
}

#[tokio::test]
async fn the_second_waits_for_the_first() -> anyhow::Result<()> {
    scenario("queue", Needs::Nodes(1), async |lab: &Lab| {
        let hurried = |name: &str| Fixture::short(name).set("/spec/trials/blocks", json!(2));
        // Long enough to be waited for, also when another test has just taken the operator away.
        lab.apply(Fixture::short("first").manifest()).await?;
        lab.reaches("first", "started", 60, |status| status.start_time.is_some())
            .await?;
        lab.apply(hurried("second").manifest()).await?;
        lab.apply(hurried("third").manifest()).await?;
        lab.reason("second", "Queued", 60).await?;
        lab.reason("third", "Queued", 60).await?;
        // Cancelled and deleted while they wait.
        lab.patch("third", json!({"cancel": true})).await?;
        let status = lab.reason("third", "Cancelled", 60).await?;
        ensure!(status.start_time.is_none(), "it never started");
        lab.apply(hurried("fourth").manifest()).await?;
        lab.reason("fourth", "Queued", 60).await?;
        lab.delete("fourth").await?;

        let first = lab
            .reaches("first", "ended", 180, |status| {
                status.completion_time.is_some()
            })
            .await?;
        complete(&first, 6)?;
        let second = lab.ended("second", "Completed", 180).await?;
        complete(&second, 2)?;
        // The pool is free once nothing of the first measures any more; its servers may still be going.
        let measured = first.ending.and_then(|ending| ending.cleaned_up_time);
        ensure!(
            measured.is_some() && second.start_time >= measured,
            "they overlapped"
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn cancel_ends_it_in_every_state() -> anyhow::Result<()> {
    scenario("cancel", Needs::Nodes(1), async |lab: &Lab| {
        let cancel = json!({"cancel": true});
        lab.apply(
            Fixture::long("suspended")
                .set("/spec/suspend", json!(true))
                .manifest(),
        )
        .await?;
        lab.reason("suspended", "Suspended", 60).await?;
        lab.patch("suspended", cancel.clone()).await?;
        lab.ended("suspended", "Cancelled", 60).await?;

        lab.apply(Fixture::long("provisioning").manifest()).await?;
        lab.reaches("provisioning", "provisioning", 60, |status| {
            status.start_time.is_some()
        })
        .await?;
        lab.patch("provisioning", cancel.clone()).await?;
        lab.ended("provisioning", "Cancelled", 120).await?;

        lab.apply(Fixture::long("running").manifest()).await?;
        measuring(lab, "running").await?;
        lab.patch("running", cancel).await?;
        let status = lab.ended("running", "Cancelled", 120).await?;
        ensure!(status.results.is_some(), "what was measured is reported");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn deletion_takes_everything_in_every_state() -> anyhow::Result<()> {
    scenario("delete", Needs::Nodes(1), async |lab: &Lab| {
        lab.apply(Fixture::long("provisioning").manifest()).await?;
        lab.reaches("provisioning", "provisioning", 60, |status| {
            status.start_time.is_some()
        })
        .await?;
        lab.delete("provisioning").await?;
        lab.nothing_left(&[]).await?;

        lab.apply(Fixture::long("running").manifest()).await?;
        measuring(lab, "running").await?;
        lab.delete("running").await?;
        lab.nothing_left(&[]).await?;

        // The same name again: another uid, and nothing inherited.
        lab.apply(
            Fixture::long("running")
                .set("/spec/suspend", json!(true))
                .manifest(),
        )
        .await?;
        let status = lab.reason("running", "Suspended", 60).await?;
        ensure!(done(&status) == 0, "{:?}", status.progress);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_deadline_ends_it() -> anyhow::Result<()> {
    scenario("deadline", Needs::Nodes(1), async |lab: &Lab| {
        lab.apply(
            Fixture::long("late")
                .set("/spec/activeDeadlineSeconds", json!(30))
                .manifest(),
        )
        .await?;
        lab.ended("late", "DeadlineExceeded", 150).await?;
        // Finished long enough ago: the Experiment itself goes.
        lab.patch("late", json!({"ttlSecondsAfterFinished": 0}))
            .await?;
        lab.until("the end of its time to live", 60, async || {
            Ok(lab.experiments().get_opt("late").await?.is_none())
        })
        .await
    })
    .await
}

#[tokio::test]
async fn a_suspended_one_goes_on_where_it_stopped() -> anyhow::Result<()> {
    scenario("suspend", Needs::Nodes(1), async |lab: &Lab| {
        lab.apply(lasting("pauses").manifest()).await?;
        measuring(lab, "pauses").await?;
        lab.patch("pauses", json!({"suspend": true})).await?;
        let paused = lab.reason("pauses", "Suspended", 120).await?;
        ensure!(done(&paused) > 0, "finished trials are kept");
        ensure!(
            lab.pods()
                .list(&ListParams::default())
                .await?
                .items
                .is_empty(),
            "nothing runs meanwhile"
        );
        lab.patch("pauses", json!({"suspend": false})).await?;
        let status = lab.ended("pauses", "Completed", 180).await?;
        complete(&status, LASTING)
    })
    .await
}

#[tokio::test]
async fn a_killed_operator_changes_nothing() -> anyhow::Result<()> {
    scenario("operator", Needs::Nodes(1), async |lab: &Lab| {
        lab.apply(lasting("survives").manifest()).await?;
        lab.reaches("survives", "provisioning", 60, |status| {
            status.start_time.is_some()
        })
        .await?;
        let before = store::operator_pods().await?;
        lab.kill(SYSTEM, "app.kubernetes.io/component=operator")
            .await?;
        measuring(lab, "survives").await?;
        lab.kill(SYSTEM, "app.kubernetes.io/component=operator")
            .await?;
        let status = lab.ended("survives", "Completed", 240).await?;
        complete(&status, LASTING)?;
        let trials = status.progress.unwrap_or_default().trials;
        ensure!(
            trials.interrupted == 0,
            "no trial was disturbed: {trials:?}"
        );
        ensure!(
            before != store::operator_pods().await?,
            "the operator was killed"
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_killed_generator_resumes() -> anyhow::Result<()> {
    scenario("generator", Needs::Nodes(1), async |lab: &Lab| {
        lab.apply(lasting("resumes").manifest()).await?;
        measuring(lab, "resumes").await?;
        lab.kill(&lab.namespace, &format!("{LABEL_ROLE}=generator"))
            .await?;
        let status = lab.ended("resumes", "Completed", 240).await?;
        complete(&status, LASTING)?;
        let events = kubectl(&[
            "-n",
            &lab.namespace,
            "get",
            "events",
            "-o",
            "jsonpath={.items[*].reason}",
        ])
        .await?;
        ensure!(
            events.contains("GeneratorRestarted"),
            "the attempt is counted: {events}"
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_killed_backend_voids_the_trial() -> anyhow::Result<()> {
    scenario("backend", Needs::Nodes(1), async |lab: &Lab| {
        // Strict again in this: a trial whose backend went away is invalid.
        let fixture = lasting("repeats").set(
            "/spec/validity",
            json!({"maxFailedPerMille": 0, "repeatBudget": 20, "minStartedPerMille": 0,
                "maxSendLagP99Microseconds": 10_000_000, "maxThrottledPerMille": 1000}),
        );
        lab.apply(fixture.manifest()).await?;
        measuring(lab, "repeats").await?;
        let trials = async || {
            let progress = lab.status("repeats").await?.progress;
            anyhow::Ok(progress.unwrap_or_default().trials)
        };
        // Between two trials nobody misses it: the next one waits until it is back.
        while trials().await?.invalid == 0 {
            let before = trials().await?.done;
            lab.kill(&lab.namespace, &format!("{LABEL_BACKEND}=minio"))
                .await?;
            lab.reaches("repeats", "the next trial", 180, |status| {
                let trials = status.progress.as_ref().map(|now| &now.trials);
                trials.is_some_and(|trials| trials.invalid > 0 || trials.done > before)
            })
            .await?;
        }
        let status = lab.ended("repeats", "Completed", 300).await?;
        complete(&status, LASTING)?;
        let trials = status.progress.unwrap_or_default().trials;
        ensure!(trials.repeated > 0, "the trial is repeated: {trials:?}");
        Ok(())
    })
    .await
}
