//! `loadgen standby`: the data of a Postgres standby, out of its primary.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::credentials::credential;
use super::{Ended, Failed};
use crate::credentials::Credentials;
use crate::drivers::postgres::Connector;
use crate::standby::Standby;

/// The database that the session is of; what is copied is the whole server.
const DATABASE: &str = "postgres";
/// For operations of a workload, of which there is none.
const UNUSED: Duration = Duration::from_secs(60);

#[derive(Debug, Args)]
pub(super) struct StandbyArgs {
    /// `host:port` of the primary. User and password are those of PGUSER and PGPASSWORD, as for every client of Postgres.
    #[arg(long)]
    primary: String,
    /// The data directory to make. If it is there, nothing is done.
    #[arg(long)]
    into: PathBuf,
    /// What the standby is called by the primary; its replication slot is called after it.
    #[arg(long)]
    name: String,
}

pub(super) async fn run(args: StandbyArgs) -> Ended {
    let of = |variable: &str| {
        let missing =
            format!("{variable} is not set: it has to be that of a superuser of the primary");
        credential(variable, &missing)
    };
    let credentials = Credentials {
        user: of("PGUSER")?,
        secret: of("PGPASSWORD")?,
        session_token: None,
        authorities: None,
    };
    let endpoint = format!("postgres://{}", args.primary);
    let primary = Connector::new(&endpoint, DATABASE, &credentials, UNUSED)
        .map_err(|error| Failed::new("EndpointInvalid", error.to_string(), false))?;
    let standby = Standby {
        primary,
        into: args.into,
        name: args.name,
    };
    let made = standby.make().await;
    let made =
        made.map_err(|error| Failed::new(error.reason(), error.to_string(), error.retryable()))?;
    let into = standby.into.display();
    match made {
        Some(copied) => {
            tracing::info!(%into, files = copied.files, bytes = copied.bytes, "copied from the primary");
        }
        None => tracing::info!(%into, "the data are there"),
    }
    Ok((None, 0))
}
