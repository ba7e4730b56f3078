//! The rules that stand between an Experiment and a cluster: what it must be to run, who may measure now, whether
//! nodes are equal. Synchronous functions of data, without a client: whatever asks before a cluster does may use them.

pub mod catalogue;
pub mod cron;
pub mod equality;
pub mod pool;
pub mod queue;
pub mod validate;
