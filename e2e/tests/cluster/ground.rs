//! Clusters as other people have them: what they refuse and what does not come or go is said, bounded, and holds nobody up.

use crate::placing::would_make;
use anyhow::ensure;
use bakeoff_e2e::{Fixture, Lab, MINIO, Needs, kubectl, kubectl_with, scenario, standing};
use serde_json::{Value, json};

fn short(name: &str) -> Fixture {
    Fixture::short(name).set("/spec/trials/blocks", json!(2))
}

/// With the one limit that the test waits for: whatever else takes its time on a busy machine may.
fn limited(name: &str, limit: Value) -> Fixture {
    short(name).set("/spec/limits", limit)
}

/// Waits until it has ended as this, with these words in the message; nothing is left.
async fn ends(lab: &Lab, name: &str, reason: &str, words: &[&str]) -> anyhow::Result<()> {
    let status = lab.ended(name, reason, 180).await?;
    let (_, message) = standing(&status);
    for word in words {
        ensure!(
            message.contains(word),
            "{name}: {word:?} is not in: {message}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_quota_that_lets_the_backend_in_and_not_the_generator_is_named() -> anyhow::Result<()> {
    scenario("quota", Needs::Nodes(1), async |lab: &Lab| {
        let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "small"},
            "spec": {"hard": {"requests.cpu": "900m"}}});
        lab.apply(&quota).await?;
        // What the quota says comes by way of an event, which a slow machine has later than the limits of the others.
        let fixture = limited("quota", json!({"startSeconds": 60}));
        lab.apply(fixture.manifest()).await?;
        let status = lab.reason("quota", "FailedCreate", 120).await?;
        let (_, message) = standing(&status);
        ensure!(message.contains("exceeded quota: small"), "{message}");
        ensure!(message.contains("raise the quota"), "{message}");
        let said = ["limits.startSeconds", "exceeded quota: small"];
        let status = lab
            .reaches("quota", "ended", 180, |status| status.completion_time.is_some())
            .await?;
        let (reason, message) = standing(&status);
        ensure!(reason == "GeneratorNotStarted", "{reason}: {message}");
        ensure!(said.iter().all(|word| message.contains(word)), "{message}");
        lab.nothing_left(&["resourcequota/small"]).await
    })
    .await
}

/// Waits until a policy over Jobs is in force, a moment after it was taken.
async fn in_force(lab: &Lab, role: &str) -> anyhow::Result<()> {
    let container = json!({"name": "asks", "image": "asks"});
    let pod = json!({"spec": {"restartPolicy": "Never", "containers": [container]}});
    let job = json!({"apiVersion": "batch/v1", "kind": "Job", "spec": {"template": pod},
        "metadata": {"name": "asks", "labels": {"bakeoff.dev/role": role}}});
    would_make(lab, &job, |job| {
        job.is_err_and(|why| why.contains("no Job without a team"))
    })
    .await
}

/// Has the API server refuse Jobs of this role in the namespace of the lab while `body` runs.
async fn without_jobs<F>(lab: &Lab, role: &str, body: F) -> anyhow::Result<()>
where
    F: AsyncFnOnce() -> anyhow::Result<()>,
{
    let name = format!("{}-{role}", lab.namespace);
    let rules = json!([{"apiGroups": ["batch"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["jobs"]}]);
    let expression = format!("object.metadata.labels[?'bakeoff.dev/role'].orValue('') != '{role}'");
    let policy = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name}, "spec": {"failurePolicy": "Fail", "matchConstraints": {"resourceRules": rules},
        "validations": [{"expression": expression, "message": "no Job without a team"}]}});
    let here = json!({"matchLabels": {"kubernetes.io/metadata.name": lab.namespace}});
    let binding = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name}, "spec": {"policyName": name, "validationActions": ["Deny"],
        "matchResources": {"namespaceSelector": here}}});
    for object in [&policy, &binding] {
        kubectl_with(&["apply", "-f", "-"], &object.to_string()).await?;
    }
    let result = match in_force(lab, role).await {
        Ok(()) => body().await,
        Err(never) => Err(never),
    };
    for kind in [
        "validatingadmissionpolicybinding",
        "validatingadmissionpolicy",
    ] {
        kubectl(&["delete", kind, &name, "--ignore-not-found"]).await?;
    }
    result
}

#[tokio::test]
async fn what_a_policy_refuses_is_said_in_its_words_and_ends() -> anyhow::Result<()> {
    scenario("policy", Needs::Nodes(1), async |lab: &Lab| {
        without_jobs(lab, "generator", async || {
            let fixture = limited("generator", json!({"startSeconds": 30}));
            lab.apply(fixture.manifest()).await?;
            let status = lab.reason("generator", "ChildRefused", 120).await?;
            let (_, message) = standing(&status);
            ensure!(message.contains("no Job without a team"), "{message}");
            let words = ["limits.startSeconds", "no Job without a team"];
            ends(lab, "generator", "GeneratorNotStarted", &words).await
        })
        .await?;
        without_jobs(lab, "report", async || {
            // A Job that cannot be made has as long as both.
            let fixture = limited("report", json!({"reportSeconds": 10, "stopSeconds": 20}));
            lab.apply(fixture.manifest()).await?;
            let words = ["no Job without a team", "loadgen report"];
            ends(lab, "report", "ReportFailed", &words).await
        })
        .await
    })
    .await
}

#[tokio::test]
async fn the_longest_names_run() -> anyhow::Result<()> {
    scenario("names", Needs::Nodes(1), async |lab: &Lab| {
        let backend = format!("b{}", "9".repeat(29));
        let name = format!("2026.{}-z", "n".repeat(45));
        ensure!(
            name.len() == 52 && backend.len() == 30,
            "the longest that are admitted"
        );
        let backends = json!([{"name": backend, "minio": {"version": MINIO}}]);
        lab.apply(short(&name).set("/spec/backends", backends).manifest())
            .await?;
        ends(lab, &name, "Completed", &[]).await?;
        lab.apply(short("1").manifest()).await?;
        ends(lab, "1", "Completed", &[]).await
    })
    .await
}

#[tokio::test]
async fn a_volume_that_will_not_go_is_named_and_holds_nobody_up() -> anyhow::Result<()> {
    scenario("held", Needs::Nodes(1), async |lab: &Lab| {
        let ns = lab.namespace.as_str();
        let fixture = limited("held", json!({"tearDownSeconds": 10}));
        lab.apply(fixture.manifest()).await?;
        lab.reason("held", "Running", 120).await?;
        let claims = ["-n", ns, "get", "pvc", "-o", "name"];
        let claim = kubectl(&claims).await?.trim().to_owned();
        let finalizers = |value: Value| json!({"metadata": {"finalizers": value}}).to_string();
        let hold = finalizers(json!(["example.com/held"]));
        kubectl(&["-n", ns, "patch", &claim, "--type=merge", "-p", &hold]).await?;
        lab.apply(short("next").manifest()).await?;
        let status = lab
            .reaches("held", "ended", 180, |status| {
                status.completion_time.is_some()
            })
            .await?;
        let (reason, message) = standing(&status);
        ensure!(
            reason == "Completed",
            "the verdict stands: {reason}: {message}"
        );
        let left = claim.replace("persistentvolumeclaim/", "PersistentVolumeClaim ");
        for word in [left.as_str(), "example.com/held", "limits.tearDownSeconds"] {
            ensure!(message.contains(word), "{word:?} is not in: {message}");
        }
        lab.reaches("next", "ended", 180, |status| {
            status.completion_time.is_some()
        })
        .await?;
        let free = finalizers(Value::Null);
        kubectl(&["-n", ns, "patch", &claim, "--type=merge", "-p", &free]).await?;
        lab.nothing_left(&[]).await
    })
    .await
}

#[tokio::test]
async fn a_backend_whose_pod_is_taken_away_is_lost_in_the_end() -> anyhow::Result<()> {
    scenario("lost", Needs::Nodes(1), async |lab: &Lab| {
        let limits = json!({"provisionSeconds": 150, "stopSeconds": 10});
        let fixture = Fixture::long("lost").set("/spec/limits", limits);
        lab.apply(fixture.manifest()).await?;
        let measures = |status: &bakeoff_crds::ExperimentStatus| {
            let progress = status.progress.as_ref();
            progress.is_some_and(|progress| progress.trials.done > 0)
        };
        lab.reaches("lost", "measuring", 240, measures).await?;
        let scale = "scale statefulset --replicas=0 -l bakeoff.dev/backend=minio";
        let mut arguments = vec!["-n", lab.namespace.as_str()];
        arguments.extend(scale.split(' '));
        kubectl(&arguments).await?;
        let words = ["backend minio", "limits.provisionSeconds"];
        let status = lab.ended("lost", "BackendLost", 400).await?;
        let (_, message) = standing(&status);
        ensure!(words.iter().all(|word| message.contains(word)), "{message}");
        ensure!(
            status.results.is_some(),
            "what was measured before is reported"
        );
        lab.delete("lost").await?;
        lab.nothing_left(&[]).await
    })
    .await
}
