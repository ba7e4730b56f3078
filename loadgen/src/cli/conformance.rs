//! `loadgen conformance`: what of S3 stores keep, without a cluster and without a load.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::credentials::{authorities, keys};
use super::{Ended, Failed, UNVERIFIED};
use crate::conformance::{examine, table};
use crate::run::standalone::{Endpoints, resolved};
use crate::run::{Backend, RunError};
use bakeoff_crds::conformance::Weight;

/// How long a store may take until it answers.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Args)]
pub(super) struct ConformanceArgs {
    /// `[NAME=]URL` of an S3 endpoint; several stand in one table.
    #[arg(long, required = true)]
    endpoint: Vec<String>,
    /// The bucket on each endpoint. The checks work below `bakeoff/` in it and remove what they wrote.
    #[arg(long, default_value = "bakeoff")]
    bucket: String,
    /// Create the bucket where it does not exist.
    #[arg(long)]
    create_bucket: bool,
    /// The region that requests are signed for.
    #[arg(long, env = "AWS_REGION", default_value = "us-east-1")]
    region: String,
    /// Put the bucket into the host name instead of the path.
    #[arg(long)]
    virtual_host: bool,
    /// Certificates of authorities, in PEM, that are trusted beside those of the system.
    #[arg(long, env = "AWS_CA_BUNDLE")]
    ca_file: Option<PathBuf>,
    /// Sign the SHA-256 of each body, for stores that refuse UNSIGNED-PAYLOAD.
    #[arg(long)]
    sign_payload: bool,
    /// The environment variable with the access key id.
    #[arg(long, default_value = "AWS_ACCESS_KEY_ID")]
    access_key_env: String,
    /// The environment variable with the secret access key.
    #[arg(long, default_value = "AWS_SECRET_ACCESS_KEY")]
    secret_key_env: String,
    /// Print the records as JSON instead of a table.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: &ConformanceArgs) -> Ended {
    let authorities = authorities(args.ca_file.as_deref())?;
    let credentials = keys(&args.access_key_env, &args.secret_key_env, authorities)?;
    let endpoints = Endpoints {
        endpoints: args.endpoint.clone(),
        metrics: Vec::new(),
        bucket: args.bucket.clone(),
        region: args.region.clone(),
        path_style: !args.virtual_host,
        sign_payload: args.sign_payload,
        create_bucket: args.create_bucket,
        lock: None,
    };
    let uid = format!("{:x}", jiff::Timestamp::now().as_millisecond());
    let resolved = resolved(&endpoints, &uid)
        .map_err(|error| Failed::new(error.reason(), error.to_string(), false))?;
    let mut records = Vec::new();
    for at in resolved {
        let name = at.name.clone();
        let backend = Backend::new(at, credentials.clone()).map_err(RunError::from)?;
        let driver = backend.access.driver();
        let probed = driver.probe(&backend.resolved, PATIENCE).await;
        probed.map_err(RunError::from)?;
        match examine(&backend.access, &backend.resolved).await {
            Some(record) => records.push(record),
            None => {
                let text = format!("{name} is no S3 endpoint");
                return Err(Failed::new("EndpointInvalid", text, false));
            }
        }
    }
    if args.json {
        let text = serde_json::to_string_pretty(&records)
            .map_err(|error| Failed::new("Json", error.to_string(), false))?;
        super::print(&text);
    } else {
        super::print(&table(&records));
    }
    let wrong = records
        .iter()
        .any(|record| record.broken(Weight::Needed).next().is_some());
    Ok((None, if wrong { UNVERIFIED } else { 0 }))
}
