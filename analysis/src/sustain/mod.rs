//! The search for the highest rate that is held for good: which rate comes next, whether a hold held, and what is known of the
//! frontier. The generator asks it for rates, the rule and the report for what was found. (Pure.)
//!
//! Nothing is remembered between two holds but their outcomes, so a search that was interrupted goes on where it was.

pub mod hold;
pub mod search;

pub use hold::{Held, Why, holds, judge};
pub use search::{Bounds, Frontier, Observation, frontier, next};
