//! How servers are spoken to: one folder a protocol, and what a run asks of a backend whatever its protocol is.

pub mod access;
pub mod address;
pub mod driver;
pub mod error;
mod null_server;
pub mod null_servers;
pub mod observation;
pub mod postgres;
pub mod probe;
pub mod redis;
pub mod s3;
pub mod stall;
