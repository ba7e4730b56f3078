//! Everything that differs between the programs that are provisioned: a new one is one more file and arm. (Pure.)

mod garage;
mod minio;
mod postgres;
mod redis;
mod s3_server;
mod seaweedfs;
mod versitygw;

use crate::parts::frame::USER;
use bakeoff_crds::durability::Durability;
use bakeoff_crds::spec::{Equipment, Member, Product, Release, Resources};
use bakeoff_crds::upkeep::Upkeep;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Words that the operator knows, or that a spec says.
pub type Words = Cow<'static, str>;

/// How a server says that it takes connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ready {
    /// This path answers 200.
    Http(Words),
    /// The port is open. Whether a signed or authenticated request is answered, the generators find out.
    Open,
}

/// What differs between the programs that are provisioned.
#[derive(Clone, Debug)]
pub struct Profile {
    /// The scheme of the address that is measured.
    pub scheme: &'static str,
    /// The region that requests to it are signed for.
    pub region: Words,
    /// The bucket or database that is measured.
    pub bucket: &'static str,
    /// Settings that differ from the server's defaults.
    pub settings: BTreeMap<String, String>,
    /// What "acknowledged" means there.
    pub durability: Durability,
    /// Its licence and who maintains it.
    pub upkeep: Upkeep,
    /// What stands beside every figure of it.
    pub caveats: Vec<Words>,
    /// The pods that clients talk to.
    pub pods: Pods,
    /// The other sorts of pods, of a server whose roles are apart.
    pub others: Vec<Pods>,
}

impl Profile {
    /// All sorts of its pods; clients talk to the first.
    pub fn all_pods(&self) -> impl Iterator<Item = &Pods> {
        [&self.pods].into_iter().chain(&self.others)
    }
}

/// What runs before a server, until it has ended well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Prepare {
    /// A command line, in the image of the server.
    Server(Vec<String>),
    /// Arguments of our own program, in its image. They may name the other pods, as the command line of the server may.
    Loadgen(Vec<String>),
}

/// One sort of the pods of a server, which are alike.
#[derive(Clone, Debug)]
pub struct Pods {
    /// What they are to the server.
    pub member: Member,
    /// The name of the port that is asked.
    pub port_name: &'static str,
    /// The port that is asked: by clients, or by the other pods.
    pub port: i32,
    /// The port and path of the Prometheus metrics, where it has them.
    pub metrics: Option<(i32, Words)>,
    /// What runs before the server, with the same volumes.
    pub prepare: Option<Prepare>,
    /// The command line; the image's own where it is empty. Of a server of several pods it may name the others: see
    /// [`super::server_pod::names_of_others`].
    pub command: Vec<String>,
    /// Arguments after it.
    pub args: Vec<String>,
    /// A script of the shell that starts the command line, which are its arguments.
    pub starter: Option<&'static str>,
    /// Environment variables in clear.
    pub env: Vec<(Words, Words)>,
    /// Environment variables from the credentials Secret: name and key.
    pub secret_env: Vec<(Words, &'static str)>,
    /// How it says that it is ready.
    pub ready: Ready,
    /// The numeric user that it runs as.
    pub user: i64,
    /// Where its volume is; none where it keeps nothing.
    pub data: Option<Words>,
    /// CPU and memory, where they are not a share of the equipment.
    pub resources: Option<Resources>,
    /// A file that it reads its settings from.
    pub file: Option<File>,
    /// What tells the running server a setting that no command line can, or has it join the others, and keeps the pod from being ready
    /// before.
    pub setter: Option<Setter>,
}

/// A file of settings. It is an annotation of the pod, which Kubernetes mounts as a file: no object of its own, and the manifest of the
/// pod shows it.
#[derive(Clone, Debug)]
pub struct File {
    /// The folder that it is mounted into.
    pub folder: &'static str,
    /// Its name there.
    pub name: &'static str,
    /// What is in it.
    pub text: String,
}

/// A container of ours beside a server, in whose image the generators are, which does what no command line of the server can.
#[derive(Clone, Debug)]
pub struct Setter {
    /// Its arguments, which may name the others as a command line may.
    pub arguments: Vec<String>,
    /// Environment variables from the credentials Secret: name and key.
    pub secret_env: Vec<(Words, &'static str)>,
}

/// Variables of the environment that the operator knows.
fn known<const N: usize>(pairs: [(&'static str, &'static str); N]) -> Vec<(Words, Words)> {
    let pairs = pairs.into_iter();
    pairs
        .map(|(name, value)| (name.into(), value.into()))
        .collect()
}

/// The day on which it was looked up who maintains the programs below.
const LOOKED_UP: &str = "2026-11-28";

fn upkeep(licence: &str, maintenance: &str, source: &str) -> Upkeep {
    Upkeep {
        licence: licence.to_owned(),
        maintenance: maintenance.to_owned(),
        as_of: LOOKED_UP.to_owned(),
        source: source.to_owned(),
    }
}

/// A server of S3 of which nothing else is known.
fn s3(pods: Pods) -> Profile {
    Profile {
        scheme: "http",
        region: "us-east-1".into(),
        bucket: "bakeoff",
        settings: BTreeMap::new(),
        durability: Durability::not_stated(),
        upkeep: Upkeep::default(),
        caveats: Vec::new(),
        pods,
        others: Vec::new(),
    }
}

/// Its pods, with a volume.
fn s3_pods() -> Pods {
    Pods {
        member: Member::Server,
        port_name: "s3",
        port: 9_000,
        metrics: None,
        prepare: None,
        command: Vec::new(),
        args: Vec::new(),
        starter: None,
        env: Vec::new(),
        secret_env: Vec::new(),
        ready: Ready::Open,
        user: USER,
        data: Some("/data".into()),
        resources: None,
        file: None,
        setter: None,
    }
}

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

/// The profile of a server on this equipment.
#[must_use]
pub fn profile(release: &Release, equipment: &Equipment) -> Profile {
    match release.product {
        Product::Minio => minio::profile(release),
        Product::Seaweedfs => seaweedfs::profile(release),
        Product::Postgres => postgres::profile(release, equipment),
        Product::Redis => redis::profile(),
        Product::Garage => garage::profile(release),
        Product::Versitygw => versitygw::profile(),
        Product::S3Server => s3_server::profile(release),
    }
}

#[cfg(test)]
mod tests;
