//! Schedules and plans that are deleted at whatever moment, and what is left of them: nothing.

use anyhow::ensure;
use bakeoff_crds::conditions::{self, SUCCEEDED};
use bakeoff_crds::{ExperimentPlan, ExperimentSchedule};
use bakeoff_e2e::{Fixture, Lab, Needs, scenario};
use kube::api::{Api, DeleteParams, ListParams};
use serde_json::json;
use std::collections::BTreeSet;
use std::time::Duration;

/// Seconds after which each is deleted: before anything is there, while a run waits, is provisioned, measures, is reported, and after
/// its end, while messages are sent that nobody takes.
const MOMENTS: [f64; 8] = [0.0, 0.3, 1.0, 3.0, 7.0, 13.0, 21.0, 34.0];

#[tokio::test]
async fn what_is_deleted_at_any_moment_leaves_nothing() -> anyhow::Result<()> {
    scenario("deletions", Needs::Nodes(1), async |lab: &Lab| {
        let schedules: Api<ExperimentSchedule> = Api::namespaced(lab.client.clone(), &lab.namespace);
        let plans: Api<ExperimentPlan> = Api::namespaced(lab.client.clone(), &lab.namespace);
        // On port 9 nobody listens: the Jobs that tell are there for a while.
        let hook = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "hook"}, "stringData": {"url": "http://127.0.0.1:9/"}});
        lab.apply(&hook).await?;
        let team = |on: [&str; 2]| json!([{"name": "team", "secretRef": {"name": "hook"}, "on": on}]);
        let schedule = Fixture::schedule("whenever")
            .set("/spec/template/spec/objectives", json!([{"name": "x", "expression": "put.count < 0"}]))
            .set("/spec/notify", team(["Failed", "Missed"]));
        let mut states = BTreeSet::new();
        for seconds in MOMENTS {
            lab.apply(schedule.manifest()).await?;
            lab.apply(Fixture::plan("whenever").set("/spec/notify", team(["PhaseDecided", "ApprovalNeeded"])).manifest())
                .await?;
            tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
            let plan = plans.get("whenever").await?.status.unwrap_or_default();
            let schedule = schedules.get("whenever").await?.status.unwrap_or_default();
            // How far the run of the schedule is; where nothing else hurries, both are begun within the first moment.
            let run = lab.experiments().get_opt("whenever-g1").await?.and_then(|run| run.status);
            let reason = run.and_then(|run| Some(conditions::get(&run.conditions, SUCCEEDED)?.reason.clone()));
            states.insert(format!("{:?} {} {reason:?}", plan.state, schedule.active.len()));
            plans.delete("whenever", &DeleteParams::default()).await?;
            schedules.delete("whenever", &DeleteParams::default()).await?;
            lab.until("the removal of both", 180, async || {
                let left = plans.get_opt("whenever").await?.is_some() || schedules.get_opt("whenever").await?.is_some();
                Ok(!left)
            })
            .await?;
            lab.nothing_left(&["secret/hook"]).await?;
            lab.until("the end of their runs", 120, async || {
                Ok(lab.experiments().list(&ListParams::default()).await?.items.is_empty())
            })
            .await?;
        }
        // They were not all the same moment.
        ensure!(states.len() > 1, "{states:?}");

        // Applied again at once, as `kubectl replace --force` does: the run of the one that went is waited for.
        let run_of_it = async || {
            let uid = schedules.get("whenever").await?.metadata.uid;
            let run = lab.experiments().get_opt("whenever-g1").await?;
            let owners = run.and_then(|run| run.metadata.owner_references).unwrap_or_default();
            Ok(owners.iter().any(|owner| Some(&owner.uid) == uid.as_ref()))
        };
        for _ in 0..2 {
            lab.apply(schedule.manifest()).await?;
            lab.until("a run of its own", 120, async || run_of_it().await).await?;
            schedules.delete("whenever", &DeleteParams::default()).await?;
        }
        Ok(())
    })
    .await
}
