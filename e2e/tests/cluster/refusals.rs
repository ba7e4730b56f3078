//! What the operator refuses: the stated reason, a message with the mend, and nothing left.

use crate::store;
use anyhow::ensure;
use bakeoff_crds::conditions::{STALLED, SUCCEEDED};
use bakeoff_e2e::{
    Fixture, Lab, MINIO, Needs, SYSTEM, kubectl, kubectl_with, scenario, standing, truth,
};
use serde_json::{Value, json};

/// Applies it and waits for the reason: at rest (refused) or at the end (ended).
async fn refused(
    lab: &Lab,
    fixture: Fixture,
    reason: &str,
    fragment: &str,
    seconds: u64,
) -> anyhow::Result<()> {
    let name = fixture
        .manifest()
        .pointer("/metadata/name")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    lab.apply(fixture.manifest()).await?;
    let status = lab
        .reaches(&name, reason, seconds, |status| {
            truth(status, STALLED) == "True" || status.completion_time.is_some()
        })
        .await?;
    let (found, message) = standing(&status);
    ensure!(
        found == reason,
        "{name}: {found} instead of {reason}: {message}"
    );
    ensure!(
        message.contains(fragment),
        "{name}: the message lacks {fragment:?}: {message}"
    );
    ensure!(
        truth(&status, SUCCEEDED) == "False",
        "{name}: Succeeded is {}",
        truth(&status, SUCCEEDED)
    );
    lab.nothing_left(&["secret/wrong"]).await?;
    ensure!(
        lab.experiments().get_opt(&name).await?.is_some(),
        "the Experiment stays"
    );
    lab.delete(&name).await
}

fn external(endpoint: &str, secret: &str) -> Value {
    json!([{"name": "outside", "s3": {"endpoint": endpoint, "bucket": "bakeoff", "credentialsSecretRef": {"name": secret}}}])
}

#[tokio::test]
async fn what_cannot_be_run_is_not_begun() -> anyhow::Result<()> {
    scenario("refused", Needs::Nodes(1), async |lab: &Lab| {
        let objective = |expression: &str| json!([{"name": "wrong", "expression": expression}]);
        let short = Fixture::short;
        let unknown = json!([{"name": "pg", "postgres": {"version": "18.4", "settings": {"autovacuum_naptme": "1s"}}}]);
        refused(
            lab,
            Fixture::head_row("setting").set("/spec/backends", unknown),
            "BackendCrashed",
            "unrecognized configuration parameter \"autovacuum_naptme\"",
            120,
        )
        .await?;
        refused(
            lab,
            short("syntax").set("/spec/objectives", objective("put.p99 <")),
            "InvalidObjective",
            "wrong",
            60,
        )
        .await?;
        refused(
            lab,
            short("unknown-name").set("/spec/objectives", objective("put.p98 < 5")),
            "InvalidObjective",
            "p99",
            60,
        )
        .await?;
        refused(
            lab,
            short("not-boolean").set("/spec/objectives", objective("put.p99")),
            "InvalidObjective",
            "true or false",
            60,
        )
        .await?;
        refused(
            lab,
            short("no-secret").set("/spec/backends", external("http://example.com", "absent")),
            "SecretMissing",
            "absent",
            60,
        )
        .await?;
        refused(
            lab,
            short("too-large").set(
                "/spec/equipment/resources",
                json!({"cpu": "200", "memory": "1Gi"}),
            ),
            "EquipmentTooLarge",
            "ask for less in equipment.resources",
            60,
        )
        .await?;
        refused(
            lab,
            short("no-nodes").set(
                "/spec/equipment/nodeSelector",
                json!({"bakeoff.dev/pool": "nowhere"}),
            ),
            "NoNodes",
            "bakeoff.dev/pool=nowhere",
            60,
        )
        .await
    })
    .await
}

/// Lets the API server take any value for a field, as that of another version might, until `body` has ended.
async fn loosened<F>(field: &str, body: F) -> anyhow::Result<()>
where
    F: AsyncFnOnce() -> anyhow::Result<()>,
{
    const CRD: &str = "experiments.bakeoff.dev";
    let path =
        format!("/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/{field}");
    let stored = kubectl(&["get", "crd", CRD, "-o", "json"]).await?;
    let stored: Value = serde_json::from_str(&stored)?;
    let before = stored.pointer(&path).cloned().unwrap_or_default();
    let set = async |schema: Value| {
        let patch = json!([{"op": "replace", "path": path, "value": schema}]).to_string();
        kubectl(&["patch", "crd", CRD, "--type=json", "-p", &patch]).await
    };
    set(json!({"x-kubernetes-preserve-unknown-fields": true})).await?;
    let result = body().await;
    set(before).await?;
    result
}

async fn others_are_seen_to(lab: &Lab) -> anyhow::Result<()> {
    let namespace = lab.namespace.as_str();
    lab.until("an event that names it", 60, async || {
        let reason = "reason=Unreadable,involvedObject.name=strange";
        let events = [
            "-n",
            namespace,
            "get",
            "events",
            "--field-selector",
            reason,
            "-o",
            "jsonpath={.items[*].message}",
        ];
        let told = kubectl(&events).await?;
        Ok(told.contains("spec.ttlSecondsAfterFinished: ") && told.contains("cannot read it"))
    })
    .await?;
    let wrong = json!([{"name": "wrong", "expression": "put.p99 <"}]);
    lab.apply(
        Fixture::short("other")
            .set("/spec/objectives", wrong)
            .manifest(),
    )
    .await?;
    lab.reason("other", "InvalidObjective", 60).await.map(drop)
}

/// It is stored all the same: an operator that was rolled back finds what a newer one let in.
#[tokio::test]
async fn one_that_cannot_be_read_is_named_and_the_others_are_seen_to() -> anyhow::Result<()> {
    scenario("unreadable", Needs::Nothing, async |lab: &Lab| {
        let strange = Fixture::short("strange").set("/spec/ttlSecondsAfterFinished", json!("soon"));
        let namespace = lab.namespace.as_str();
        loosened("ttlSecondsAfterFinished", async || {
            lab.until("the API server takes it", 30, async || {
                let create = ["-n", namespace, "create", "--validate=false", "-f", "-"];
                let manifest = strange.manifest().to_string();
                Ok(kubectl_with(&create, &manifest).await.is_ok())
            })
            .await
        })
        .await?;
        let result = others_are_seen_to(lab).await;
        // The typed client of what comes next cannot read it either.
        let delete = [
            "-n",
            namespace,
            "delete",
            "experiment",
            "strange",
            "--timeout=300s",
        ];
        result.and(kubectl(&delete).await.map(drop))
    })
    .await
}

#[tokio::test]
async fn a_mended_secret_lets_it_start() -> anyhow::Result<()> {
    scenario("mended", Needs::Nothing, async |lab: &Lab| {
        let fixture = Fixture::short("waits").set("/spec/backends", external("http://example.com", "late"));
        lab.apply(fixture.manifest()).await?;
        lab.reason("waits", "SecretMissing", 60).await?;
        lab.apply(&json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "late"}, "stringData": {"accessKeyId": "x"}})).await?;
        lab.reason("waits", "SecretIncomplete", 60).await.map(drop)
    })
    .await
}

#[tokio::test]
async fn an_endpoint_that_does_not_answer_ends_it() -> anyhow::Result<()> {
    scenario("endpoint", Needs::Nodes(1), async |lab: &Lab| {
        lab.apply(&json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "wrong"},
            "stringData": {"accessKeyId": "nobody", "secretAccessKey": "nothing-of-value"},
        }))
        .await?;
        let hurry = |name: &str, endpoint: &str| {
            Fixture::short(name)
                .set("/spec/backends", external(endpoint, "wrong"))
                .set(
                    "/spec/limits",
                    json!({"provisionSeconds": 30, "cleanupSeconds": 10}),
                )
                .set("/spec/generators/backoffLimit", json!(0))
        };
        let nowhere = format!("http://nowhere.{}.svc:9", lab.namespace);
        refused(
            lab,
            hurry("unknown", &nowhere),
            "EndpointUnreachable",
            "nowhere",
            120,
        )
        .await?;
        refused(
            lab,
            hurry("unauthorised", &store::endpoint()),
            "EndpointUnauthorized",
            "outside",
            120,
        )
        .await
    })
    .await
}

#[tokio::test]
async fn an_image_that_cannot_be_pulled_ends_it() -> anyhow::Result<()> {
    scenario("image", Needs::Nodes(1), async |lab: &Lab| {
        // A version that the catalogue maps to an image that is nowhere; put back whatever happens.
        let values = "--reuse-values --set catalogue.minio.absent=localhost/bakeoff/absent:1";
        helm_upgrade(values).await?;
        let backend = json!([{"name": "minio", "minio": {"version": "absent"}}]);
        let fixture = Fixture::short("absent").set("/spec/backends", backend);
        let result = refused(
            lab,
            fixture,
            "ImagePullFailed",
            "localhost/bakeoff/absent:1",
            180,
        )
        .await;
        let restored = helm_upgrade("--reuse-values --set catalogue.minio.absent=null").await;
        let good = json!([{"name": "minio", "minio": {"version": MINIO}}]);
        result.and(restored)?;
        lab.apply(
            Fixture::short("good")
                .set("/spec/backends", good)
                .set("/spec/suspend", json!(true))
                .manifest(),
        )
        .await
    })
    .await
}

/// Changes the release as a user would. The program is `HELM`, default `helm`.
async fn helm_upgrade(values: &str) -> anyhow::Result<()> {
    let program = std::env::var("HELM").unwrap_or_else(|_| "helm".to_owned());
    let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/bakeoff");
    let output = tokio::process::Command::new(program)
        .args([
            "upgrade",
            "bakeoff",
            chart,
            "-n",
            SYSTEM,
            "--wait",
            "--timeout=600s",
        ])
        .args(values.split(' '))
        .output()
        .await?;
    ensure!(
        output.status.success(),
        "helm upgrade: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    kubectl(&[
        "-n",
        SYSTEM,
        "rollout",
        "status",
        "deployment/bakeoff",
        "--timeout=600s",
    ])
    .await
    .map(drop)
}
