//! The generator against real servers: MinIO, SeaweedFS, Garage, versitygw, Postgres, PgBouncer and Redis, each test with servers of its own.
//!
//! One program, so that all of them wait for their windows side by side. `make test` says where the servers are.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod at_length;
mod backends;
mod capture;
mod cas_race;
mod conformance;
mod drives;
mod external_postgres;
mod garage;
mod ordinary_role;
mod poolers;
mod postgres;
mod replay;
mod retention;
mod rotation;
mod s3_reach;
mod s3_refusals;
mod s3_stores;
mod setter;
mod soak;
mod support;
mod versity;
