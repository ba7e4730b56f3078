//! What a run says of the history before it. (Pure.)

use super::{machine, rank};
use bakeoff_crds::EndReason;
use bakeoff_crds::figure::Better;
use bakeoff_crds::history::{RegressionState, RegressionStatus, RunRecord};
use bakeoff_crds::spec::{Regression, RegressionMetric, Series};

/// Fewer runs are no baseline, whatever the arithmetic says.
const FEWEST: usize = 5;
/// How many differences are told.
const MOST_DIFFERENCES: usize = 6;

/// What a run says of the history before it. `records` are the other runs of the series, in any order; what was concluded of
/// them stands in them, and nothing else is remembered. None where nothing is to be concluded.
#[must_use]
pub fn judge(series: &Series, records: &[RunRecord], run: &RunRecord) -> Option<RegressionStatus> {
    let spec = series.regression.as_ref()?;
    let judge = Judge::new(spec, series.looks_per_year, records, run);
    Some(match &run.confirms {
        Some(name) => judge.confirmation(name),
        None => judge.regular(),
    })
}

/// The runs that a run is held against: while an alarm stands, those before it.
#[must_use]
pub fn held_against<'a>(
    spec: &'a Regression,
    records: &'a [RunRecord],
    run: &'a RunRecord,
) -> Vec<&'a RunRecord> {
    // How many looks there are matters to the verdict alone.
    let judge = Judge::new(spec, 1, records, run);
    let alarm = judge.alarm();
    judge.baseline(alarm.map_or(run.started_at, |alarm| alarm.trigger.started_at))
}

/// The false alarms of a year, shared among metrics and looks.
fn alpha(spec: &Regression, looks: i32) -> f64 {
    let metrics = spec.metrics.len().max(1) as f64;
    f64::from(spec.false_alarms_per_year) / (metrics * f64::from(looks.max(1)))
}

struct Judge<'a> {
    spec: &'a Regression,
    alpha: f64,
    /// How many comparable runs it takes before an alarm is possible.
    needed: i32,
    /// How many runs are held against the baseline: the one that gave the alarm, and those that confirm it.
    after: usize,
    history: Vec<&'a RunRecord>,
    run: &'a RunRecord,
}

/// An alarm that stands.
struct Alarm<'a> {
    /// The run that gave it.
    trigger: &'a RunRecord,
    /// The metric that it is about.
    metric: String,
}

impl<'a> Judge<'a> {
    fn new(spec: &'a Regression, looks: i32, records: &'a [RunRecord], run: &'a RunRecord) -> Self {
        let mut history: Vec<&RunRecord> = records
            .iter()
            .filter(|record| record.experiment.uid != run.experiment.uid)
            .filter(|record| record.started_at < run.started_at && record.design == run.design)
            .filter(|record| spec.since.is_none_or(|since| record.started_at >= since))
            .collect();
        history.sort_by(|a, b| {
            (a.started_at, &a.experiment.uid).cmp(&(b.started_at, &b.experiment.uid))
        });
        let alpha = alpha(spec, looks);
        let after = usize::try_from(spec.confirm_runs).unwrap_or_default() + 1;
        let needed = rank::needed(after, alpha).map(|needed| needed.max(FEWEST));
        Self {
            spec,
            alpha,
            needed: needed.map_or(i32::MAX, |needed| i32::try_from(needed).unwrap_or(i32::MAX)),
            after,
            history,
            run,
        }
    }

    fn status(&self, state: RegressionState, message: String, baseline: usize) -> RegressionStatus {
        RegressionStatus {
            state,
            message,
            alpha: Some(self.alpha),
            baseline_runs: i32::try_from(baseline).unwrap_or(i32::MAX),
            needed_runs: self.needed,
            ..Default::default()
        }
    }

    /// The runs that count, before an instant: those that went to their end, without confirmations.
    fn counting(&self, before: jiff::Timestamp) -> Vec<&'a RunRecord> {
        let all = self.history.iter().copied();
        all.filter(|record| {
            record.started_at < before && record.confirms.is_none() && is_whole(record)
        })
        .collect()
    }

    /// The runs that a run is held against: the newest that count, without those of times in which it was worse and those that
    /// were found to be on another machine.
    fn baseline(&self, before: jiff::Timestamp) -> Vec<&'a RunRecord> {
        let most = usize::try_from(self.spec.baseline_runs).unwrap_or_default();
        let most = most.min(rank::MOST_BEFORE);
        let mut good: Vec<&RunRecord> = Vec::new();
        let mut worse_since: Option<jiff::Timestamp> = None;
        for record in self
            .history
            .iter()
            .copied()
            .filter(|record| record.started_at < before)
        {
            match state(record) {
                Some(RegressionState::Regressed) => {
                    let trigger = record.confirms.as_ref().and_then(|name| self.named(name));
                    let from = trigger.map_or(record.started_at, |trigger| trigger.started_at);
                    if worse_since.is_none() {
                        worse_since = Some(from);
                        good.retain(|one| one.started_at < from);
                    }
                }
                Some(RegressionState::Recovered) => worse_since = None,
                _ => {}
            }
            let newest = good.len().saturating_sub(most);
            if worse_since.is_none()
                && record.confirms.is_none()
                && is_whole(record)
                && !was_elsewhere(&good[newest..], record)
            {
                good.push(record);
            }
        }
        good.split_off(good.len().saturating_sub(most))
    }

    fn named(&self, name: &str) -> Option<&'a RunRecord> {
        let mut all = self.history.iter().rev().copied();
        all.find(|record| record.experiment.name == name && record.confirms.is_none())
    }

    /// The alarm that stands, if one does: the last that was given and not followed by a recovery.
    fn alarm(&self) -> Option<Alarm<'a>> {
        let mut alarm: Option<Alarm<'a>> = None;
        for record in self.history.iter().copied() {
            match (state(record), &record.verdict) {
                (Some(RegressionState::Recovered), _) => alarm = None,
                (Some(RegressionState::Regressed), Some(verdict)) if alarm.is_none() => {
                    let trigger = match &record.confirms {
                        Some(name) => self.named(name).unwrap_or(record),
                        None => record,
                    };
                    alarm = Some(Alarm {
                        trigger,
                        metric: verdict.metric.clone().unwrap_or_default(),
                    });
                }
                _ => {}
            }
        }
        alarm
    }

    fn regular(&self) -> RegressionStatus {
        if !is_whole(self.run) {
            let message = "the run did not go to its end".to_owned();
            return self.status(RegressionState::NotComparable, message, 0);
        }
        if let Some(alarm) = self.alarm() {
            return self.since_alarm(&alarm);
        }
        let baseline = self.baseline(self.run.started_at);
        if let Some(unsound) = self.unsound(&baseline) {
            return unsound;
        }
        let worse: Vec<&RegressionMetric> = self
            .spec
            .metrics
            .iter()
            .filter(|metric| self.triggers(metric, &baseline, self.run))
            .collect();
        let Some(first) = worse.first() else {
            if let Some(new) = self.too_new(&baseline) {
                return new;
            }
            let message = format!("as the {} runs before it", baseline.len());
            let mut status = self.status(RegressionState::NoRegression, message, baseline.len());
            status.would_see_percent = self
                .spec
                .metrics
                .first()
                .and_then(|metric| would_see(metric, &baseline));
            return status;
        };
        if self.after == 1 {
            return self.decide(&baseline, self.run, &[self.run]);
        }
        let names: Vec<&str> = worse.iter().map(|metric| metric.name.as_str()).collect();
        let message = format!(
            "{} worse than in all {} runs before it: {} further runs have to confirm that",
            are(&names),
            baseline.len(),
            self.after - 1
        );
        self.about(
            RegressionState::Suspect,
            message,
            first,
            &baseline,
            &[self.run],
        )
    }

    fn confirmation(&self, name: &str) -> RegressionStatus {
        let Some(trigger) = self.named(name) else {
            let message = format!("the run that it is to confirm, {name}, is not in the history");
            return self.status(RegressionState::NotComparable, message, 0);
        };
        let baseline = self.baseline(trigger.started_at);
        let of = |record: &&RunRecord| record.confirms.as_deref() == Some(name);
        let all = self.history.iter().copied().filter(of).chain([self.run]);
        let made = all.clone().count();
        let mut runs: Vec<&RunRecord> = vec![trigger];
        runs.extend(all.filter(|record| is_whole(record)));
        if let Some(elsewhere) = self.elsewhere(&baseline, &runs) {
            return elsewhere;
        }
        if made + 1 < self.after {
            let message = format!(
                "{made} of {} runs that have to confirm {name}",
                self.after - 1
            );
            return self.status(RegressionState::Suspect, message, baseline.len());
        }
        if runs.len() < self.after {
            let message = format!(
                "{} of the runs that had to confirm {name} did not go to their end",
                self.after - runs.len()
            );
            return self.status(RegressionState::NotComparable, message, baseline.len());
        }
        self.decide(&baseline, trigger, &runs)
    }

    /// The test, over the run that gave the alarm and those that confirm it.
    fn decide(
        &self,
        baseline: &[&RunRecord],
        trigger: &RunRecord,
        runs: &[&RunRecord],
    ) -> RegressionStatus {
        let suspected = self.spec.metrics.iter();
        let suspected = suspected.filter(|metric| self.triggers(metric, baseline, trigger));
        let mut refuted = None;
        for metric in suspected {
            let (before, after) = (values(metric, baseline), values(metric, runs));
            // A figure that a run lacks is no evidence.
            if after.len() < runs.len() {
                continue;
            }
            let deficit = rank::deficit(&before, &after, |x, b| is_worse(metric.better, x, b));
            let p = rank::p_value(before.len(), after.len(), deficit);
            let matters = changes(metric, median(&before), median(&after));
            let confirmed = p <= self.alpha && matters;
            let (state, message) = if confirmed {
                let message = format!(
                    "{} went from {} to {}{}: by chance with probability {p:.6} at most, and {:.6} is allowed",
                    metric.name,
                    number(median(&before)),
                    number(median(&after)),
                    percent(median(&before), median(&after)),
                    self.alpha
                );
                (RegressionState::Regressed, message)
            } else {
                let message = format!(
                    "{} was worse in {}, and the runs that had to confirm that do not (p {p:.6}, and {:.6} is allowed)",
                    metric.name, trigger.experiment.name, self.alpha
                );
                (RegressionState::NoRegression, message)
            };
            let mut status = self.about(state, message, metric, baseline, runs);
            status.p = Some(p);
            if confirmed {
                status.first_run = Some(since(metric, baseline, trigger));
                status.differs = baseline
                    .last()
                    .map(|last| differences(last, trigger))
                    .unwrap_or_default();
                return status;
            }
            refuted = refuted.or(Some(status));
        }
        refuted.unwrap_or_else(|| {
            let message =
                "the figures that were suspected are missing from the runs that had to confirm"
                    .to_owned();
            self.status(RegressionState::NotComparable, message, baseline.len())
        })
    }

    /// Whether it is again as it was, after an alarm: each of the newest runs lies within what was before it, or is not worse than the
    /// median of that by what matters. What was run on another machine says neither.
    fn since_alarm(&self, alarm: &Alarm<'_>) -> RegressionStatus {
        let baseline = self.baseline(alarm.trigger.started_at);
        let metric = self
            .spec
            .metrics
            .iter()
            .find(|metric| metric.name == alarm.metric);
        let Some(metric) = metric else {
            let message = format!(
                "{} is no longer watched, and nothing else had got worse",
                alarm.metric
            );
            return self.status(RegressionState::Recovered, message, baseline.len());
        };
        if let Some(elsewhere) = self.elsewhere(&baseline, &[self.run]) {
            return elsewhere;
        }
        let mut runs = self.counting(self.run.started_at);
        runs.retain(|record| {
            record.started_at > alarm.trigger.started_at
                && machine::differs(&baseline, record).is_none()
        });
        runs.push(self.run);
        let newest = runs.split_off(runs.len().saturating_sub(self.after));
        let before = values(metric, &baseline);
        // By another expression it is another figure.
        if !self.is_enough(before.len()) {
            let message = format!(
                "{} is not what was worse in {}, whose runs before do not have it, and nothing else had got worse",
                metric.name, alarm.trigger.experiment.name
            );
            return self.status(RegressionState::Recovered, message, baseline.len());
        }
        let worst = before
            .iter()
            .copied()
            .reduce(|a, b| if is_worse(metric.better, a, b) { a } else { b });
        let after = values(metric, &newest);
        let middle = median(&before);
        let within = |x: &f64| {
            worst.is_none_or(|worst| !is_worse(metric.better, *x, worst))
                || !changes(metric, middle, *x)
        };
        if newest.len() == self.after && after.len() == self.after && after.iter().all(within) {
            let message = format!(
                "the last {} runs are within what was before {}",
                self.after, alarm.trigger.experiment.name
            );
            return self.about(
                RegressionState::Recovered,
                message,
                metric,
                &baseline,
                &newest,
            );
        }
        let message = format!(
            "worse since {}, which is told already",
            alarm.trigger.experiment.name
        );
        self.about(
            RegressionState::Regressed,
            message,
            metric,
            &baseline,
            &newest,
        )
    }

    /// Why nothing can be concluded, if it cannot.
    fn unsound(&self, baseline: &[&RunRecord]) -> Option<RegressionStatus> {
        if self.needed > self.spec.baseline_runs {
            let message = format!(
                "no alarm is possible: with {} metrics, {} confirmations and so many looks a year {} runs would be needed, and baselineRuns is {}; raise confirmRuns or falseAlarmsPerYear",
                self.spec.metrics.len(),
                self.after - 1,
                if self.needed == i32::MAX {
                    "more than 60".to_owned()
                } else {
                    self.needed.to_string()
                },
                self.spec.baseline_runs
            );
            return Some(self.status(RegressionState::Baselining, message, baseline.len()));
        }
        if !self.is_enough(baseline.len()) {
            let message = format!("{} of {} comparable runs", baseline.len(), self.needed);
            return Some(self.status(RegressionState::Baselining, message, baseline.len()));
        }
        if let Some(elsewhere) = self.elsewhere(baseline, &[self.run]) {
            return Some(elsewhere);
        }
        let missing = self
            .spec
            .metrics
            .iter()
            .find(|metric| !self.run.values.contains_key(&metric.expression));
        if let Some(metric) = missing {
            let message = format!("{} is missing", metric.name);
            return Some(self.status(RegressionState::NotComparable, message, baseline.len()));
        }
        let drifting = self.spec.metrics.iter().find_map(|metric| {
            let values = values(metric, baseline);
            let (found, bound) = (autocorrelation(&values), 2.0 / (values.len() as f64).sqrt());
            (found > bound).then_some((metric, found, bound))
        });
        drifting.map(|(metric, found, bound)| {
            let message = format!(
                "{} of each run follows that of the one before (autocorrelation {found:.2}, at most {bound:.2}): chance is not what tells the runs apart",
                metric.name
            );
            self.about(RegressionState::Autocorrelated, message, metric, baseline, &[self.run])
        })
    }

    fn is_enough(&self, runs: usize) -> bool {
        i32::try_from(runs).unwrap_or(i32::MAX) >= self.needed
    }

    /// Worse than all before it, and than their median by what matters. A figure that is new, or that too few of the runs before have,
    /// cannot say so.
    fn triggers(
        &self,
        metric: &RegressionMetric,
        baseline: &[&RunRecord],
        run: &RunRecord,
    ) -> bool {
        let Some(value) = run.values.get(&metric.expression) else {
            return false;
        };
        let before = values(metric, baseline);
        self.is_enough(before.len())
            && before.iter().all(|b| is_worse(metric.better, *value, *b))
            && changes(metric, median(&before), *value)
    }

    /// That a figure is in too few of the runs before, as one that is watched since yesterday: nothing is said of it then, and not
    /// that it is as before.
    fn too_new(&self, baseline: &[&RunRecord]) -> Option<RegressionStatus> {
        let metrics = self.spec.metrics.iter();
        let counted = metrics.map(|metric| (metric, values(metric, baseline).len()));
        let (metric, runs) = counted.min_by_key(|(_, runs)| *runs)?;
        (!self.is_enough(runs)).then(|| {
            let message = format!(
                "{runs} of {} comparable runs have {}",
                self.needed, metric.name
            );
            self.status(RegressionState::Baselining, message, runs)
        })
    }

    /// That one of the runs was on another machine than the baseline, if one was: what differs is not the backend's then.
    fn elsewhere(&self, baseline: &[&RunRecord], runs: &[&RunRecord]) -> Option<RegressionStatus> {
        let (run, why) = runs
            .iter()
            .find_map(|run| Some((run, machine::differs(baseline, run)?)))?;
        let whose = if run.experiment.uid == self.run.experiment.uid {
            String::new()
        } else {
            format!(" of {}", run.experiment.name)
        };
        let message = format!(
            "the machine{whose} is another one: {why}; if that is so for good, regression.since leaves out the runs before"
        );
        Some(self.status(RegressionState::NotComparable, message, baseline.len()))
    }

    fn about(
        &self,
        state: RegressionState,
        message: String,
        metric: &RegressionMetric,
        baseline: &[&RunRecord],
        runs: &[&RunRecord],
    ) -> RegressionStatus {
        let mut status = self.status(state, message, baseline.len());
        status.metric = Some(metric.name.clone());
        status.before = Some(median(&values(metric, baseline))).filter(|value| value.is_finite());
        status.after = Some(median(&values(metric, runs))).filter(|value| value.is_finite());
        status.would_see_percent = would_see(metric, baseline);
        status
    }
}

/// The first of the runs, up to the one that gave the alarm, that are all worse than the median of the baseline by what
/// matters: a change may have been there for some runs before one is worse than all before it.
fn since(metric: &RegressionMetric, baseline: &[&RunRecord], trigger: &RunRecord) -> String {
    let middle = median(&values(metric, baseline));
    let worse = |record: &&&RunRecord| {
        let value = record.values.get(&metric.expression);
        value.is_some_and(|value| changes(metric, middle, *value))
    };
    let first = baseline.iter().rev().take_while(worse).last();
    first
        .map_or(&trigger.experiment.name, |record| &record.experiment.name)
        .clone()
}

fn state(record: &RunRecord) -> Option<RegressionState> {
    record.verdict.as_ref().map(|verdict| verdict.state)
}

/// Whether a run was found to be on another machine than the newest before it. Its verdict says that it was not comparable and not
/// why, so the machine is asked again. One that came before there was a baseline was held against no machine, and counts.
fn was_elsewhere(before: &[&RunRecord], record: &RunRecord) -> bool {
    state(record) == Some(RegressionState::NotComparable)
        && machine::differs(before, record).is_some()
}

/// One that went to its end; a run outside a cluster has, if it has a record.
fn is_whole(record: &RunRecord) -> bool {
    record.end.as_ref().is_none_or(EndReason::succeeded)
}

fn is_worse(better: Better, x: f64, than: f64) -> bool {
    match better {
        Better::Less => x > than,
        Better::More => x < than,
    }
}

fn values(metric: &RegressionMetric, runs: &[&RunRecord]) -> Vec<f64> {
    let all = runs
        .iter()
        .filter_map(|record| record.values.get(&metric.expression));
    all.copied().filter(|value| value.is_finite()).collect()
}

/// The least change from a median that matters.
fn least_change(metric: &RegressionMetric, before: f64) -> f64 {
    match (metric.min_change_percent, metric.min_change) {
        (Some(percent), _) => before.abs() * f64::from(percent) / 100.0,
        (None, Some(least)) => least,
        (None, None) => 0.0,
    }
}

/// Whether a change of the median matters.
fn changes(metric: &RegressionMetric, before: f64, after: f64) -> bool {
    is_worse(metric.better, after, before) && (after - before).abs() >= least_change(metric, before)
}

/// The middle value, or the mean of the two in the middle; not a number of nothing.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => sorted[odd / 2],
        even => f64::midpoint(sorted[even / 2 - 1], sorted[even / 2]),
    }
}

/// Three standard deviations of the baseline, per cent of its median; never less than what matters, below which nothing is said.
fn would_see(metric: &RegressionMetric, baseline: &[&RunRecord]) -> Option<f64> {
    let values = values(metric, baseline);
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares = values
        .iter()
        .map(|value| (value - mean).powi(2))
        .sum::<f64>();
    let deviation = (squares / (count - 1.0)).sqrt();
    let middle = median(&values);
    let percent = 100.0 * (3.0 * deviation).max(least_change(metric, middle)) / middle.abs();
    percent.is_finite().then(|| crate::stats::round(percent))
}

/// The correlation of each value with the one before it.
fn autocorrelation(values: &[f64]) -> f64 {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let around = values.iter().map(|value| value - mean);
    let total: f64 = around.clone().map(|value| value * value).sum();
    let pairs = around.clone().zip(around.skip(1));
    let found = pairs.map(|(a, b)| a * b).sum::<f64>() / total;
    if found.is_finite() { found } else { 0.0 }
}

/// What differs between two runs of what may be blamed.
fn differences(before: &RunRecord, after: &RunRecord) -> Vec<String> {
    let keys: std::collections::BTreeSet<&String> =
        before.facts.keys().chain(after.facts.keys()).collect();
    let none = "none".to_owned();
    let differing = keys.into_iter().filter_map(|key| {
        let (a, b) = (
            before.facts.get(key).unwrap_or(&none),
            after.facts.get(key).unwrap_or(&none),
        );
        (a != b).then(|| format!("{key}: {a} and {b}"))
    });
    differing.take(MOST_DIFFERENCES).collect()
}

fn are(names: &[&str]) -> String {
    match names {
        [one] => format!("{one} is"),
        many => format!("{} are", many.join(", ")),
    }
}

fn number(value: f64) -> String {
    crate::format::three(value)
}

fn percent(before: f64, after: f64) -> String {
    let change = 100.0 * (after - before) / before.abs();
    if change.is_finite() {
        format!(" ({change:+.0} %)")
    } else {
        String::new()
    }
}
