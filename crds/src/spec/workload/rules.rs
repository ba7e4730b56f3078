//! The admission rules of one workload.

use super::WorkloadKind;
use crate::spec::cel::exactly_one;
use kube::core::Rule;

pub(super) fn one_kind_of_workload() -> Rule {
    let names: Vec<&str> = WorkloadKind::ALL
        .iter()
        .map(|kind| kind.traits().name)
        .collect();
    exactly_one("a workload", &names)
}

pub(super) fn no_workload_is_called_backends() -> Rule {
    Rule::new("self != 'backends'")
        .message("a workload may not be called backends: objectives use that word")
}
