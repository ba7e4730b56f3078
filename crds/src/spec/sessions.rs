//! How many connections to a Postgres server an experiment has open at once. The generator asks a server for so many, and a server
//! that is provisioned is made for them. (Pure.)

use super::load::number;
use super::{ExperimentSpec, Load, WorkloadSpec};

/// Connections of a trial beside those of its workload: the one that watches, and two with which the run looks at the server.
const BESIDE: usize = 3;

/// What a provisioned server takes beyond what is needed: sessions of the trial before that have not ended yet.
const SPARE: usize = 20;

/// What a provisioned server takes at least: the default of Postgres.
const LEAST: usize = 100;

/// Memory that a session takes of its own at the least. Those of the workloads were seen to take 2.8 MiB, and page tables of the
/// shared buffers besides.
const BYTES_OF_SESSION: i64 = 2 << 20;

impl Load {
    /// The most connections that the workers of all generators have open at once.
    pub(super) fn sessions(&self, generators: usize) -> usize {
        let closed = self.closed.as_ref().map(|closed| {
            let most = closed.concurrency.iter().copied().max().unwrap_or(1);
            number(most)
        });
        let open = self.open.as_ref().map(|open| open.max_in_flight);
        let capacity = self.capacity.as_ref().map(|load| load.max_in_flight);
        let each = open.or(capacity).map(|most| number(most) * generators);
        closed.or(each).unwrap_or(0)
    }
}

impl WorkloadSpec<'_> {
    /// The most connections to a Postgres server that a trial of it has open at once, all generators together. 0 where it needs none.
    #[must_use]
    pub fn connections(self, generators: usize) -> usize {
        match self.measured().sessions(generators) {
            0 => 0,
            own => own + BESIDE,
        }
    }
}

impl ExperimentSpec {
    /// The most connections to a Postgres server that are open at once; trials run one after the other.
    #[must_use]
    pub fn connections(&self) -> usize {
        let generators = number(self.generators.replicas);
        let members = self.workloads.iter().filter_map(|one| one.member());
        members
            .map(|one| one.connections(generators))
            .max()
            .unwrap_or(0)
    }

    /// `max_connections` of a server that is provisioned for the experiment.
    #[must_use]
    pub fn max_connections(&self) -> usize {
        (self.connections() + SPARE).max(LEAST)
    }
}

/// Bytes of memory that so many sessions take at the least.
#[must_use]
pub fn bytes_of(sessions: usize) -> i64 {
    i64::try_from(sessions)
        .unwrap_or(i64::MAX)
        .saturating_mul(BYTES_OF_SESSION)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn spec(workloads: Value, replicas: i32) -> ExperimentSpec {
        serde_json::from_value(json!({
            "backends": [{"name": "pg", "postgres": {"version": "18.4"}}],
            "generators": {"replicas": replicas}, "workloads": workloads,
        }))
        .unwrap()
    }

    #[test]
    fn connections_are_those_of_the_workload_that_needs_most() {
        let open = json!({"open": {"ratePerSecond": [100], "maxInFlight": 256}});
        let head = json!({"name": "head", "headRow": {"load": open}});
        assert_eq!(spec(json!([head]), 2).connections(), 2 * 256 + BESIDE);
        let closed = json!({"closed": {"concurrency": [8, 33]}});
        let few = json!({"name": "few", "headRow": {"load": closed}});
        // 17 of the one generator and 16 of the other.
        assert_eq!(spec(json!([few]), 2).connections(), 33 + BESIDE);
        let old = json!({"name": "old", "retention": {"load": open}});
        assert_eq!(spec(json!([few, old]), 1).connections(), 256 + 3 + BESIDE);
        let race = json!({"name": "race", "casRace": {"writers": 12}});
        assert_eq!(spec(json!([race]), 3).connections(), 12 + 6 + BESIDE);
        let long = json!({"name": "long", "soak": {"connections": 9}});
        assert_eq!(spec(json!([long]), 1).connections(), 10 + BESIDE);
        let put = json!({"name": "put", "smallObjectPut": {"load": closed}});
        assert_eq!(spec(json!([put]), 1).connections(), 0);
    }

    #[test]
    fn a_server_takes_more_than_is_needed_and_no_fewer_than_by_default() {
        let with = |writers: i32| json!([{"name": "race", "casRace": {"writers": writers}}]);
        assert_eq!(spec(with(2), 1).max_connections(), LEAST);
        assert_eq!(spec(with(200), 1).max_connections(), 202 + BESIDE + SPARE);
    }
}
