//! What is made for servers that stand beside a backend.

use super::backend;
use super::server_names;
use super::server_pod::Ground;
use super::{guard, jobs, profile::profile, run_plan};
use crate::controllers::experiment::facts::Observed;
use crate::settings::Settings;
use bakeoff_crds::spec::{External, IdentityMode};
use bakeoff_crds::{Experiment, names};
use bakeoff_rules::catalogue::Catalogue;
use bakeoff_rules::validate::{self, Known, Refusal, Remains, Server, ServerName, Validated};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::api::networking::v1::NetworkPolicyEgressRule;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::{Value, json};

fn settings() -> Settings {
    settings_with([
        ("postgres.18.4", "postgres:18.4"),
        ("redis.7.0.15", "redis:7.0.15"),
    ])
}

pub fn settings_with<const N: usize>(images: [(&str, &str); N]) -> Settings {
    let images = images.map(|(key, image)| (key.to_owned(), image.to_owned()));
    Settings {
        catalogue: Catalogue::new(images),
        ..crate::settings::sample()
    }
}

fn experiment(backend: Value, race: Value) -> Experiment {
    serde_json::from_value(json!({
        "apiVersion": "bakeoff.dev/v1alpha1", "kind": "Experiment",
        "metadata": {"name": "a2", "namespace": "lab", "uid": "0123abcd-0000-4000-8000-000000000000"},
        "spec": {"backends": [backend], "workloads": [{"name": "race", "casRace": race}]},
    }))
    .unwrap()
}

/// The StatefulSet of a server of one pod.
pub fn only_set(
    of: &Remains,
    (name, server): (ServerName<'_>, &Server),
    settings: &Settings,
) -> StatefulSet {
    let profile = profile(&server.release, &of.spec.equipment);
    let ground = Ground {
        settings,
        nodes: &[],
    };
    let mut sets = backend::stateful_sets(of, (name, server), &profile, ground);
    assert_eq!(sets.len(), 1);
    sets.remove(0)
}

pub fn check(experiment: &Experiment) -> Result<Validated, Refusal> {
    match validate::check(Remains::of(experiment).unwrap(), settings().offer()) {
        Known::Valid(valid) => Ok(valid),
        Known::Refused(_, refusal) => Err(refusal),
    }
}

fn valid(lock: Value) -> Result<Validated, Refusal> {
    let backend = json!({"name": "lock", "postgres": {"version": "18.4"}});
    check(&experiment(backend, json!({"lock": lock})))
}

#[test]
fn a_lock_in_a_table_provisions_nothing_more() {
    for lock in [json!(null), json!({"table": {}})] {
        let valid = valid(lock).unwrap();
        assert!(valid.lock.is_none());
        assert_eq!(valid.servers().count(), 1);
        assert_eq!(jobs::credential_folders(&valid.remains).len(), 2);
    }
}

#[test]
fn a_lock_in_redis_is_provisioned_beside_the_backend_and_keeps_nothing() {
    // The name of the backend is chosen so that it could be mistaken.
    let valid = valid(json!({"redis": {"version": "7.0.15"}})).unwrap();
    let lock = valid.lock.as_ref().unwrap();
    let servers: Vec<&str> = valid.servers().map(|(name, _)| name.as_str()).collect();
    assert_eq!(servers, ["lock", names::LOCK_SERVER]);
    let of = &valid.remains;
    let profile = profile(&lock.release, &of.spec.equipment);
    let name = ServerName::Lock;
    let [service] = &backend::services(of, (name, lock), &profile)[..] else {
        panic!("several services")
    };
    let set = only_set(of, (name, lock), &settings());
    assert_eq!(service.metadata.name, set.metadata.name);
    assert_eq!(service.metadata.name.as_deref(), Some("a2-0123abcd-lock"));
    let spec = set.spec.unwrap();
    assert!(spec.volume_claim_templates.is_none());
    let pod = spec.template.spec.unwrap();
    let server = &pod.containers[0];
    assert_eq!(server.image.as_deref(), Some("redis:7.0.15"));
    let mounts = server.volume_mounts.as_ref().unwrap();
    assert!(mounts.iter().all(|mount| mount.mount_path == "/tmp"));
    let command = server.command.as_ref().unwrap();
    assert_eq!(command[command.len() - 1], "$(BAKEOFF_PASSWORD)");
    assert!(command.windows(2).any(|pair| pair == ["--save", ""]));
    let env = server.env.as_ref().unwrap();
    let password = env.iter().find(|env| env.name == "BAKEOFF_PASSWORD");
    let from = password.unwrap().value_from.as_ref().unwrap();
    let secret = server_names::credentials_name(of, name);
    assert_eq!(from.secret_key_ref.as_ref().unwrap().name, secret);
    assert_ne!(
        secret,
        server_names::credentials_name(of, ServerName::Backend("lock"))
    );
    // It is not evicted, and answers the experiment's own pods alone, as a backend does.
    let budget = guard::disruption_budget(&valid.remains).spec.unwrap();
    let three = k8s_openapi::apimachinery::pkg::util::intstr::IntOrString::Int(3);
    assert_eq!(budget.min_available, Some(three));
    let guarded = guard::backend_policy(&valid.remains)
        .spec
        .unwrap()
        .pod_selector;
    let labels = spec.template.metadata.unwrap().labels.unwrap();
    for (label, value) in guarded.unwrap().match_labels.unwrap() {
        assert_eq!(labels.get(&label), Some(&value), "{label}");
    }
}

#[test]
fn generators_are_told_where_the_lock_is_and_with_which_password() {
    let valid = valid(json!({"redis": {"version": "7.0.15"}})).unwrap();
    let plan = run_plan::run_plan(
        &valid,
        &settings(),
        &Observed::default(),
        Default::default(),
        0,
    );
    let lock = plan.lock.unwrap();
    assert_eq!(plan.backends.len(), 1, "it is no backend");
    assert_eq!(lock.endpoint, "redis://a2-0123abcd-lock.lab.svc:6379");
    assert_eq!(
        (lock.version.as_str(), lock.image.as_str()),
        ("7.0.15", "redis:7.0.15")
    );
    let folders = jobs::credential_folders(&valid.remains);
    assert_eq!(lock.credentials_dir, "/etc/bakeoff/credentials/lock.redis");
    let secret = folders["lock.redis"].secret.as_ref().unwrap();
    assert_eq!(secret.secret_name.as_deref(), Some("a2-0123abcd-lock-cred"));
    assert!(!lock.settings["command"].is_empty());
}

#[test]
fn an_unknown_version_of_the_lock_is_refused_with_the_known_ones() {
    let refusal = valid(json!({"redis": {"version": "6.2"}})).unwrap_err();
    assert_eq!(refusal.reason(), "UnknownVersion");
    let message = refusal.to_string();
    for part in [
        "casRace.lock",
        "redis version 6.2",
        "known: 7.0.15",
        "catalogue.redis",
    ] {
        assert!(message.contains(part), "{message}");
    }
    // What was made is removed all the same.
    let backend = json!({"name": "pg", "postgres": {"version": "18.4"}});
    let race = json!({"lock": {"redis": {"version": "6.2"}}});
    let salvaged = Remains::of(&experiment(backend, race)).unwrap();
    assert_eq!(salvaged.servers().len(), 2);
}

fn external(url: Value) -> Validated {
    let backend = json!({"name": "theirs", "postgresUrl": url});
    check(&experiment(backend, json!({}))).unwrap()
}

#[test]
fn of_an_external_server_nothing_is_provisioned_and_only_its_url_is_mounted() {
    let valid = external(json!({"secretRef": {"name": "db"}, "caKey": "authorities.pem"}));
    assert_eq!(valid.servers().count(), 0);
    assert!(
        valid.remains.has_external(),
        "its schema is dropped afterwards"
    );
    let folders = jobs::credential_folders(&valid.remains);
    let source = folders["theirs"].secret.as_ref().unwrap();
    assert_eq!(source.secret_name.as_deref(), Some("db"));
    let items = source.items.as_ref().unwrap();
    let files: Vec<_> = items
        .iter()
        .map(|item| (item.key.as_str(), item.path.as_str()))
        .collect();
    assert_eq!(files, [("url", "url"), ("authorities.pem", "ca.crt")]);
    let plan = run_plan::run_plan(
        &valid,
        &settings(),
        &Observed::default(),
        Default::default(),
        0,
    );
    let server = &plan.backends[0];
    assert_eq!(server.kind, bakeoff_crds::spec::BackendKind::Postgres);
    assert!(!server.provisioned);
    assert_eq!(
        (server.endpoint.as_str(), server.durability.text.as_str()),
        ("", "")
    );
    assert_eq!(
        server.prefix,
        "bakeoff/0123abcd-0000-4000-8000-000000000000"
    );
    assert!(server.caveats[0].contains("external server"));
    assert!(server.settings.is_empty(), "its URL says the mode");
}

#[test]
fn a_url_and_authorities_of_two_secrets_are_in_one_folder() {
    let valid = external(json!({
        "secretRef": {"name": "shop-app", "key": "uri"}, "sslMode": "verify-full", "caSecretRef": {"name": "shop-ca"},
    }));
    let folders = jobs::credential_folders(&valid.remains);
    assert!(folders["theirs"].secret.is_none());
    let sources = folders["theirs"].projected.as_ref().unwrap();
    let files: Vec<_> = sources
        .sources
        .iter()
        .flatten()
        .filter_map(|source| source.secret.as_ref())
        .flat_map(|secret| {
            let items = secret.items.iter().flatten();
            items.map(|item| (secret.name.as_str(), item.key.as_str(), item.path.as_str()))
        })
        .collect();
    let expected = [("shop-app", "uri", "url"), ("shop-ca", "ca.crt", "ca.crt")];
    assert_eq!(files, expected);
    let observed = Observed::default();
    let plan = run_plan::run_plan(&valid, &settings(), &observed, Default::default(), 0);
    assert_eq!(plan.backends[0].settings["sslmode"], "verify-full");
}

#[test]
fn a_secret_without_the_url_is_refused_with_the_command_that_makes_it() {
    let valid = external(json!({"secretRef": {"name": "db", "key": "dsn"}}));
    let with = |keys: Option<&[&str]>| {
        let mut observed = Observed::default();
        if let Some(keys) = keys {
            let keys = keys.iter().map(|key| (*key).to_owned()).collect();
            observed.secrets.insert("db".to_owned(), keys);
        }
        validate::surroundings(&valid, observed.surroundings()).unwrap_err()
    };
    let missing = with(None);
    assert_eq!(missing.reason(), "SecretMissing");
    let incomplete = with(Some(&["url"]));
    assert_eq!(incomplete.reason(), "SecretIncomplete");
    for refusal in [missing, incomplete] {
        let said = refusal.to_string();
        assert!(
            said.contains("create secret generic db --from-literal=dsn=…"),
            "{said}"
        );
    }
    // What comes next is the nodes.
    assert_eq!(with(Some(&["dsn"])).reason(), "NoNodes");
}

/// A replay of the trace of a ConfigMap, beside one of the results store.
fn replay() -> Validated {
    let workload = |name: &str, trace: Value| json!({"name": name, "replay": {"trace": trace, "speedPercent": [100]}});
    let mut experiment = experiment(
        json!({"name": "pg", "postgres": {"version": "18.4"}}),
        json!({}),
    );
    experiment.spec.workloads = serde_json::from_value(json!([
        workload("small", json!({"configMapRef": {"name": "loans"}})),
        workload("large", json!({"path": "bpic2012"})),
        workload("again", json!({"configMapRef": {"name": "loans"}})),
    ]))
    .unwrap();
    check(&experiment).unwrap()
}

#[test]
fn generators_alone_find_the_traces_of_config_maps() {
    let of = replay().remains;
    let pod = |job: k8s_openapi::api::batch::v1::Job| job.spec.unwrap().template.spec.unwrap();
    let run = pod(jobs::run(&of, &settings(), 0));
    let volumes = run.volumes.unwrap();
    let maps = volumes.iter().filter(|one| one.name.starts_with("trace-"));
    let maps: Vec<_> = maps
        .map(|one| one.config_map.clone().unwrap().name)
        .collect();
    assert_eq!(maps, ["loans"]);
    let container = &run.containers[0];
    let mounts = container.volume_mounts.iter().flatten();
    let mounts: Vec<_> = mounts.filter(|one| one.name == "trace-0").collect();
    assert_eq!(mounts.len(), 1);
    assert_eq!(mounts[0].mount_path, "/etc/bakeoff/traces/loans");
    assert_eq!(mounts[0].read_only, Some(true));
    let arguments = container.args.as_ref().unwrap();
    assert!(
        arguments
            .windows(2)
            .any(|pair| pair == ["--traces", jobs::TRACES])
    );
    let report = pod(jobs::report(&of, &settings(), 0));
    assert!(
        report
            .volumes
            .unwrap()
            .iter()
            .all(|one| !one.name.starts_with("trace-"))
    );
    assert!(
        !report.containers[0]
            .args
            .as_ref()
            .unwrap()
            .contains(&"--traces".to_owned())
    );
}

#[test]
fn a_trace_that_is_not_there_is_refused_with_the_command_that_makes_it() {
    let valid = replay();
    let with = |keys: Option<&[&str]>| {
        let mut observed = Observed::default();
        if let Some(keys) = keys {
            let keys = keys.iter().map(|key| (*key).to_owned()).collect();
            observed.config_maps.insert("loans".to_owned(), keys);
        }
        validate::surroundings(&valid, observed.surroundings()).unwrap_err()
    };
    let missing = with(None);
    assert_eq!(missing.reason(), "TraceMissing");
    let incomplete = with(Some(&["trace.json"]));
    assert_eq!(incomplete.reason(), "TraceIncomplete");
    assert!(
        incomplete
            .to_string()
            .contains("lacks the key events.csv.gz")
    );
    for refusal in [missing, incomplete] {
        let said = refusal.to_string();
        let command = "kubectl create configmap loans --from-file=FOLDER/trace.json --from-file=FOLDER/events.csv.gz";
        assert!(said.contains(command), "{said}");
    }
    assert_eq!(
        with(Some(&["events.csv.gz", "trace.json"])).reason(),
        "NoNodes"
    );
}

#[test]
fn postgres_is_started_by_a_script_that_hands_its_arguments_on() {
    let valid = valid(json!(null)).unwrap();
    let server = valid.backends[0].place.server().unwrap();
    let own = profile(&server.release, &valid.remains.spec.equipment);
    assert_eq!(own.pods.command[0], "postgres");
    assert!(
        own.pods
            .command
            .contains(&"log_line_prefix=%n [%p] ".to_owned())
    );
    let log = &own.settings[names::SERVER_LOG_SETTING];
    let script = own.pods.starter.unwrap();
    assert!(script.contains(&format!("tee -a {log})")), "{script}");
    // Kubernetes would put variables of its own in.
    assert!(!script.contains("$(") && !script.contains("$$"), "{script}");
    let name = ServerName::Backend("lock");
    let set = only_set(&valid.remains, (name, server), &settings());
    let pod = set.spec.unwrap().template.spec.unwrap();
    let command = pod.containers[0].command.clone().unwrap();
    assert_eq!(command[..3], ["sh", "-c", script]);
    assert_eq!(command[3..], own.pods.command);
    // The record has the server's own command line.
    let plan = run_plan::run_plan(
        &valid,
        &settings(),
        &Observed::default(),
        Default::default(),
        0,
    );
    let recorded = &plan.backends[0].settings["command"];
    assert!(
        recorded.starts_with("postgres -D /data/pgdata -c "),
        "{recorded}"
    );
}

#[test]
fn what_a_server_says_last_is_on_standard_error_and_in_its_log() {
    let valid = valid(json!(null)).unwrap();
    let server = valid.backends[0].place.server().unwrap();
    let own = profile(&server.release, &valid.remains.spec.equipment);
    let folder = std::env::temp_dir().join(format!("bakeoff-starter-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let place = folder.display().to_string();
    let script = own.pods.starter.unwrap().replace("/tmp", &place);
    // A restarted container finds what the one before it left.
    for times in 1..=2 {
        let ended = std::process::Command::new("sh")
            .args([
                "-c",
                &script,
                "sh",
                "-c",
                "printf '<%s>' \"$@\" >&2; exit 3",
                "x",
            ])
            .args(["-c", "log_line_prefix=%n [%p] ", "", "a'b\"c"])
            .output()
            .unwrap();
        let said = "<-c><log_line_prefix=%n [%p] ><><a'b\"c>";
        assert_eq!(String::from_utf8(ended.stderr).unwrap(), said);
        assert_eq!(ended.status.code(), Some(3));
        let log = std::fs::read_to_string(folder.join("server.log")).unwrap();
        assert_eq!(log, said.repeat(times));
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

/// The templates of all pods that an experiment may have.
fn templates(experiment: &Experiment, settings: &Settings) -> Vec<PodTemplateSpec> {
    let valid = check(experiment).unwrap();
    let of = &valid.remains;
    let jobs = [
        jobs::run(of, settings, 0),
        jobs::calibrate(of, settings, "bench-1"),
        jobs::report(of, settings, 0),
        jobs::cleanup(of, settings),
    ];
    let mut templates: Vec<_> = jobs.map(|job| job.spec.unwrap().template).into();
    for (name, server) in valid.servers() {
        let set = only_set(of, (name, server), settings);
        templates.push(set.spec.unwrap().template);
    }
    assert_eq!(templates.len(), 6);
    templates
}

fn with_equipment(equipment: Value) -> Experiment {
    let backend = json!({"name": "pg", "postgres": {"version": "18.4"}});
    let mut experiment = experiment(backend, json!({"lock": {"redis": {"version": "7.0.15"}}}));
    experiment.spec.equipment = serde_json::from_value(equipment).unwrap();
    experiment
}

#[test]
fn what_the_cluster_asks_of_pods_is_in_every_pod() {
    let experiment = with_equipment(json!({
        "nodeSelector": {"pool": "bench"},
        "tolerations": [{"key": "dedicated", "value": "bench", "effect": "NoSchedule"}],
        "priorityClassName": "measuring",
        "imagePullSecrets": [{"name": "mine"}, {"name": "ours"}],
        "podAnnotations": {"linkerd.io/inject": "enabled", "team": "storage"},
        "podLabels": {"team": "storage", "bakeoff.dev/role": "nothing"},
    }));
    let mut settings = settings();
    settings.pods = serde_json::from_value(json!({
        "imagePullSecrets": ["ours"], "annotations": {"team": "platform", "cost": "7"}, "labels": {"team": "platform"},
    }))
    .unwrap();
    for template in templates(&experiment, &settings) {
        let metadata = template.metadata.unwrap();
        let (labels, annotations) = (metadata.labels.unwrap(), metadata.annotations.unwrap());
        assert_eq!(labels["team"], "storage", "the experiment's own come first");
        assert_ne!(labels["bakeoff.dev/role"], "nothing", "but for ours");
        assert_eq!(labels["istio.io/dataplane-mode"], "none");
        let expected = [
            ("cost", "7"),
            ("team", "storage"),
            ("linkerd.io/inject", "enabled"),
            ("sidecar.istio.io/inject", "false"),
        ];
        for (key, value) in expected {
            assert_eq!(annotations[key], value, "{key}");
        }
        let pod = template.spec.unwrap();
        assert_eq!(pod.priority_class_name.as_deref(), Some("measuring"));
        let toleration = &pod.tolerations.unwrap()[0];
        assert_eq!(toleration.operator.as_deref(), Some("Equal"));
        assert_eq!(toleration.value.as_deref(), Some("bench"));
        let secrets = pod.image_pull_secrets.unwrap();
        let secrets: Vec<&str> = secrets.iter().map(|secret| secret.name.as_str()).collect();
        assert_eq!(secrets, ["ours", "mine"]);
    }
}

#[test]
fn user_ids_are_ours_or_those_of_the_platform() {
    let ids = |experiment: &Experiment, settings: &Settings| -> Vec<Option<i64>> {
        let templates = templates(experiment, settings).into_iter();
        templates
            .map(|template| {
                let security = template.spec.unwrap().security_context.unwrap();
                assert_eq!(security.run_as_non_root, Some(true));
                assert_eq!(security.run_as_user, security.fs_group);
                assert_eq!(security.run_as_user, security.run_as_group);
                security.run_as_user
            })
            .collect()
    };
    let mut platform = settings();
    platform.pods.identity = IdentityMode::Platform;
    let plain = with_equipment(json!({}));
    assert!(ids(&plain, &settings()).iter().all(Option::is_some));
    assert!(ids(&plain, &platform).iter().all(Option::is_none));
    let own = |mode: &str| with_equipment(json!({"securityContext": {"mode": mode}}));
    assert!(
        ids(&own("Platform"), &settings())
            .iter()
            .all(Option::is_none)
    );
    assert!(ids(&own("Fixed"), &platform).iter().all(Option::is_some));
}

#[test]
fn policies_say_who_may_reach_whom_also_where_nothing_is_let_out_by_default() {
    let of = &check(&with_equipment(json!({}))).unwrap().remains;
    let mut settings = settings();
    let from = |settings: &Settings| {
        let spec = guard::generator_policy(of, settings).spec.unwrap();
        spec.ingress.unwrap()[0].from.as_ref().unwrap().len()
    };
    assert_eq!(from(&settings), 2);
    settings.pods.monitoring_namespace = "monitoring".to_owned();
    assert_eq!(from(&settings), 3);
    let backends = guard::backend_policy(of).spec.unwrap();
    assert_eq!(backends.policy_types.unwrap(), ["Ingress", "Egress"]);
    let egress = backends.egress.unwrap();
    let own = |rule: &NetworkPolicyEgressRule| {
        let to = rule.to.as_ref().unwrap();
        to.iter().all(|peer| peer.pod_selector.is_some())
    };
    assert!(egress.len() == 1 && own(&egress[0]), "own pods alone");
    // The pods of one server find each other by name.
    let minio = json!({"name": "minio", "minio": {"version": "R1", "servers": 4}});
    let several = Remains::of(&experiment(minio, json!({}))).unwrap();
    let egress = guard::backend_policy(&several)
        .spec
        .unwrap()
        .egress
        .unwrap();
    assert!(egress.len() == 2 && own(&egress[0]));
    let asked = egress[1].ports.iter().flatten();
    let asked: Vec<_> = asked
        .map(|port| (port.protocol.as_deref(), port.port.clone()))
        .collect();
    // Those of the pods behind the Service: of CoreDNS, vcluster, OpenShift and Gardener.
    for number in [53, 1053, 5353, 8053] {
        for protocol in ["UDP", "TCP"] {
            let wanted = (Some(protocol), Some(IntOrString::Int(number)));
            assert!(asked.contains(&wanted), "{wanted:?} is not among {asked:?}");
        }
    }
    assert_eq!(asked.len(), 8);
    let out = guard::egress_policy(of).spec.unwrap();
    assert_eq!(out.egress.unwrap(), [Default::default()], "anywhere");
    let selector = out.pod_selector.unwrap();
    let roles = selector.match_expressions.unwrap()[0]
        .values
        .clone()
        .unwrap();
    assert_eq!(roles, ["generator", "report", "cleanup"]);
}

#[test]
fn an_external_bucket_is_reached_as_its_fields_say() {
    let backend = json!({"name": "theirs", "s3": {
        "endpoint": "https://[fd00::1]:9000", "bucket": "data", "pathStyle": true, "signPayload": true,
        "caKey": "authority.pem", "credentialsSecretRef": {"name": "keys"},
    }});
    let remains = Remains::of(&experiment(backend, json!({}))).unwrap();
    let (name, External::S3(s3)) = remains.externals().into_iter().next().unwrap() else {
        panic!("no S3 endpoint")
    };
    let (secret, keys) = s3.secret();
    assert_eq!((name, secret), ("theirs", "keys"));
    assert_eq!(keys, ["accessKeyId", "secretAccessKey", "authority.pem"]);
    // The whole Secret is mounted: the plan names the file.
    let folders = jobs::credential_folders(&remains);
    assert!(folders["theirs"].secret.as_ref().unwrap().items.is_none());
}

#[test]
fn the_results_store_of_the_chart_is_reached_as_its_values_say() {
    let valid = external(json!({"secretRef": {"name": "db"}}));
    let mut settings = settings();
    let plain = run_plan::store(&valid.remains, &settings);
    assert!(plain.path_style && plain.ca_key.is_none());
    let own = settings.results.as_mut().unwrap();
    own.path_style = false;
    own.ca_key = Some("ca.pem".to_owned());
    let theirs = run_plan::store(&valid.remains, &settings);
    assert!(!theirs.path_style);
    assert_eq!(theirs.ca_key.as_deref(), Some("ca.pem"));
}
