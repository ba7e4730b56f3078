//! Makes the data of a standby out of its running primary, by SQL alone: a base backup as the manual describes it ("Making a
//! Base Backup Using the Low Level API"), without `pg_basebackup`, which images of a server need not have.
//!
//! It is made beside its place and renamed when all of it is on the disk, so that one that was cut off is not taken for whole.
//! What happens on the primary meanwhile is in its WAL, which a replication slot keeps from before the backup began.

mod backup;
mod parts;

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_postgres::Client;
use tokio_postgres::types::{ToSql, Type};

use crate::drivers::driver::Driver as _;
use crate::drivers::postgres::{Connector, Patient};
use crate::failure::{Failure, FailureClass};

pub use backup::Copied;

/// The pause between two tries to reach the primary.
const PAUSE: Duration = Duration::from_millis(500);

/// What is made, and of what.
#[derive(Clone, Debug)]
pub struct Standby {
    /// The primary, as a superuser. A standby follows it at the same address, with the credentials of its own environment.
    pub primary: Connector,
    /// The data directory.
    pub into: PathBuf,
    /// What the standby is called in `pg_stat_replication` and in `synchronous_standby_names`.
    pub name: String,
}

/// Why a standby has no data.
#[derive(Debug, thiserror::Error)]
pub enum StandbyError {
    /// The primary did not do what was asked.
    #[error("the primary at {address}: {doing}: {failure}")]
    Primary {
        /// Where it is.
        address: String,
        /// What was asked of it.
        doing: String,
        /// What it said.
        failure: Box<Failure>,
    },
    /// The folder cannot be written.
    #[error("{path}: {error}")]
    Folder {
        /// What cannot be written.
        path: String,
        /// Why.
        error: std::io::Error,
    },
    /// The primary keeps data outside of its data directory.
    #[error(
        "the primary has tablespaces, which are not copied: its data must be in its data directory alone"
    )]
    Tablespaces,
}

impl StandbyError {
    /// The machine-readable reason.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Primary { .. } => "PrimaryRefused",
            Self::Folder { .. } => "FileUnwritable",
            Self::Tablespaces => "TablespacesFound",
        }
    }

    /// Whether another attempt could end better.
    #[must_use]
    pub fn retryable(&self) -> bool {
        match self {
            Self::Primary { failure, .. } => failure.class != FailureClass::Client,
            Self::Folder { .. } | Self::Tablespaces => false,
        }
    }
}

/// What went wrong with a path.
fn at(path: &Path) -> impl Fn(std::io::Error) -> StandbyError {
    move |error| StandbyError::Folder {
        path: path.display().to_string(),
        error,
    }
}

impl Standby {
    /// Makes the data, unless they are there; answers how much was copied.
    ///
    /// It waits until the primary answers for as long as it takes: whoever asked for the standby bounds that. One that was
    /// reached and then answers nothing is given up.
    ///
    /// # Errors
    /// When the primary refuses, the connection is lost in the middle, or the folder cannot be written.
    pub async fn make(&self) -> Result<Option<Copied>, StandbyError> {
        if self.into.try_exists().map_err(at(&self.into))? {
            return Ok(None);
        }
        let beside = self.into.with_extension("new");
        if beside.try_exists().map_err(at(&beside))? {
            std::fs::remove_dir_all(&beside).map_err(at(&beside))?;
        }
        let client = self.reached().await?;
        let client = Patient::of(&client).at_length();
        // Sessions that bear the generator's name are ended by it.
        self.run(client, "SET application_name = 'bakeoff_standby'")
            .await?;
        self.reserve(client).await?;
        let copied = backup::take(self, client, &beside).await?;
        let (host, port) = self.primary.place();
        let follow = parts::follow(host, port, &self.name);
        backup::finish(&beside, &self.into, &follow)?;
        Ok(Some(copied))
    }

    /// A session with the primary, as soon as it answers.
    async fn reached(&self) -> Result<Client, StandbyError> {
        loop {
            match self.primary.connect().await {
                Ok(client) => return Ok(client),
                Err(failure) if failure.class == FailureClass::Client => {
                    return Err(self.refused("connecting")(failure));
                }
                Err(failure) => {
                    tracing::info!(primary = self.primary.address(), %failure, "not there yet");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// The slot keeps WAL from now on. One that an earlier attempt left keeps more, unless the server has given it up.
    async fn reserve(&self, client: Patient<'_>) -> Result<(), StandbyError> {
        let slot = parts::slot(&self.name);
        let given_up = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots \
                        WHERE slot_name = $1 AND wal_status = 'lost'";
        let made = "SELECT pg_create_physical_replication_slot($1::text::name, true) \
                    WHERE NOT EXISTS (SELECT 1 FROM pg_replication_slots WHERE slot_name = $1::text::name)";
        for sql in [given_up, made] {
            let values: [(&(dyn ToSql + Sync), Type); 1] = [(&slot, Type::TEXT)];
            let done = client.client().query_typed(sql, &values);
            let done = client.wait(done).await;
            done.map_err(self.refused("making the replication slot"))?;
        }
        Ok(())
    }

    async fn run(&self, client: Patient<'_>, sql: &str) -> Result<(), StandbyError> {
        let ran = client.batch_execute(sql).await;
        ran.map_err(self.refused(sql))
    }

    fn refused<'a>(&'a self, doing: &'a str) -> impl Fn(Failure) -> StandbyError + 'a {
        move |failure| StandbyError::Primary {
            address: self.primary.address().to_owned(),
            doing: doing.to_owned(),
            failure: Box::new(failure),
        }
    }
}
