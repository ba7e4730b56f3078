//! The admission rules of a plan, as CEL.

use kube::core::Rule;

/// That it comes before its own phase is too dear a rule for the API server, and is said by a condition.
pub(super) fn conditions_name_what_there_is() -> Rule {
    Rule::new(
        "self.phases.all(p, !has(p.when) || p.when.all(w, self.phases.exists(q, q.name == w.phase && \
         (!has(w.experiment) || q.experiments.exists(e, e.name == w.experiment)))))",
    )
    .message("a condition (when) names a phase of the plan, and an experiment of that phase")
}

pub(super) fn decisions_name_a_phase() -> Rule {
    Rule::new(
        "!has(self.decisions) || self.decisions.all(d, self.phases.exists(p, p.name == d.phase))",
    )
    .message("a decision names a phase of the plan")
}

pub(super) fn decisions_stay() -> Rule {
    Rule::new("oldSelf.all(before, self.exists(now, now == before))").message(
        "a decision is not taken back or changed: add another one, which counts in its place",
    )
}
