//! Traces: recordings of what runs did and when, without what they were about.
//!
//! A trace says at which microsecond which run was created, moved or was completed, and how large its state was. It has no
//! names, ids or payloads, so it may leave the system that it was taken from. [`import`] makes one from logs that systems
//! have anyway, [`inspect`] says what is in it, [`fit`] turns it into parameters of `headRow`, [`synthesize`] makes one that
//! looks like another, and [`plan`] says which event a replay performs when.
//!
//! Nothing here talks to a network or a data base, and nothing holds a trace in memory: what is kept is bounded, or grows
//! with the runs that are open at the same time.

pub mod builder;
mod error;
pub mod fit;
pub mod format;
pub mod grammar;
pub mod import;
pub mod inspect;
pub mod plan;
mod quantile;
mod reason;
mod rng;
#[cfg(test)]
mod sample;
mod sort;
pub mod synthesize;
pub mod time;
mod writer;

pub use error::{Error, Place};
pub use format::{Event, Events, Kind, Manifest, Trace};
pub use grammar::{Reason, Repair};
pub use writer::{Description, Writer};
