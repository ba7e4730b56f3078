//! What children have in common, whoever their owner is: how they are made, how they stand, and why one does not come to be.
//! (Pure.)

pub mod frame;
pub mod loadgen_job;
pub mod objects;
pub mod pods;
pub mod trouble;
