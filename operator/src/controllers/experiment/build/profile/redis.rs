//! Redis, which keeps locks beside a backend. (Pure.)

use super::{Pods, Profile, Ready, known, words};
use crate::parts::frame::USER;
use bakeoff_crds::durability::{Durability, DurabilityClass};
use bakeoff_crds::names;
use bakeoff_crds::spec::{Member, Resources};
use bakeoff_crds::upkeep::Upkeep;
use std::collections::BTreeMap;

/// Keeps locks beside a backend. In memory alone: a lock that outlives its server would be one more thing that
/// the races do not speak of. Kubernetes puts the password into the command line, so that no manifest has it.
pub(super) fn profile() -> Profile {
    let mut command = words("redis-server --port 6379 --dir /tmp --appendonly no --save");
    command.extend(["", "--requirepass", "$(BAKEOFF_PASSWORD)"].map(str::to_owned));
    let pods = Pods {
        member: Member::Server,
        port_name: "redis",
        port: 6_379,
        metrics: None,
        prepare: None,
        command,
        args: Vec::new(),
        starter: None,
        env: known([("HOME", "/tmp")]),
        secret_env: vec![("BAKEOFF_PASSWORD".into(), names::SECRET_SECRET_ACCESS_KEY)],
        ready: Ready::Open,
        user: USER,
        data: None,
        resources: Some(Resources {
            cpu: "250m".into(),
            memory: "128Mi".into(),
        }),
        file: None,
        setter: None,
    };
    Profile {
        scheme: "redis",
        region: "us-east-1".into(),
        bucket: "",
        settings: BTreeMap::new(),
        durability: Durability {
            class: Some(DurabilityClass::Memory),
            text: "in memory: locks are lost with the server".to_owned(),
            ..Durability::default()
        },
        // It is no backend, so no report weighs it.
        upkeep: Upkeep::default(),
        caveats: Vec::new(),
        pods,
        others: Vec::new(),
    }
}
