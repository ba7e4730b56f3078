//! What a run asks of a Postgres server.

use std::collections::BTreeMap;
use std::time::Duration;

use bakeoff_crds::durability::Durability;
use bakeoff_crds::result::BackendUsage;
use bakeoff_crds::run::ResolvedBackend;
use bakeoff_crds::spec::Member;

use super::{Connector, Patient, observe, pooler, prerequisites, probe, replication, schema};
use crate::drivers::driver::{Driver, Needs, Waiting};
use crate::drivers::error::{PrerequisiteError, SchemaError};
use crate::drivers::observation::{Observation, Process};
use crate::drivers::probe::ProbeError;
use crate::failure::Failure;
use crate::store::StoreError;

impl Driver for Connector {
    fn probe<'a>(
        &'a self,
        at: &'a ResolvedBackend,
        patience: Duration,
    ) -> Waiting<'a, Result<(), ProbeError>> {
        Box::pin(probe::wait(&at.name, self, patience))
    }

    /// The server, and those of its standbys that are ours. A standby that went and came back has begun to follow anew.
    fn observe<'a>(&'a self, at: &'a ResolvedBackend) -> Waiting<'a, Option<Observation>> {
        Box::pin(async {
            let client = self.connect().await.ok()?;
            let process = |start_seconds| Process {
                start_seconds,
                // It keeps the instant, to the microsecond; a floating-point number of seconds does not.
                start_error_seconds: 0.001,
                cpu_seconds: 0.0,
                resident_bytes: 0.0,
            };
            let asking = Patient::of(&client);
            let started = observe::started(asking).await.ok()?;
            let mut seen = Observation::from(process(started));
            let pods = at.pods.iter();
            let mut standbys = pods.filter(|pod| pod.member == Member::Standby).peekable();
            if standbys.peek().is_some() {
                let followers = replication::followers(asking).await.ok()?;
                for pod in standbys {
                    // All or none: one that is not seen may have been restarted.
                    let began = *followers.get(&pod.name)?;
                    seen.0.insert(pod.name.clone(), process(began));
                }
            }
            Some(seen)
        })
    }

    fn observable(&self, _at: &ResolvedBackend) -> bool {
        true
    }

    /// SQL tells neither CPU nor memory.
    fn usage(&self, _before: &Observation, _after: &Observation) -> Option<BackendUsage> {
        None
    }

    fn place(&self) -> (&str, u16) {
        (&self.host, self.port)
    }

    fn habits(&self) -> (&'static str, &'static str) {
        if self.encrypted() {
            (
                "postgresEncrypted",
                "one connection a worker, kept open, TCP_NODELAY, TLS without channel binding; prepared statements with \
             binary parameters, one in flight, each its own transaction; each statement is sent once",
            )
        } else {
            (
                "postgres",
                "one connection a worker, kept open, TCP_NODELAY, no TLS; prepared statements with binary parameters, \
             one in flight, each its own transaction; each statement is sent once",
            )
        }
    }

    /// The tables of a trial make room for those of the next.
    fn clean<'a>(
        &'a self,
        _at: &'a ResolvedBackend,
        _prefix: &'a str,
    ) -> Waiting<'a, Result<u64, StoreError>> {
        Box::pin(async { Ok(0) })
    }

    fn sessions(&self) -> Waiting<'_, Result<(), PrerequisiteError>> {
        Box::pin(pooler::check(self))
    }

    fn prerequisites(&self, needs: Needs) -> Waiting<'_, Result<Vec<String>, PrerequisiteError>> {
        Box::pin(prerequisites::check(self, needs))
    }

    fn claim<'a>(&'a self, run: &'a str) -> Waiting<'a, Result<(), SchemaError>> {
        Box::pin(schema::claim(self, run))
    }

    fn release<'a>(
        &'a self,
        run: &'a str,
        patience: Duration,
    ) -> Waiting<'a, Result<u64, SchemaError>> {
        Box::pin(schema::release(self, run, patience))
    }

    fn settings(&self) -> Waiting<'_, Result<BTreeMap<String, String>, Failure>> {
        Box::pin(async {
            let client = self.connect().await?;
            observe::identity(Patient::of(&client)).await
        })
    }

    fn durability(&self, settings: &BTreeMap<String, String>) -> Option<Durability> {
        let setting = |name: &str| settings.get(name).map(String::as_str);
        Some(Durability::of_postgres(setting))
    }
}
