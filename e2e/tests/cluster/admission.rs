//! What the API server refuses, in which words, and how the manual reads.
//! Needs only the definitions and the policy of the chart.

use crate::bad_specs::{bad_specs, equal_equipment, soak};
use anyhow::{Context as _, ensure};
use bakeoff_e2e::{Fixture, Lab, Needs, kubectl, kubectl_with, scenario};
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

#[tokio::test]
async fn bad_specs_are_refused_with_the_mend() -> anyhow::Result<()> {
    scenario("admission", Needs::Nothing, async |lab: &Lab| {
        // The definitions and the policy take a moment after an installation.
        let good = Fixture::tiny("good");
        lab.until("the admission of a good experiment", 30, async || {
            Ok(dry_run(lab, good.manifest()).await.is_ok())
        })
        .await?;
        let same =
            Fixture::tiny("same").set("/spec/backends/0/equipment", equal_equipment(json!({})));
        dry_run(lab, same.manifest())
            .await
            .context("equal in other words is equal")?;
        // Many trials need many blocks: 8 x 16 cells, 2 backends, 20 blocks.
        let mut wrong = Vec::new();
        for (what, place, value, fragment) in bad_specs() {
            let mut fixture = Fixture::tiny("bad").set(place, value);
            if what == "too many trials" {
                fixture = fixture.set("/spec/trials/blocks", json!(20));
            }
            if what == "unknown Postgres" {
                let head =
                    json!([{"name": "h", "headRow": {"load": {"closed": {"concurrency": [1]}}}}]);
                fixture = fixture.set("/spec/workloads", head);
            }
            if fragment == "at most 3600 windowSeconds" {
                fixture = fixture.set("/spec/workloads", json!([soak(json!({}))]));
            }
            if what == "a setting in two places" {
                let eager =
                    json!({"autovacuum": [{"name": "a", "server": {"autovacuum_naptime": "1s"}}]});
                fixture = fixture.set("/spec/workloads", json!([soak(eager)]));
            }
            // A decision that names backends which are gone would be refused for another reason.
            match dry_run(lab, fixture.manifest()).await {
                Ok(_) => wrong.push(format!("{what}: admitted")),
                Err(error)
                    if format!("{error:#}")
                        .to_lowercase()
                        .contains(&fragment.to_lowercase()) => {}
                Err(error) => wrong.push(format!("{what}: expected {fragment:?}, got {error:#}")),
            }
        }
        ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
        Ok(())
    })
    .await
}

pub(crate) async fn dry_run(lab: &Lab, manifest: &Value) -> anyhow::Result<String> {
    let arguments = [
        "-n",
        &lab.namespace,
        "create",
        "--dry-run=server",
        "--validate=strict",
        "-f",
        "-",
    ];
    kubectl_with(&arguments, &manifest.to_string()).await
}

#[tokio::test]
async fn a_started_spec_is_fixed() -> anyhow::Result<()> {
    scenario("frozen", Needs::Nothing, async |lab: &Lab| {
        // Suspended, so that the operator leaves it alone.
        let fixture = Fixture::tiny("frozen").set("/spec/suspend", json!(true));
        lab.apply(fixture.manifest()).await?;
        lab.patch("frozen", json!({"seed": 8})).await.context("before the start the spec may change")?;

        let started = json!({"status": {"progress": {"display": "1/8", "trials": {"planned": 8, "done": 1}}}});
        let api = lab.experiments();
        api.patch_status("frozen", &PatchParams::default(), &Patch::Merge(started)).await?;
        let frozen = [
            json!({"seed": 9}),
            json!({"trials": {"blocks": 2}}),
            json!({"objectives": null}),
            json!({"decision": null}),
            json!({"environment": {"hardware": "a lot", "region": "here", "durability": "none"}}),
            json!({"limits": {"reportSeconds": 10}}),
        ];
        for change in frozen {
            let refused = lab.patch("frozen", change.clone()).await.err().map(|error| format!("{error:#}")).unwrap_or_default();
            ensure!(refused.contains("the experiment has started"), "{change} was not refused: {refused:?}");
        }
        for change in [
            json!({"activeDeadlineSeconds": 600}),
            json!({"ttlSecondsAfterFinished": 600}),
            json!({"ttlSecondsAfterFinished": null}),
            json!({"cancel": true}),
        ] {
            lab.patch("frozen", change.clone()).await.with_context(|| format!("{change} must be admitted"))?;
        }
        let back = lab.patch("frozen", json!({"cancel": false})).await.err().map(|error| format!("{error:#}")).unwrap_or_default();
        ensure!(back.contains("stays cancelled"), "{back:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_manual_explains_every_field() -> anyhow::Result<()> {
    scenario("explain", Needs::Nothing, async |_: &Lab| {
        let text = kubectl(&["explain", "experiment.spec.trials"]).await?;
        for fragment in [
            "blocks",
            "Rounds in which each backend runs each cell once",
            "default 6",
            "windowSeconds",
            "1 to 86400",
        ] {
            // kubectl wraps lines.
            let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
            ensure!(
                flat.contains(fragment),
                "kubectl explain lacks {fragment:?}:\n{text}"
            );
        }
        let all = kubectl(&["explain", "experiment.spec", "--recursive"]).await?;
        for field in [
            "snapshotsPerObject",
            "credentialsSecretRef",
            "activeDeadlineSeconds",
            "maxSendLagP99Microseconds",
        ] {
            ensure!(
                all.contains(field),
                "kubectl explain --recursive lacks {field}"
            );
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn one_look_says_how_it_stands() -> anyhow::Result<()> {
    scenario("columns", Needs::Nothing, async |lab: &Lab| {
        lab.apply(
            Fixture::tiny("look")
                .set("/spec/suspend", json!(true))
                .manifest(),
        )
        .await?;
        let header = kubectl(&["-n", &lab.namespace, "get", "exp"]).await?;
        let columns: Vec<&str> = header
            .lines()
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .collect();
        ensure!(
            columns == ["NAME", "STATUS", "PROGRESS", "DECISION", "AGE"],
            "{columns:?}"
        );
        let names = lab.experiments().list(&Default::default()).await?;
        ensure!(
            names
                .iter()
                .any(|experiment| experiment.name_any() == "look")
        );
        ensure!(
            kubectl(&["-n", &lab.namespace, "get", "bakeoff", "-o", "name"])
                .await?
                .contains("look"),
            "the category bakeoff"
        );
        Ok(())
    })
    .await
}
