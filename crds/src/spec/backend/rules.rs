//! The admission rules of one backend.

use super::TRAITS;
use crate::spec::cel::exactly_one;
use kube::core::Rule;

pub(super) fn one_kind_of_backend() -> Rule {
    let names: Vec<&str> = TRAITS.iter().map(|one| one.name).collect();
    exactly_one("a backend", &names)
}

pub(super) fn external_backends_have_no_equipment() -> Rule {
    let external: Vec<&str> = TRAITS
        .iter()
        .filter(|one| one.external)
        .map(|one| one.name)
        .collect();
    let provisioned: Vec<String> = external.iter().map(|m| format!("!has(self.{m})")).collect();
    Rule::new(format!(
        "({}) || !has(self.equipment)",
        provisioned.join(" && ")
    ))
    .message(&*format!(
        "an external backend ({}) has no equipment: it runs where it runs",
        external.join(", ")
    ))
}
