//! The Bakeoff operator: dereference, validate, plan, act.

mod act;
mod action;
mod app;
mod caches;
mod children;
mod config;
mod controllers;
mod errands;
mod error;
mod http;
mod lease;
mod made;
mod metrics;
mod owner;
mod parts;
mod remembered;
mod runs;
mod settings;
mod stored;
mod troubles;

use clap::Parser;
use tracing_subscriber::EnvFilter;

/// Runs storage experiments as custom resources.
#[derive(Debug, Parser)]
#[command(name = "operator", version)]
enum Command {
    /// Sees to the experiments of a cluster.
    Run(Box<config::Config>),
    /// Prints the version.
    Version,
}

fn main() -> anyhow::Result<()> {
    match Command::parse() {
        Command::Version => println!("{}", settings::VERSION),
        Command::Run(config) => {
            let filter =
                EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
            tracing_subscriber::fmt()
                .with_env_filter(filter)
                .json()
                .init();
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()?;
            runtime.block_on(app::run(*config))?;
        }
    }
    Ok(())
}
