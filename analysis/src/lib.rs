//! Bakeoff's arithmetic: from raw trial records to a summary, objectives, a decision and a page.
//!
//! Everything here is a synchronous, pure function of its arguments: no file, network, clock or
//! environment is read, and the same input gives the same bytes.

pub mod stats;
