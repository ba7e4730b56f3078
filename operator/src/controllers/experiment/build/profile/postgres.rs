//! Postgres: how it is initialised, started and set. (Pure.)

use super::{Pods, Prepare, Profile, Ready, known, upkeep, words};
use bakeoff_crds::durability::Durability;
use bakeoff_crds::names;
use bakeoff_crds::spec::{Equipment, Member, Release, Topology};
use std::collections::BTreeMap;

/// The user of Postgres' public images; initdb wants one that has a name.
const POSTGRES_USER: i64 = 999;
/// The database that is measured.
const DATABASE: &str = "postgres";

/// Makes the data directory on a fresh volume, and only there: a restarted pod finds its data. It is made
/// beside and renamed, so that one that was cut off is not taken for whole.
const INITDB: &str = "set -eu; umask 077; test ! -e /data/pgdata || exit 0; rm -rf /data/new; \
    printf %s \"$BAKEOFF_PASSWORD\" >/tmp/password; \
    initdb --pgdata=/data/new --username=\"$BAKEOFF_USER\" --pwfile=/tmp/password --auth-host=scram-sha-256 \
    --auth-local=scram-sha-256 --data-checksums --encoding=UTF8 --locale=C; rm /tmp/password; \
    echo 'host all all all scram-sha-256' >>/data/new/pg_hba.conf";
const INITDB_ENDS: &str = "; mv /data/new /data/pgdata";

/// Lets standbys in: `all` databases are not what they connect to.
const LET_STANDBYS_IN: &str =
    "; echo 'host replication all all scram-sha-256' >>/data/new/pg_hba.conf";

/// Where a copy of Postgres' log is, for its own process to read: beside the data, where it costs no room of theirs.
const SERVER_LOG: &str = "/tmp/server.log";

/// Starts Postgres with its log on standard error and in [`SERVER_LOG`]. The shell stays: were Postgres the first
/// process of the container, its end would be that of `tee` as well, and its last words, which say why, would be lost.
/// Either signal asks for a fast stop, so that open connections do not hold it up. A file that is full, at 256 MiB, is
/// written no further; standard error is.
const LOGGED: &str = "rm -f /tmp/log.fifo; mkfifo /tmp/log.fifo || exit; \
    (trap '' XFSZ; ulimit -f 524288; exec tee -a /tmp/server.log) </tmp/log.fifo >&2 & copy=$!; \
    \"$0\" \"$@\" 2>/tmp/log.fifo & server=$!; \
    trap 'kill -INT $server' INT TERM; \
    while :; do wait $server; code=$?; kill -0 $server 2>/dev/null || break; done; \
    wait $copy; exit $code";

/// What the operator sets, before the settings of the spec, among which is how many connections it takes: that follows from the
/// workloads. A quarter of the memory for shared buffers is
/// the manual's advice for a dedicated server; everything is logged and counted that the experiments read.
fn postgres_settings(release: &Release, memory: i64) -> BTreeMap<String, String> {
    let buffers = (memory / 4 / (1 << 20)).max(16);
    let own = [
        ("shared_buffers", format!("{buffers}MB")),
        (
            "shared_preload_libraries",
            "pg_stat_statements,auto_explain".to_owned(),
        ),
        ("log_autovacuum_min_duration", "0".to_owned()),
        ("log_checkpoints", "on".to_owned()),
        // The generators read it: `pg::log`.
        ("log_line_prefix", "%n [%p] ".to_owned()),
        (names::SERVER_LOG_SETTING, SERVER_LOG.to_owned()),
        ("track_io_timing", "on".to_owned()),
        ("listen_addresses", "*".to_owned()),
        ("unix_socket_directories", "/tmp".to_owned()),
    ];
    let mut settings: BTreeMap<String, String> =
        own.map(|(name, value)| (name.to_owned(), value)).into();
    settings.extend(release.settings.clone());
    settings
}

/// Memory of each pod, bytes: each of several gets the same.
fn memory(release: &Release, equipment: &Equipment) -> i64 {
    let shares = release.topology.shares(equipment).unwrap_or_default();
    let first = shares.first().map(|share| &share.resources);
    let memory = &first.unwrap_or(&equipment.resources).memory;
    memory.units().unwrap_or(0)
}

pub(super) fn profile(release: &Release, equipment: &Equipment) -> Profile {
    let common = postgres_settings(release, memory(release, equipment));
    let mut settings = common.clone();
    let mut others = Vec::new();
    let mut initdb = INITDB.to_owned();
    if let Topology::Standbys { standbys } = release.topology {
        // From the start: nobody commits anything before the standbys are there.
        settings.insert("synchronous_standby_names".to_owned(), all_of(standbys));
        initdb.push_str(LET_STANDBYS_IN);
        others.push(standby(&common));
    }
    initdb.push_str(INITDB_ENDS);
    let durability = Durability::of_postgres(|name| settings.get(name).map(String::as_str));
    let pods = Pods {
        prepare: Some(Prepare::Server(
            ["sh", "-c", &initdb].map(str::to_owned).into(),
        )),
        secret_env: vec![
            ("BAKEOFF_USER".into(), names::SECRET_ACCESS_KEY_ID),
            ("BAKEOFF_PASSWORD".into(), names::SECRET_SECRET_ACCESS_KEY),
        ],
        ..pods(Member::Server, &settings)
    };
    Profile {
        scheme: "postgres",
        region: "us-east-1".into(),
        bucket: DATABASE,
        settings,
        durability,
        upkeep: upkeep(
            "PostgreSQL",
            "PostgreSQL Global Development Group: minor releases for five years of each major version",
            "postgresql.org, Versioning Policy",
        ),
        caveats: Vec::new(),
        pods,
        others,
    }
}

/// Commits wait for all of so many standbys, which are called as their pods are.
fn all_of(standbys: i32) -> String {
    let names = (0..standbys).map(|index| format!("\"$(STANDBYS)-{index}\""));
    let names = names.collect::<Vec<_>>().join(", ");
    format!("FIRST {standbys} ({names})")
}

/// A standby has the settings of the primary, and so no fewer connections and processes, which it would not start with. Where the primary
/// is stands in the data that are copied from it; who it is, the environment says to libpq.
fn standby(settings: &BTreeMap<String, String>) -> Pods {
    let copied =
        "standby --primary $(SERVERS)-0.$(DOMAIN):5432 --into /data/pgdata --name $(POD_NAME)";
    Pods {
        prepare: Some(Prepare::Loadgen(words(copied))),
        secret_env: vec![
            ("PGUSER".into(), names::SECRET_ACCESS_KEY_ID),
            ("PGPASSWORD".into(), names::SECRET_SECRET_ACCESS_KEY),
        ],
        ..pods(Member::Standby, settings)
    }
}

/// A server with these settings over the data that are there.
fn pods(member: Member, settings: &BTreeMap<String, String>) -> Pods {
    let mut command = words("postgres -D /data/pgdata");
    for (name, value) in settings {
        command.push("-c".to_owned());
        command.push(format!("{name}={value}"));
    }
    Pods {
        member,
        port_name: "postgres",
        port: 5_432,
        metrics: None,
        prepare: None,
        command,
        args: Vec::new(),
        starter: Some(LOGGED),
        env: known([("HOME", "/tmp"), ("LC_ALL", "C"), ("TZ", "UTC")]),
        secret_env: Vec::new(),
        ready: Ready::Open,
        user: POSTGRES_USER,
        data: Some("/data".into()),
        resources: None,
        file: None,
        setter: None,
    }
}
