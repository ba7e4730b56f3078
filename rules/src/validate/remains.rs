//! What is known of an experiment by its spec alone. (Pure.)

use bakeoff_crds::identity::Identity;
use bakeoff_crds::names;
use bakeoff_crds::spec::{
    Experiment, ExperimentSpec, External, Origin, S3Backend, Topology, Workload,
};
use std::collections::BTreeSet;

/// What is known of any experiment, also of one that is refused by now, for example because its version has left the
/// catalogue: enough to report what was measured and to remove what was made, and too little to make a server.
#[derive(Clone, Debug)]
pub struct Remains {
    /// Whose they are.
    pub id: Identity,
    /// What is asked for.
    pub spec: ExperimentSpec,
}

impl Remains {
    /// Those of an experiment, unless it has no name, namespace or uid yet.
    #[must_use]
    pub fn of(experiment: &Experiment) -> Option<Self> {
        Some(Self {
            id: Identity::of(&experiment.metadata)?,
            spec: experiment.spec.clone(),
        })
    }

    /// The name of a child.
    #[must_use]
    pub fn child(&self, role: &str) -> String {
        names::child(&self.id.name, self.id.uid.as_str(), role)
    }

    /// The servers that the operator provisions.
    #[must_use]
    pub fn servers(&self) -> Vec<ServerName<'_>> {
        let mut servers: Vec<ServerName<'_>> = Vec::new();
        for backend in &self.spec.backends {
            if let Some(Origin::Provisioned(_)) = backend.origin() {
                servers.push(ServerName::Backend(&backend.name));
            }
        }
        servers.extend(self.spec.redis_lock().map(|_| ServerName::Lock));
        servers
    }

    /// Of which pods a server is made.
    #[must_use]
    pub fn topology(&self, server: ServerName<'_>) -> Topology {
        let ServerName::Backend(name) = server else {
            return Topology::Single;
        };
        let backend = self.spec.backends.iter().find(|one| one.name == name);
        match backend.and_then(bakeoff_crds::spec::Backend::origin) {
            Some(Origin::Provisioned(release)) => release.topology,
            _ => Topology::Single,
        }
    }

    /// How many pods all servers have.
    #[must_use]
    pub fn server_pods(&self) -> i32 {
        let servers = self.servers().into_iter();
        servers.map(|server| self.topology(server).pods()).sum()
    }

    /// Whether a server has several pods, which have to find each other.
    #[must_use]
    pub fn has_servers_of_several_pods(&self) -> bool {
        let mut servers = self.servers().into_iter();
        servers.any(|server| self.topology(server).pods() > 1)
    }

    /// The backends that were there before, by name.
    #[must_use]
    pub fn externals(&self) -> Vec<(&str, External)> {
        let mut externals = Vec::new();
        for backend in &self.spec.backends {
            if let Some(Origin::External(external)) = backend.origin() {
                externals.push((backend.name.as_str(), external));
            }
        }
        externals
    }

    /// Whether test objects are written to buckets, or tables to databases, that were there before.
    #[must_use]
    pub fn has_external(&self) -> bool {
        !self.externals().is_empty()
    }

    /// The ConfigMaps of the user with the traces of its workloads.
    #[must_use]
    pub fn trace_maps(&self) -> BTreeSet<&str> {
        let workloads = self.spec.workloads.iter();
        let traces = workloads.filter_map(Workload::trace);
        let maps = traces.filter_map(|trace| trace.config_map_ref.as_ref());
        maps.map(|map| map.name.as_str()).collect()
    }

    /// The Secrets of the user by which external systems are reached, the results store included, and the keys that
    /// are needed of each.
    #[must_use]
    pub fn user_secrets(&self) -> Vec<(String, Vec<String>)> {
        let externals = self.externals();
        let backends = externals
            .iter()
            .flat_map(|(_, external)| external.secrets());
        let results = self.spec.results.s3.as_ref().map(S3Backend::secret);
        let secrets = backends.chain(results);
        secrets
            .map(|(name, keys)| (name.to_owned(), keys))
            .collect()
    }
}

/// One of the servers that the operator provisions for an experiment: its children are called after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerName<'a> {
    /// The backend of this name.
    Backend(&'a str),
    /// The Redis server that keeps the locks of races.
    Lock,
}

impl<'a> ServerName<'a> {
    /// Its name wherever backends stand by their names: labels, folders of credentials, messages.
    #[must_use]
    pub fn as_str(self) -> &'a str {
        match self {
            Self::Backend(name) => name,
            Self::Lock => names::LOCK_SERVER,
        }
    }
}
