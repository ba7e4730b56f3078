//! Network policies, on a cluster that enforces them: who reaches the pods of an experiment, and that it runs where nothing is let out.

use crate::placing::loadgen_image;
use anyhow::ensure;
use bakeoff_crds::names;
use bakeoff_e2e::{Fixture, Lab, Needs, kubectl, scenario};
use serde_json::{Value, json};

/// A pod that asks a store for a listing, with keys that nobody knows.
fn asking(name: &str, image: &str, endpoint: &str, labels: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels},
        "spec": {
            "restartPolicy": "Never", "automountServiceAccountToken": false,
            "securityContext": {"runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "ask", "image": image, "imagePullPolicy": "IfNotPresent",
                "args": ["trend", "s3://bakeoff/x", "--out", "/dev/null", "--endpoint", endpoint],
                "env": [{"name": "AWS_ACCESS_KEY_ID", "value": "nobody"}, {"name": "AWS_SECRET_ACCESS_KEY", "value": "nothing-at-all"}],
                "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"cpu": "100m", "memory": "64Mi"}},
                "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}, "readOnlyRootFilesystem": true},
            }],
        },
    })
}

/// What a pod says that has ended.
async fn said(lab: &Lab, name: &str) -> anyhow::Result<String> {
    lab.until("the end of a pod that asks", 180, async || {
        let phase = kubectl(&[
            "-n",
            &lab.namespace,
            "get",
            "pod",
            name,
            "-o",
            "jsonpath={.status.phase}",
        ])
        .await?;
        Ok(phase == "Failed" || phase == "Succeeded")
    })
    .await?;
    kubectl(&["-n", &lab.namespace, "logs", name]).await
}

#[tokio::test]
async fn a_backend_answers_the_pods_of_its_experiment_alone() -> anyhow::Result<()> {
    scenario("policies", Needs::Nodes(1), async |lab: &Lab| {
        lab.apply(Fixture::long("guarded").manifest()).await?;
        let status = lab
            .reaches("guarded", "measuring", 180, |status| {
                status
                    .progress
                    .as_ref()
                    .is_some_and(|progress| progress.trials.done > 0)
            })
            .await?;
        ensure!(!status.backends.is_empty(), "{status:?}");
        let service = format!("-l {}=minio", names::LABEL_BACKEND);
        let get = format!("get service {service} -o jsonpath={{.items[0].metadata.name}}");
        let get: Vec<&str> = ["-n", lab.namespace.as_str()]
            .into_iter()
            .chain(get.split(' '))
            .collect();
        let endpoint = format!("http://{}.{}.svc:9000", kubectl(&get).await?, lab.namespace);
        let uid = kubectl(&[
            "-n",
            &lab.namespace,
            "get",
            "experiment",
            "guarded",
            "-o",
            "jsonpath={.metadata.uid}",
        ])
        .await?;
        let image = loadgen_image().await?;
        // The same question: from a pod of the experiment it is answered, with a refusal.
        lab.apply(&asking(
            "friend",
            &image,
            &endpoint,
            &json!({names::LABEL_EXPERIMENT_UID: uid}),
        ))
        .await?;
        lab.apply(&asking("stranger", &image, &endpoint, &json!({})))
            .await?;
        let (friend, stranger) = (said(lab, "friend").await?, said(lab, "stranger").await?);
        ensure!(
            friend.contains("InvalidAccessKeyId") || friend.contains("access key"),
            "the pod of the experiment: {friend}"
        );
        ensure!(
            !stranger.contains("access key") && !stranger.contains("AccessKey"),
            "a stranger was answered: {stranger}"
        );
        ensure!(!stranger.trim().is_empty(), "a stranger said nothing");
        kubectl(&[
            "-n",
            &lab.namespace,
            "delete",
            "pod",
            "friend",
            "stranger",
            "--now",
        ])
        .await?;
        lab.delete("guarded").await?;
        lab.nothing_left(&[]).await
    })
    .await
}

#[tokio::test]
async fn an_experiment_runs_where_nothing_is_let_in_or_out() -> anyhow::Result<()> {
    scenario("closed", Needs::Nodes(1), async |lab: &Lab| {
        let closed = json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "closed"},
            "spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}});
        lab.apply(&closed).await?;
        lab.apply(Fixture::short("within").manifest()).await?;
        // The operator hears of progress, and the report of the results.
        let status = lab
            .reaches("within", "measuring", 180, |status| {
                status.progress.as_ref().is_some_and(|progress| progress.trials.done > 0)
            })
            .await?;
        ensure!(status.completion_time.is_none(), "{status:?}");
        lab.reason("within", "Completed", 300).await?;
        lab.nothing_left(&["networkpolicy.networking.k8s.io/closed"]).await
    })
    .await
}
