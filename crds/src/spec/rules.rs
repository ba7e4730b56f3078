//! The admission rules that look at more than one field, as CEL, each a function with a name.
//!
//! What names kinds of workloads or backends is made from their tables, so that a new kind is in every list.

use super::backend::{self, BackendTraits};
use super::cel::enumerate;
use super::workload::{Levels, WorkloadKind, WorkloadTraits};
use super::{ExperimentSpec, Ground, MAX_TRIALS, MOST_HOLD_SECONDS, MOST_SEGMENT_SECONDS};
use crate::names;
use kube::core::Rule;
use schemars::JsonSchema;

/// The fields of a spec that may change after the start. All others are fixed then, those of tomorrow included.
pub(super) const MUTABLE: [&str; 4] = [
    "suspend",
    "cancel",
    "activeDeadlineSeconds",
    "ttlSecondsAfterFinished",
];

/// The longest history of a race that is kept in memory, seconds.
const MOST_RACE_SECONDS: i32 = 600;

fn workloads() -> impl Iterator<Item = &'static WorkloadTraits> {
    WorkloadKind::ALL.iter().map(|kind| kind.traits())
}

fn backends() -> impl Iterator<Item = &'static BackendTraits> {
    backend::TRAITS.iter().copied()
}

pub(crate) fn names_are_unique(what: &str) -> Rule {
    Rule::new("self.all(a, self.exists_one(b, a.name == b.name))")
        .message(&*format!("{what} names must be unique"))
}

/// The fields of the specification, and whether each may be absent, from its schema.
fn fields() -> Vec<(String, bool)> {
    let schema = ExperimentSpec::json_schema(&mut schemars::SchemaGenerator::default());
    let list = |key: &str| schema.get(key).and_then(|value| value.as_array());
    let required =
        |name: &String| list("required").is_some_and(|names| names.iter().any(|one| one == name));
    let properties = schema.get("properties").and_then(|value| value.as_object());
    let mut fields: Vec<(String, bool)> = properties
        .into_iter()
        .flatten()
        .map(|(name, field)| {
            let optional = !required(name) && field.get("default").is_none();
            (name.clone(), optional)
        })
        .collect();
    // The order of a JSON object depends on how it is kept.
    fields.sort();
    fields
}

pub(super) fn started_is_frozen() -> Rule {
    let same: Vec<String> = fields()
        .into_iter()
        .filter(|(field, _)| !MUTABLE.contains(&field.as_str()))
        .map(|(field, optional)| {
            let equal = format!("self.spec.{field} == oldSelf.spec.{field}");
            // Equality of a field that may be absent needs both presence and value; a rule on the field itself is not
            // evaluated when the field appears or goes.
            if optional {
                format!(
                    "has(self.spec.{field}) == has(oldSelf.spec.{field}) && (!has(self.spec.{field}) || {equal})"
                )
            } else {
                equal
            }
        })
        .collect();
    Rule::new(format!(
        "!has(oldSelf.status) || (!has(oldSelf.status.startTime) && !has(oldSelf.status.progress)) || ({})",
        same.join(" && ")
    ))
    .message(&*format!(
        "the experiment has started, so its spec is fixed; only {} may change: create another Experiment for other parameters",
        enumerate(&MUTABLE)
    ))
}

/// The number of levels of a load, as CEL.
fn levels_of_load(load: &str) -> String {
    format!(
        "(has({load}.closed) ? {load}.closed.concurrency.size() : has({load}.open) ? {load}.open.ratePerSecond.size() : has({load}.capacity) ? {load}.capacity.percentOfWeakest.size() : 1)"
    )
}

/// The number of cells of the workload `w`, as CEL: the same as `schedule::cells`.
fn cells_of(kind: &WorkloadTraits) -> String {
    let spec = format!("w.{}", kind.name);
    let levels: Vec<String> = kind
        .levels
        .iter()
        .map(|levels| match levels {
            Levels::List(name) => format!("{spec}.{name}.size()"),
            Levels::OptionalList(name) => {
                format!("(has({spec}.{name}) ? {spec}.{name}.size() : 1)")
            }
            Levels::Load => levels_of_load(&format!("{spec}.load")),
            Levels::ListOrLoad(name) => format!(
                "(has({spec}.{name}) ? {spec}.{name}.size() : !has({spec}.load) ? 1 : {})",
                levels_of_load(&format!("{spec}.load"))
            ),
        })
        .collect();
    if levels.is_empty() {
        "1".to_owned()
    } else {
        levels.join(" * ")
    }
}

/// The number of trials of the spec `self`, as CEL: the same as `schedule::total`.
fn trials() -> String {
    let cells: String = workloads()
        .map(|kind| format!("has(w.{}) ? {} : ", kind.name, cells_of(kind)))
        .collect();
    format!("self.workloads.map(w, {cells}1).sum() * self.backends.size() * self.trials.blocks")
}

pub(super) fn trials_stay_within_the_limit() -> Rule {
    Rule::new(format!("{} <= {MAX_TRIALS}", trials())).message(&*format!(
        "cells x backends x blocks exceeds {MAX_TRIALS} trials: use fewer factor levels, backends or blocks, or split the experiment"
    ))
}

pub(super) fn absolute_states_its_environment() -> Rule {
    Rule::new("self.resultClass != 'Absolute' || has(self.environment)").message(
        "resultClass Absolute needs spec.environment: say what hardware, region and durability make the figures production-representative, or use resultClass Relative",
    )
}

pub(super) fn equipment_is_equal() -> Rule {
    // Field by field: to CEL the two places are different types, which cannot be compared as a whole.
    // What is no quantity is said where it stands.
    let equal = ["resources.cpu", "resources.memory", "storage.size"]
        .map(|field| {
            let (own, all) = (format!("b.equipment.{field}"), format!("self.equipment.{field}"));
            format!("({own} == {all} || !isQuantity({own}) || !isQuantity({all}) || quantity({own}).compareTo(quantity({all})) == 0)")
        })
        .join(" && ");
    let optional = [
        "storage.storageClassName",
        "nodeSelector",
        "priorityClassName",
        "podAnnotations",
        "podLabels",
    ]
    .map(|field| {
        format!(
            "has(b.equipment.{field}) == has(self.equipment.{field}) && (!has(b.equipment.{field}) || b.equipment.{field} == self.equipment.{field})"
        )
    })
    .join(" && ");
    Rule::new(format!("self.backends.all(b, !has(b.equipment) || ({equal} && {optional}))"))
        .message("unequal equipment: a backend's equipment must equal spec.equipment, else the comparison would measure the hardware; remove backends[].equipment or make it equal")
}

/// What the rule above cannot compare: objects, and lists of them. Nobody reads it but in `spec.equipment`.
pub(super) fn equipment_of_all_stands_in_one_place() -> Rule {
    let absent = ["tolerations", "imagePullSecrets", "securityContext"]
        .map(|field| format!("!has(b.equipment.{field})"))
        .join(" && ");
    Rule::new(format!("self.backends.all(b, !has(b.equipment) || ({absent}))"))
        .message("tolerations, imagePullSecrets and securityContext are those of all pods of the experiment: state them in spec.equipment, not in backends[].equipment")
}

/// All workloads are of one ground, and all backends are of the same.
pub(super) fn workloads_fit_backends() -> Rule {
    let members = |ground: Ground| -> Vec<&str> {
        backends()
            .filter(|one| one.ground == ground)
            .map(|one| one.name)
            .collect()
    };
    let kinds = |ground: Ground| -> Vec<&str> {
        workloads()
            .filter(|kind| kind.ground == ground)
            .map(|kind| kind.name)
            .collect()
    };
    let any = |of: &str, names: &[&str]| {
        let set: Vec<String> = names
            .iter()
            .map(|name| format!("has({of}.{name})"))
            .collect();
        set.join(" || ")
    };
    let fits: Vec<String> = Ground::ALL
        .iter()
        .map(|ground| {
            format!(
                "(self.workloads.all(w, {}) && self.backends.all(b, {}))",
                any("w", &kinds(*ground)),
                any("b", &members(*ground))
            )
        })
        .collect();
    let needs: Vec<String> = Ground::ALL
        .iter()
        .map(|ground| {
            format!(
                "{} need {} ({})",
                enumerate(&kinds(*ground)),
                ground.words(),
                members(*ground).join(", ")
            )
        })
        .collect();
    Rule::new(fits.join(" || ")).message(&*format!(
        "every workload must fit every backend: {}; split the experiment",
        needs.join(", ")
    ))
}

pub(super) fn races_have_a_writer_for_each_generator() -> Rule {
    Rule::new("self.workloads.all(w, !has(w.casRace) || w.casRace.writers >= self.generators.replicas)")
        .message("casRace needs at least one writer for each generator: raise writers, or lower generators.replicas")
}

pub(super) fn races_are_short() -> Rule {
    Rule::new(format!(
        "self.workloads.all(w, !has(w.casRace) || self.trials.warmupSeconds + self.trials.windowSeconds <= {MOST_RACE_SECONDS})"
    ))
    .message(&*format!(
        "casRace keeps its whole history in memory: warmupSeconds and windowSeconds together may be {MOST_RACE_SECONDS} at most; take more blocks instead"
    ))
}

pub(super) fn races_share_one_lock_server() -> Rule {
    let redis = |w: &str| {
        format!("!has({w}.casRace) || !has({w}.casRace.lock) || !has({w}.casRace.lock.redis)")
    };
    Rule::new(format!(
        "self.workloads.all(a, {} || self.workloads.all(b, {} || a.casRace.lock.redis.version == b.casRace.lock.redis.version))",
        redis("a"),
        redis("b")
    ))
    .message("all races share one Redis server: name the same casRace.lock.redis.version in each, or split the experiment")
}

pub(super) fn retention_has_one_generator() -> Rule {
    Rule::new("self.generators.replicas == 1 || self.workloads.all(w, !has(w.retention))")
        .message("retention takes one generator: its phases are told apart by the process that acts; set generators.replicas to 1")
}

/// Between a fault and the end of its window there has to be time to see it and to recover, seconds.
const LEAST_LOSS_WINDOW: i32 = 20;

/// What is told of each PUT around a fault is in memory until the trial ends: seconds of warm-up and window at most.
const MOST_LOSS_SECONDS: i32 = 600;

pub(super) fn faults_are_short() -> Rule {
    Rule::new(format!(
        "self.workloads.all(w, !has(w.serverLoss)) || self.trials.warmupSeconds + self.trials.windowSeconds <= {MOST_LOSS_SECONDS}"
    ))
    .message(&*format!(
        "serverLoss keeps every PUT in memory until the trial ends: warmupSeconds and windowSeconds together may be {MOST_LOSS_SECONDS} at most; take more blocks instead"
    ))
}

/// The ports of the containers that stand beside a server.
const PORTS_BESIDE: [i32; 2] = [names::SETTER_PORT, names::KILLER_PORT];

pub(super) fn faults_leave_ports_free() -> Rule {
    let taken = format!("{PORTS_BESIDE:?}");
    Rule::new(format!(
        "self.workloads.all(w, !has(w.serverLoss)) || self.backends.all(b, !has(b.s3Server) || (!(b.s3Server.port in {taken}) && (!has(b.s3Server.metrics) || !(b.s3Server.metrics.port in {taken}))))"
    ))
    .message(&*format!(
        "serverLoss puts a container beside each server, which listens on one of the ports {taken}: give s3Server another port"
    ))
}

pub(super) fn faults_have_a_server_to_take() -> Rule {
    let external: Vec<String> = backends()
        .filter(|one| one.external)
        .map(|one| format!("!has(b.{})", one.name))
        .collect();
    Rule::new(format!(
        "self.workloads.all(w, !has(w.serverLoss)) || self.backends.all(b, {})",
        external.join(" && ")
    ))
    .message("serverLoss kills a server that the experiment has provisioned: leave external backends out, or the workload")
}

pub(super) fn faults_have_one_generator_and_time() -> Rule {
    Rule::new(format!(
        "self.workloads.all(w, !has(w.serverLoss)) || (self.generators.replicas == 1 && self.trials.windowSeconds >= {LEAST_LOSS_WINDOW})"
    ))
    .message(&*format!(
        "serverLoss takes one generator, as its phases are told apart by the process that sees them, and windows in which there is time to recover: set generators.replicas to 1 and trials.windowSeconds to {LEAST_LOSS_WINDOW} at least"
    ))
}

pub(super) fn a_soak_stands_alone() -> Rule {
    Rule::new("self.workloads.all(w, !has(w.soak)) || (self.workloads.size() == 1 && self.backends.size() == 1 && self.generators.replicas == 1)")
        .message("a soak stands alone: its table lives on from segment to segment, so give it an experiment of its own with one backend and generators.replicas 1")
}

pub(super) fn segments_fit_in_memory() -> Rule {
    Rule::new(format!(
        "self.workloads.all(w, !has(w.soak)) || (self.trials.windowSeconds <= {MOST_SEGMENT_SECONDS} && !has(self.trials.earlyStop))"
    ))
    .message(&*format!(
        "a segment of a soak takes at most {MOST_SEGMENT_SECONDS} windowSeconds, because it is held in memory until it ends, and trials.earlyStop does not apply: take more blocks, each goes on where the last one ended"
    ))
}

pub(super) fn a_search_by_holds_stands_alone() -> Rule {
    Rule::new(format!(
        "self.workloads.all(w, !has(w.sustain)) || (self.workloads.size() == 1 && self.backends.size() == 1 && self.generators.replicas == 1 && self.trials.windowSeconds <= {MOST_HOLD_SECONDS} && !has(self.trials.earlyStop))"
    ))
    .message(&*format!(
        "sustain stands alone: each hold follows from those before it, so give it an experiment of its own with one backend, generators.replicas 1, at most {MOST_HOLD_SECONDS} trials.windowSeconds, as a hold is in memory until it ends, and no trials.earlyStop"
    ))
}

pub(super) fn autovacuum_is_set_in_one_place() -> Rule {
    Rule::new("self.workloads.all(w, !has(w.soak) || w.soak.autovacuum.all(p, !has(p.server) || p.server.all(name, self.backends.all(b, has(b.postgres) && (!has(b.postgres.settings) || !(name in b.postgres.settings))))))")
        .message("an autovacuum profile of a soak sets a server setting that backends[].postgres.settings fixes, or that belongs to a server which is not the experiment's own: name it in one of the two places, or in the profile's table")
}

pub(super) fn early_stop_has_a_question() -> Rule {
    Rule::new("!has(self.trials.earlyStop) || has(self.decision)").message(
        "trials.earlyStop needs spec.decision: without a question there is nothing to settle early",
    )
}

pub(super) fn decision_names_a_backend(role: &str) -> Rule {
    Rule::new(format!(
        "!has(self.decision) || !has(self.decision.{role}) || self.backends.exists(b, b.name == self.decision.{role})"
    ))
    .message(&*format!("decision.{role} must name one of spec.backends"))
}

#[cfg(test)]
mod tests;
