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

/// The naming rules of S3 for buckets: a store refuses others, some with the words of a wrong signature.
pub(super) fn is_a_bucket() -> Rule {
    Rule::new("self.matches('^[a-z0-9][a-z0-9.-]+[a-z0-9]$') && !self.contains('..') && !self.matches('^[0-9.]+$')").message(
        "bucket must be the name of an S3 bucket: 3 to 63 lower-case letters, digits, hyphens and single dots, begun and ended by a letter or digit, and no IP address",
    )
}
