//! The servers, started by the command lines of their pods where there is IPv6 alone. (Tests, with real programs; the stage
//! `integration` runs them: root, `ip`, and the programs in BAKEOFF_MINIO and its kind.)

use super::backend;
use super::profile::profile;
use super::server_names;
use super::server_pod::Ground;
use super::tests::settings_with;
use crate::parts::frame::PREPARATION;
use bakeoff_crds::Experiment;
use bakeoff_crds::names;
use bakeoff_rules::validate::{self, Known, Remains, Validated};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Container;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::io::{Read as _, Write as _};
use std::net::{Ipv6Addr, TcpStream};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const KEY: &str = "bakeoff-test-key";
const SECRET: &str = "bakeoff-test-secret";
/// How long all pods of a server may take to be ready, on a machine that does other things as well.
const PATIENCE: Duration = Duration::from_secs(240);

/// The address of a pod in the network of the test.
fn address(pod: usize) -> String {
    format!("fd00:ba::{:x}", 0x10 + pod)
}

fn run(program: &str, arguments: &str) {
    let ended = Command::new(program)
        .args(arguments.split_whitespace())
        .output()
        .unwrap();
    assert!(
        ended.status.success(),
        "{program} {arguments}: {}",
        String::from_utf8_lossy(&ended.stderr)
    );
}

/// A bridge with a namespace for each pod, in which nothing has an address of IPv4; all of it goes with this.
struct Network {
    name: String,
    pods: usize,
    folder: PathBuf,
    programs: Vec<Child>,
}

impl Network {
    fn new(name: &str, hosts: &[String]) -> Self {
        let name = format!("bakeoff6-{}-{name}", std::process::id());
        let folder = std::env::temp_dir().join(&name);
        std::fs::create_dir_all(&folder).unwrap();
        let own = Self {
            name,
            pods: hosts.len(),
            folder,
            programs: Vec::new(),
        };
        let hub = &own.name;
        run("ip", &format!("netns add {hub}"));
        run("ip", &format!("-n {hub} link set lo up"));
        run("ip", &format!("-n {hub} link add br0 type bridge"));
        run(
            "ip",
            &format!("-n {hub} addr add fd00:ba::1/64 dev br0 nodad"),
        );
        run("ip", &format!("-n {hub} link set br0 up"));
        let mut table = "127.0.0.1 localhost\n::1 localhost\n".to_owned();
        for (pod, host) in hosts.iter().enumerate() {
            table.push_str(&format!("{} {host}\n", address(pod)));
        }
        for pod in 0..own.pods {
            let space = own.space(pod);
            run("ip", &format!("netns add {space}"));
            run(
                "ip",
                &format!("-n {hub} link add v{pod} type veth peer name eth0 netns {space}"),
            );
            run("ip", &format!("-n {hub} link set v{pod} master br0 up"));
            run("ip", &format!("-n {space} link set lo up"));
            run(
                "ip",
                &format!("-n {space} addr add {}/64 dev eth0 nodad", address(pod)),
            );
            run("ip", &format!("-n {space} link set eth0 up"));
            // `ip netns exec` lays it over the machine's own.
            let own = Path::new("/etc/netns").join(&space);
            std::fs::create_dir_all(&own).unwrap();
            std::fs::write(own.join("hosts"), &table).unwrap();
        }
        own
    }

    fn space(&self, pod: usize) -> String {
        format!("{}-{pod}", self.name)
    }

    /// The command of a container, in the namespace of its pod.
    fn command(&self, pod: usize, container: &Container, own: &Own<'_>) -> Command {
        let folder = self.folder.join(pod.to_string());
        for sub in ["data", "tmp"] {
            std::fs::create_dir_all(folder.join(sub)).unwrap();
        }
        // A pod has these to itself; here they are folders of its own, which all pods know by one name: servers of MinIO compare theirs.
        let root = self.folder.join("root");
        std::fs::create_dir_all(&root).unwrap();
        let placed = |text: &str| {
            let text = text.replace("/data", "@data").replace("/tmp", "@tmp");
            let at = root.display();
            text.replace("@data", &format!("{at}/data"))
                .replace("@tmp", &format!("{at}/tmp"))
        };
        let mut env = vec![("PATH".to_owned(), own.path.clone())];
        for variable in container.env.iter().flatten() {
            let from = variable.value_from.as_ref();
            let key = from.and_then(|from| from.secret_key_ref.as_ref());
            let value = match (variable.name.as_str(), key.map(|key| key.key.as_str())) {
                ("POD_IP", _) => address(pod),
                ("POD_NAME", _) => own.name.to_owned(),
                (_, Some(names::SECRET_ACCESS_KEY_ID)) => KEY.to_owned(),
                (_, Some(_)) => SECRET.to_owned(),
                _ => placed(variable.value.as_deref().unwrap_or_default()),
            };
            env.push((variable.name.clone(), value));
        }
        let line = container.command.iter().flatten().map(|word| {
            let mut word = placed(word);
            for (name, value) in &env {
                word = word.replace(&format!("$({name})"), value);
            }
            word
        });
        let mut command = Command::new("ip");
        let place = format!(
            "mount --bind {} {} && exec \"$0\" \"$@\"",
            folder.display(),
            root.display()
        );
        command.args(["netns", "exec", &self.space(pod), "sh", "-c", &place]);
        if own.as_nobody {
            run("chown", &format!("-R nobody {}", self.folder.display()));
            command.args(["setpriv", "--reuid", "nobody", "--clear-groups"]);
        }
        command.args(line).envs(env).current_dir(&folder);
        command
    }

    fn start(&mut self, pod: usize, container: &Container, own: &Own<'_>) {
        let log = std::fs::File::create(self.folder.join(format!("{pod}.log"))).unwrap();
        let mut command = self.command(pod, container, own);
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn();
        self.programs.push(child.unwrap());
    }

    fn log(&self, pod: usize) -> String {
        std::fs::read_to_string(self.folder.join(format!("{pod}.log"))).unwrap_or_default()
    }

    /// Does something on a thread that is in the bridge's namespace.
    fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let path = format!("/run/netns/{}", self.name);
        std::thread::scope(|scope| {
            let thread = scope.spawn(move || {
                let space = std::fs::File::open(path).unwrap();
                move_into_link_name_space(space.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
                work()
            });
            thread.join().unwrap()
        })
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for pod in 0..self.pods {
            // The programs and what they began.
            let listed = Command::new("ip")
                .args(["netns", "pids", &self.space(pod)])
                .output();
            if let Ok(listed) = listed {
                for pid in String::from_utf8_lossy(&listed.stdout).split_whitespace() {
                    let _ = Command::new("kill").args(["-9", pid]).status();
                }
            }
        }
        for program in &mut self.programs {
            let _ = program.wait();
        }
        for pod in 0..self.pods {
            let space = self.space(pod);
            let _ = Command::new("ip").args(["netns", "del", &space]).status();
            let _ = std::fs::remove_dir_all(Path::new("/etc/netns").join(&space));
        }
        let _ = std::fs::remove_dir("/etc/netns");
        let _ = Command::new("ip")
            .args(["netns", "del", &self.name])
            .status();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// What is a pod's own.
struct Own<'a> {
    name: &'a str,
    path: String,
    as_nobody: bool,
}

/// The folders of the programs, as the stage names them.
fn path() -> String {
    let mut folders = Vec::new();
    for variable in [
        "BAKEOFF_MINIO",
        "BAKEOFF_WEED",
        "BAKEOFF_VERSITYGW",
        "BAKEOFF_REDIS",
    ] {
        let program = std::env::var(variable).unwrap_or_else(|_| panic!("{variable} is not set"));
        let folder = Path::new(&program).parent().unwrap();
        folders.push(folder.display().to_string());
    }
    let postgres = std::env::var("BAKEOFF_POSTGRES").expect("BAKEOFF_POSTGRES is not set");
    folders.push(format!("{postgres}/bin"));
    folders.push("/usr/sbin:/usr/bin:/sbin:/bin".to_owned());
    folders.join(":")
}

fn valid(backend: &Value, workload: &Value) -> Validated {
    let experiment: Experiment = serde_json::from_value(json!({
        "apiVersion": "bakeoff.dev/v1alpha1", "kind": "Experiment",
        "metadata": {"name": "c", "namespace": "lab", "uid": "0123abcd-0000-4000-8000-000000000000"},
        "spec": {
            "backends": [backend],
            "equipment": {"resources": {"cpu": "4", "memory": "4Gi"}, "storage": {"size": "8Gi"}},
            "workloads": [workload],
        },
    }))
    .unwrap();
    let settings = settings_with([
        ("minio.R1", "minio:1"),
        ("seaweedfs.4.48", "weed:1"),
        ("versitygw.1.8.0", "versitygw:1"),
        ("postgres.18.4", "postgres:1"),
        ("redis.7.0.15", "redis:1"),
    ]);
    match validate::check(Remains::of(&experiment).unwrap(), settings.offer()) {
        Known::Valid(valid) => valid,
        Known::Refused(_, refusal) => panic!("{refusal:?}"),
    }
}

/// One pod of a set: its name, and its containers.
struct Pod {
    name: String,
    host: String,
    prepare: Option<Container>,
    server: Container,
}

fn pods(sets: &[StatefulSet]) -> Vec<Pod> {
    let mut pods = Vec::new();
    for set in sets {
        let spec = set.spec.as_ref().unwrap();
        let template = spec.template.spec.as_ref().unwrap();
        let server = template.containers[0].clone();
        let domain = server.env.iter().flatten().find(|one| one.name == "DOMAIN");
        let domain = domain.and_then(|one| one.value.clone());
        let prepare = template.init_containers.iter().flatten();
        let prepare: Vec<_> = prepare.filter(|one| one.name == PREPARATION).collect();
        for index in 0..spec.replicas.unwrap_or(1) {
            let name = format!("{}-{index}", set.metadata.name.as_ref().unwrap());
            pods.push(Pod {
                host: domain
                    .as_ref()
                    .map_or_else(|| name.clone(), |domain| format!("{name}.{domain}")),
                prepare: prepare.first().map(|one| (*one).clone()),
                server: server.clone(),
                name,
            });
        }
    }
    pods
}

/// The answer to a request: its head and body; nothing while nobody answers.
fn asked(pod: usize, port: i32, request: &str) -> Option<String> {
    let ip: Ipv6Addr = address(pod).parse().unwrap();
    let port = u16::try_from(port).unwrap();
    let mut stream = TcpStream::connect((ip, port)).ok()?;
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    // A server that keeps the connection open has said what it had to say.
    let _ = stream.read_to_string(&mut answer);
    Some(answer)
}

fn get(pod: usize, port: i32, path: &str) -> Option<String> {
    let host = address(pod);
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: [{host}]:{port}\r\nConnection: close\r\n\r\n");
    asked(pod, port, &request)
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    let mut block = [0_u8; 64];
    block[..key.len()].copy_from_slice(key);
    let inner = Sha256::new()
        .chain_update(block.map(|byte| byte ^ 0x36))
        .chain_update(text)
        .finalize();
    let outer = Sha256::new().chain_update(block.map(|byte| byte ^ 0x5c));
    outer.chain_update(inner).finalize().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A signed PUT, as S3 takes it; its status.
fn put(pod: usize, port: i32, path: &str, body: &str) -> String {
    let now = jiff::Timestamp::now()
        .strftime("%Y%m%dT%H%M%SZ")
        .to_string();
    let day = &now[..8];
    let host = format!("[{}]:{port}", address(pod));
    let digest = "UNSIGNED-PAYLOAD";
    let canonical = format!(
        "PUT\n{path}\n\nhost:{host}\nx-amz-content-sha256:{digest}\nx-amz-date:{now}\n\nhost;x-amz-content-sha256;x-amz-date\n{digest}"
    );
    let scope = format!("{day}/us-east-1/s3/aws4_request");
    let text = format!(
        "AWS4-HMAC-SHA256\n{now}\n{scope}\n{}",
        hex(&Sha256::digest(&canonical))
    );
    let mut key = format!("AWS4{SECRET}").into_bytes();
    for part in [day, "us-east-1", "s3", "aws4_request"] {
        key = mac(&key, part);
    }
    let signature = hex(&mac(&key, &text));
    let request = format!(
        "PUT {path} HTTP/1.1\r\nHost: {host}\r\nx-amz-date: {now}\r\nx-amz-content-sha256: {digest}\r\n\
         Authorization: AWS4-HMAC-SHA256 Credential={KEY}/{scope}, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature={signature}\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    asked(pod, port, &request).unwrap_or_default()
}

/// Waits until it holds.
fn until(network: &Network, pod: usize, what: &str, mut holds: impl FnMut() -> bool + Send) {
    let deadline = Instant::now() + PATIENCE;
    while !network.within(&mut holds) {
        assert!(
            Instant::now() < deadline,
            "pod {pod}: {what}\n{}",
            network.log(pod)
        );
        std::thread::sleep(Duration::from_millis(250));
    }
}

/// Starts all servers of an experiment and has each pod answer at its address: its readiness, its metrics, and of a store an object.
fn answer(name: &str, backend: &Value, workload: &Value) {
    let valid = valid(backend, workload);
    let of = &valid.remains;
    let settings = settings_with([]);
    for (server_name, server) in valid.servers() {
        let profile = profile(&server.release, &of.spec.equipment);
        let ground = Ground {
            settings: &settings,
            nodes: &[],
        };
        let sets = backend::stateful_sets(of, (server_name, server), &profile, ground);
        let pods = pods(&sets);
        let hosts: Vec<String> = pods.iter().map(|pod| pod.host.clone()).collect();
        let mut network = Network::new(&format!("{name}-{}", server_name.as_str()), &hosts);
        for (index, pod) in pods.iter().enumerate() {
            let own = Own {
                name: &pod.name,
                path: path(),
                // Postgres refuses to be root; nobody else may look where its programs are.
                as_nobody: profile.scheme == "postgres",
            };
            if let Some(prepare) = &pod.prepare {
                let mut command = network.command(index, prepare, &own);
                let ended = command.output().unwrap();
                assert!(ended.status.success(), "{ended:?}");
            }
            network.start(index, &pod.server, &own);
        }
        let of_set = |pod: &Pod| {
            let sort = profile.all_pods().find(|sort| {
                let set = server_names::set_name(of, server_name, sort.member);
                pod.name.starts_with(&format!("{set}-"))
            });
            sort.unwrap()
        };
        for (index, pod) in pods.iter().enumerate() {
            let sort = of_set(pod);
            let port = sort.port;
            match &sort.ready {
                super::profile::Ready::Http(path) => until(&network, index, path, || {
                    get(index, port, path).is_some_and(|answer| answer.starts_with("HTTP/1.1 200"))
                }),
                super::profile::Ready::Open => until(&network, index, "its port", || {
                    let ip: Ipv6Addr = address(index).parse().unwrap();
                    TcpStream::connect((ip, u16::try_from(port).unwrap())).is_ok()
                }),
            }
            if let Some((port, path)) = &sort.metrics {
                until(&network, index, path, || {
                    get(index, *port, path).is_some_and(|answer| answer.contains("# TYPE"))
                });
            }
        }
        if profile.scheme == "http" {
            let port = profile.pods.port;
            let made = |path: &'static str, body: &'static str| {
                until(&network, 0, path, move || {
                    put(0, port, path, body).starts_with("HTTP/1.1 200")
                });
            };
            made("/bakeoff", "");
            made("/bakeoff/object", "what is written");
        }
    }
}

fn puts() -> Value {
    json!({"name": "put", "smallObjectPut": {"load": {"closed": {"concurrency": [1]}}}})
}

#[test]
#[ignore = "needs real servers: dev/test integration"]
fn postgres_and_its_locks_answer_where_there_is_ipv6_alone() {
    let race = json!({"name": "race", "casRace": {"lock": {"redis": {"version": "7.0.15"}}}});
    let backend = json!({"name": "pg", "postgres": {"version": "18.4"}});
    answer("pg", &backend, &race);
}

#[test]
#[ignore = "needs real servers: dev/test integration"]
fn minio_answers_where_there_is_ipv6_alone() {
    let one = json!({"name": "m", "minio": {"version": "R1"}});
    answer("minio", &one, &puts());
    let four = json!({"name": "m", "minio": {"version": "R1", "servers": 4}});
    answer("minio4", &four, &puts());
}

#[test]
#[ignore = "needs real servers: dev/test integration"]
fn seaweedfs_answers_where_there_is_ipv6_alone() {
    let one = json!({"name": "s", "seaweedfs": {"version": "4.48", "durability": "Flushed"}});
    answer("weed", &one, &puts());
    let roles = json!({"name": "s", "seaweedfs": {"version": "4.48", "volumeServers": 3, "masters": 3, "replication": "001"}});
    answer("weed7", &roles, &puts());
}

#[test]
#[ignore = "needs real servers: dev/test integration"]
fn versitygw_answers_where_there_is_ipv6_alone() {
    answer(
        "vgw",
        &json!({"name": "v", "versitygw": {"version": "1.8.0"}}),
        &puts(),
    );
}
