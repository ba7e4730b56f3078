//! Clusters with rules about pods: taints, classes, ids of a platform, containers that others put into every pod.

use anyhow::ensure;
use bakeoff_e2e::{Fixture, Lab, Needs, SYSTEM, kubectl, kubectl_with, scenario, standing};
use serde_json::{Value, json};

fn short(name: &str) -> Fixture {
    Fixture::short(name).set("/spec/trials/blocks", json!(2))
}

/// Makes these objects, and removes them again, the last one first, whatever happened.
async fn with_objects<F>(objects: &[Value], body: F) -> anyhow::Result<()>
where
    F: AsyncFnOnce() -> anyhow::Result<()>,
{
    for object in objects {
        kubectl_with(&["apply", "-f", "-"], &object.to_string()).await?;
    }
    let result = body().await;
    for object in objects.iter().rev() {
        let delete = ["delete", "--ignore-not-found", "-f", "-"];
        kubectl_with(&delete, &object.to_string()).await?;
    }
    result
}

/// The image of the load generator, as the operator was told.
pub async fn loadgen_image() -> anyhow::Result<String> {
    let labels = "app.kubernetes.io/component=operator";
    let path = "jsonpath={.items[0].spec.template.spec.containers[0].env[?(@.name==\"LOADGEN_IMAGE\")].value}";
    let get = ["-n", SYSTEM, "get", "deployment", "-l", labels, "-o", path];
    kubectl(&get).await
}

/// A policy over the pods of the namespace of the lab, and its binding.
fn pod_policy(lab: &Lab, kind: &str, version: &str, spec: &Value) -> [Value; 2] {
    let name = lab.namespace.as_str();
    let api = format!("admissionregistration.k8s.io/{version}");
    let rules = json!([{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}]);
    let mut policy =
        json!({"apiVersion": api, "kind": kind, "metadata": {"name": name}, "spec": spec});
    policy["spec"]["matchConstraints"] = json!({"resourceRules": rules});
    policy["spec"]["failurePolicy"] = json!("Fail");
    let here = json!({"matchLabels": {"kubernetes.io/metadata.name": name}});
    let mut binding = json!({"apiVersion": api, "kind": format!("{kind}Binding"), "metadata": {"name": name},
        "spec": {"policyName": name, "matchResources": {"namespaceSelector": here}}});
    if kind.starts_with("Validating") {
        binding["spec"]["validationActions"] = json!(["Deny"]);
    }
    [policy, binding]
}

/// Waits until a policy is in force, a moment after it was taken: what the API server would make of an object, or why it would not.
pub async fn would_make(
    lab: &Lab,
    object: &Value,
    tells: impl Fn(Result<&str, &str>) -> bool,
) -> anyhow::Result<()> {
    let create = "create --dry-run=server -o json -f -";
    let mut arguments = vec!["-n", lab.namespace.as_str()];
    arguments.extend(create.split(' '));
    lab.until("the policy", 60, async || {
        let answer = kubectl_with(&arguments, &object.to_string()).await;
        let answer = answer.map_err(|refusal| format!("{refusal:#}"));
        Ok(tells(answer.as_deref().map_err(String::as_str)))
    })
    .await
}

/// The same of a policy over pods.
async fn in_force(lab: &Lab, tells: impl Fn(Result<&str, &str>) -> bool) -> anyhow::Result<()> {
    let security = json!({"runAsNonRoot": true, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}});
    let container = json!({"name": "asks", "image": "asks", "securityContext":
        {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}});
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "asks"},
        "spec": {"securityContext": security, "containers": [container]}});
    would_make(lab, &pod, tells).await
}

#[tokio::test]
async fn a_tainted_node_is_named_and_tolerated() -> anyhow::Result<()> {
    scenario("taint", Needs::Nodes(1), async |lab: &Lab| {
        let taint = ["taint", "node", lab.node()?, "--overwrite"];
        kubectl(&[&taint[..], &["dedicated=bench:NoSchedule"]].concat()).await?;
        let result = async {
            lab.apply(short("stranger").manifest()).await?;
            let status = lab.reason("stranger", "NoNodes", 60).await?;
            let (_, message) = standing(&status);
            let words = ["taint dedicated=bench:NoSchedule", "equipment.tolerations"];
            ensure!(words.iter().all(|word| message.contains(word)), "{message}");
            lab.nothing_left(&[]).await?;
            lab.delete("stranger").await?;
            let tolerations =
                json!([{"key": "dedicated", "value": "bench", "effect": "NoSchedule"}]);
            let guest = short("guest").set("/spec/equipment/tolerations", tolerations);
            lab.apply(guest.manifest()).await?;
            lab.ended("guest", "Completed", 180).await.map(drop)
        }
        .await;
        kubectl(&[&taint[..3], &["dedicated-"]].concat()).await?;
        result
    })
    .await
}

#[tokio::test]
async fn a_class_that_does_not_exist_is_refused_before_anything_is_made() -> anyhow::Result<()> {
    scenario("classes", Needs::Nodes(1), async |lab: &Lab| {
        for (name, field, reason) in [
            (
                "storage",
                "/spec/equipment/storage/storageClassName",
                "StorageClassMissing",
            ),
            (
                "priority",
                "/spec/equipment/priorityClassName",
                "PriorityClassMissing",
            ),
        ] {
            let fixture = short(name)
                .set("/spec/equipment/storage", json!({"size": "1Gi"}))
                .set(field, json!("nowhere"));
            lab.apply(fixture.manifest()).await?;
            let status = lab.reason(name, reason, 60).await?;
            let (_, message) = standing(&status);
            ensure!(message.contains("nowhere does not exist"), "{message}");
            lab.nothing_left(&[]).await?;
        }
        // It is looked for again, and the experiment begins once it is there.
        let class = json!({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass",
            "metadata": {"name": "nowhere"}, "value": 1000});
        with_objects(&[class], async || {
            lab.ended("priority", "Completed", 240).await.map(drop)
        })
        .await
    })
    .await
}

#[tokio::test]
async fn pods_run_under_the_ids_of_the_platform_where_it_wants_so() -> anyhow::Result<()> {
    scenario("ids", Needs::Nodes(1), async |lab: &Lab| {
        let allowed = "!has(object.spec.securityContext.runAsUser) || object.spec.securityContext.runAsUser >= 1000680000";
        let spec = json!({"validations": [{"expression": allowed, "message": "user ids are the platform's"}]});
        let policy = pod_policy(lab, "ValidatingAdmissionPolicy", "v1", &spec);
        with_objects(&policy, async || {
            in_force(lab, |pod| pod.is_err_and(|why| why.contains("are the platform's"))).await?;
            lab.apply(short("fixed").manifest()).await?;
            let told = lab.reason("fixed", "FailedCreate", 120).await?;
            let (_, message) = standing(&told);
            ensure!(message.contains("user ids are the platform's"), "{message}");
            lab.delete("fixed").await?;
            let platform = json!({"mode": "Platform"});
            let own = short("platform").set("/spec/equipment/securityContext", platform);
            lab.apply(own.manifest()).await?;
            lab.ended("platform", "Completed", 180).await.map(drop)
        })
        .await
    })
    .await
}

/// As a service mesh does that nobody told to leave these pods alone: the container comes before ours and never ends.
#[tokio::test]
async fn a_container_that_others_put_into_every_pod_holds_nothing_up() -> anyhow::Result<()> {
    scenario("stranger", Needs::Nodes(1), async |lab: &Lab| {
        let security = "Object.spec.containers.securityContext{allowPrivilegeEscalation: false, \
            capabilities: Object.spec.containers.securityContext.capabilities{drop: ['ALL']}}";
        let image = loadgen_image().await?;
        let proxy = format!(
            "[JSONPatch{{op: 'add', path: '/spec/containers/0', value: Object.spec.containers{{name: 'aa-proxy', \
             image: '{image}', args: ['null-s3', '--listen', '127.0.0.1:15999'], securityContext: {security}}}}}]"
        );
        let spec = json!({"reinvocationPolicy": "Never",
            "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": proxy}}]});
        let policy = pod_policy(lab, "MutatingAdmissionPolicy", "v1beta1", &spec);
        with_objects(&policy, async || {
            in_force(lab, |pod| pod.is_ok_and(|pod| pod.contains("aa-proxy"))).await?;
            lab.apply(short("beside").manifest()).await?;
            let status = lab.reason("beside", "Running", 120).await?;
            ensure!(
                status.backends.iter().all(|backend| backend.image_id.contains("minio")),
                "{:?}",
                status.backends
            );
            let pods = kubectl(&["-n", &lab.namespace, "get", "pods", "-o", "name", "--output=jsonpath={.items[*].spec.containers[*].name}"]).await?;
            ensure!(pods.contains("aa-proxy"), "the policy did nothing: {pods}");
            lab.ended("beside", "Completed", 240).await.map(drop)
        })
        .await
    })
    .await
}
