//! The admission rules of a schedule, as CEL.

use kube::core::Rule;

pub(super) fn something_begins_a_run() -> Rule {
    Rule::new("has(self.schedule) || self.runOnChange")
        .message("nothing would begin a run: state schedule, or set runOnChange: true")
}

pub(super) fn five_fields() -> Rule {
    Rule::new("self.matches('^(@(yearly|annually|monthly|weekly|daily|hourly)|[^ @]+( +[^ ]+){4})$')").message(
        "schedule has five fields (minute, hour, day of the month, month, day of the week; there are no seconds), or is one of @yearly, @monthly, @weekly, @daily and @hourly",
    )
}

pub(super) fn no_zone_in_the_schedule() -> Rule {
    Rule::new("!self.contains('TZ=')")
        .message("the zone of the schedule stands in timeZone, not in the schedule")
}

pub(super) fn runs_are_not_ended_by_the_template() -> Rule {
    Rule::new("!self.cancel && !self.suspend").message(
        "a template can set neither cancel nor suspend: every run would be ended or held; set suspend of the schedule",
    )
}

pub(super) fn history_limits_remove_runs() -> Rule {
    Rule::new("!has(self.ttlSecondsAfterFinished)").message(
        "a template has no ttlSecondsAfterFinished: successfulHistoryLimit and failedHistoryLimit say which runs are kept",
    )
}

pub(super) fn the_schedule_states_the_series() -> Rule {
    Rule::new("!has(self.series)")
        .message("a template of a schedule has no series: the schedule states it, with what stands in regression")
}

pub(super) fn confirmations_run_alone() -> Rule {
    Rule::new("!has(self.regression) || self.regression.confirmRuns == 0 || self.concurrencyPolicy != 'Allow'").message(
        "runs that confirm a regression go one after the other: with regression.confirmRuns above 0 concurrencyPolicy is Forbid or Replace",
    )
}

/// A tool that finds its objects by such a mark would take the runs for its own and prune them.
pub(super) fn not_of_a_gitops_tool() -> Rule {
    let marks = [
        "app.kubernetes.io/instance",
        "argocd.argoproj.io/",
        "kustomize.toolkit.fluxcd.io/",
        "helm.toolkit.fluxcd.io/",
        "bakeoff.dev/",
    ];
    let starts: Vec<String> = marks
        .iter()
        .map(|mark| format!("key.startsWith('{mark}')"))
        .collect();
    Rule::new(format!("self.all(key, !({}))", starts.join(" || "))).message(
        "the template's labels and annotations may not begin with app.kubernetes.io/instance, argocd.argoproj.io/, kustomize.toolkit.fluxcd.io/, helm.toolkit.fluxcd.io/ or bakeoff.dev/: a GitOps tool would prune the runs, and the last are Bakeoff's own",
    )
}
