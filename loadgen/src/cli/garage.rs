//! `loadgen join-garage`: what stands beside each of several Garage nodes.

use std::net::SocketAddr;

use bakeoff_crds::names::SETTER_PORT;
use clap::Args;

use super::commands::unavailable;
use super::credentials::keys;
use super::{Ended, Failed};
use crate::garage::{self, Joiner, Place};

/// The credentials are those of S3: `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`.
#[derive(Debug, Args)]
pub(super) struct JoinArgs {
    /// The URL of the node's admin API, version 2.
    #[arg(long)]
    admin: String,
    /// The token of the admin API.
    #[arg(long, env = "GARAGE_ADMIN_TOKEN", hide_env_values = true)]
    admin_token: String,
    /// The URL of the node's S3.
    #[arg(long)]
    s3: String,
    /// The bucket, which is made.
    #[arg(long)]
    bucket: String,
    /// The region that requests are signed for.
    #[arg(long)]
    region: String,
    /// Where the other nodes reach this one, as host:port.
    #[arg(long)]
    address: String,
    /// The URL of what stands beside a node, again for each of them and in the same order everywhere, this one included. The first makes
    /// what is made once.
    #[arg(long, required = true)]
    beside: Vec<String>,
    /// The address of /readyz and /node.
    #[arg(long, default_value_t = SocketAddr::from(([0_u16; 8], SETTER_PORT as u16)))]
    listen: SocketAddr,
}

pub(super) async fn run(args: JoinArgs) -> Ended {
    let credentials = keys("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", None)?;
    let place = Place {
        admin: args.admin,
        token: args.admin_token,
        s3: args.s3,
        region: args.region,
        bucket: args.bucket,
        address: args.address,
        beside: args.beside,
    };
    let joiner = Joiner::new(place, credentials)
        .map_err(|error| Failed::new(error.reason(), error.to_string(), false))?;
    garage::keep(joiner, args.listen)
        .await
        .map_err(|error| unavailable(args.listen, &error))?;
    Ok((None, 0))
}
