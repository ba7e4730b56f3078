//! What measures: clocks, arrivals, the pacer, the recorder and what drives workers through a trial. Nothing here knows
//! a protocol or a workload.

pub mod arrivals;
pub mod calibrate;
pub mod cgroup;
pub mod clock;
pub mod clock_offset;
pub mod drive;
pub mod meter;
pub mod pacer;
pub mod record;
pub mod runtime;
