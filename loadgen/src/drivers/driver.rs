//! What a run asks of a backend, whatever its protocol.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bakeoff_crds::durability::Durability;
use bakeoff_crds::result::BackendUsage;
use bakeoff_crds::run::ResolvedBackend;

use crate::drivers::error::{PrerequisiteError, SchemaError};
use crate::drivers::observation::Observation;
use crate::drivers::probe::ProbeError;
use crate::failure::Failure;
use crate::store::StoreError;

/// An answer that is waited for.
pub type Waiting<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// What a run asks of a backend, whatever its protocol.
pub trait Driver {
    /// Waits until the backend answers a signed or authenticated request.
    ///
    /// # Errors
    /// When it does not within `patience`, or clearly never will.
    fn probe<'a>(
        &'a self,
        at: &'a ResolvedBackend,
        patience: Duration,
    ) -> Waiting<'a, Result<(), ProbeError>>;

    /// A look at the backend's process; `None` when it cannot be observed now.
    fn observe<'a>(&'a self, at: &'a ResolvedBackend) -> Waiting<'a, Option<Observation>>;

    /// Whether the backend's process can be observed at all.
    fn observable(&self, at: &ResolvedBackend) -> bool;

    /// What the backend used between two looks, where it says so.
    fn usage(&self, before: &Observation, after: &Observation) -> Option<BackendUsage>;

    /// Host and port.
    fn place(&self) -> (&str, u16);

    /// What of the measured path is a factor of its figures and no setting: its name, and in words.
    fn habits(&self) -> (&'static str, &'static str);

    /// Removes what lies below a prefix; answers how many objects.
    ///
    /// # Errors
    /// When the backend does not let it.
    fn clean<'a>(
        &'a self,
        at: &'a ResolvedBackend,
        prefix: &'a str,
    ) -> Waiting<'a, Result<u64, StoreError>>;

    /// Asks whether what is between here and the server leaves connections as they are, before anything is taken there.
    ///
    /// # Errors
    /// When it does not, or the server does not answer.
    fn sessions(&self) -> Waiting<'_, Result<(), PrerequisiteError>> {
        Box::pin(async { Ok(()) })
    }

    /// Asks for what the experiment needs of the server, before anything is measured; answers caveats of what is not there.
    ///
    /// # Errors
    /// What keeps it from being measured.
    fn prerequisites(&self, _needs: Needs) -> Waiting<'_, Result<Vec<String>, PrerequisiteError>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    /// What the server says where it refuses the credentials, asked once. `None` where it takes them, or does not answer.
    fn refusal<'a>(&'a self, _at: &'a ResolvedBackend) -> Waiting<'a, Option<String>> {
        Box::pin(async { None })
    }

    /// Takes for a run what it cannot share with others of a place that is not ours. Nothing, where a prefix of its own
    /// is enough.
    ///
    /// # Errors
    /// When it is somebody else's, or the server does not let it.
    fn claim<'a>(&'a self, _run: &'a str) -> Waiting<'a, Result<(), SchemaError>> {
        Box::pin(async { Ok(()) })
    }

    /// Removes what the run claimed, with all that is in it; answers how much that was. Whoever still uses it may hold that up for
    /// as long as `patience`.
    ///
    /// # Errors
    /// When the server cannot be reached or does not let it.
    fn release<'a>(
        &'a self,
        _run: &'a str,
        _patience: Duration,
    ) -> Waiting<'a, Result<u64, SchemaError>> {
        Box::pin(async { Ok(0) })
    }

    /// What the server says of itself: its version and its settings, by name. Nothing, where it says none.
    ///
    /// # Errors
    /// When it does not answer.
    fn settings(&self) -> Waiting<'_, Result<BTreeMap<String, String>, Failure>> {
        Box::pin(async { Ok(BTreeMap::new()) })
    }

    /// How durable these settings make what it acknowledged; `None` where they do not tell.
    fn durability(&self, _settings: &BTreeMap<String, String>) -> Option<Durability> {
        None
    }
}

/// What an experiment needs of a Postgres server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// The most connections that are open at once.
    pub connections: usize,
    /// Whether tables are looked at closely, vacuumed and observed.
    pub tables: bool,
}

impl Needs {
    /// What two workloads need that run one after the other.
    #[must_use]
    pub fn either(self, other: Self) -> Self {
        Self {
            connections: self.connections.max(other.connections),
            tables: self.tables || other.tables,
        }
    }
}
