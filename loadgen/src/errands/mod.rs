//! What the operator has done for schedules and plans in their own namespaces: the report of a plan, a message to people.

pub mod notify;
pub mod plan_report;
