//! Figures of a window against a bound, as several rules read them.

use super::{DecisionInput, Role, Standing, Unit, count, missing};
use crate::measured::CellBackend;
use crate::stats::{interval, mean, round};
use bakeoff_crds::figure::Figure;

/// What a rule demands of a figure.
#[derive(Clone, Copy)]
pub(super) enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

impl Bound {
    /// Whether an interval is shown to keep the bound, or to break it.
    fn judge(self, low: f64, high: f64) -> Standing {
        let (met, not) = match self {
            Self::AtLeast(bound) => (low >= bound, high < bound),
            Self::AtMost(bound) => (high <= bound, low > bound),
        };
        match (met, not) {
            (true, _) => Standing::Met,
            (_, true) => Standing::NotMet,
            _ => Standing::Open,
        }
    }

    fn words(self, unit: Unit) -> String {
        let unit = match unit {
            Unit::Percent => " %",
            Unit::Milliseconds => " ms",
            _ => "",
        };
        match self {
            Self::AtLeast(bound) => format!("at least {bound}{unit}"),
            Self::AtMost(bound) => format!("at most {bound}{unit}"),
        }
    }
}

/// Leaves an input open that stands so at the level of one test but not at its share of it (Student's t over `values`). Where any of
/// several is enough for a verdict, each is judged at its share (Bonferroni).
pub(super) fn at_share(
    input: &mut DecisionInput,
    standing: Standing,
    values: &[f64],
    bound: Bound,
    share: f64,
) {
    let shown = interval::student(values, share).map(|(_, low, high)| bound.judge(low, high));
    if input.standing == standing && shown != Some(standing) {
        input.standing = Standing::Open;
        say_share(input, standing, share);
    }
}

/// Says beside a demand why it is open although its interval lies on one side: it is one of several of which any is enough.
fn say_share(input: &mut DecisionInput, standing: Standing, share: f64) {
    let what = match standing {
        Standing::Met => "kept",
        Standing::NotMet | Standing::Open => "broken",
    };
    input.demand.push_str(&format!(
        "; one of several, so that it is {what} has to be shown with p at most {share:.4}"
    ));
}

/// The values of a figure, one for each block in which it was measured.
pub(super) fn values(on: &CellBackend, figure: Figure) -> Vec<f64> {
    on.figures
        .get(&figure)
        .map(|figure| figure.blocks.iter().map(|point| point.value).collect())
        .unwrap_or_default()
}

/// What a figure is called, and in what unit it is printed.
#[derive(Clone, Copy)]
pub(super) struct Named {
    pub figure: Figure,
    pub name: &'static str,
    pub unit: Unit,
}

/// A figure against a bound: shown when its whole interval over the blocks (Student's t) lies on one side.
pub(super) fn bounded(
    on: &CellBackend,
    named: Named,
    scope: &str,
    bound: Bound,
    alpha: f64,
) -> DecisionInput {
    let mut input = missing(
        named.name,
        scope.to_owned(),
        Role::Primary,
        named.unit,
        format!("shown to be {}", bound.words(named.unit)),
    );
    let values = values(on, named.figure);
    input.blocks = count(values.len());
    if values.is_empty() {
        return input;
    }
    input.value = Some(round(mean(&values)));
    let Some((_, low, high)) = interval::student(&values, alpha) else {
        return input;
    };
    input.low = Some(round(low));
    input.high = Some(round(high));
    input.standing = bound.judge(low, high);
    input
}

/// A figure that is the extreme of its window, such as the longest wait: met when every block keeps the
/// bound, not met when the interval over the blocks breaks it, so that one window in which a neighbour
/// was busy leaves the question open. `value` is the worst block.
pub(super) fn in_every_window(
    on: &CellBackend,
    named: Named,
    scope: &str,
    bound: Bound,
    alpha: f64,
) -> DecisionInput {
    let mut input = bounded(on, named, scope, bound, alpha);
    let values = values(on, named.figure).into_iter();
    let worst = match bound {
        Bound::AtLeast(_) => values.reduce(f64::min),
        Bound::AtMost(_) => values.reduce(f64::max),
    };
    input.role = Role::Guard;
    input.demand = format!("{} in every window", bound.words(named.unit));
    if let Some(worst) = worst {
        input.value = Some(round(worst));
        // One block has no interval, and its value is all there is.
        input.standing = match (bound.judge(worst, worst), input.standing) {
            (Standing::Met, _) => Standing::Met,
            (_, Standing::NotMet) => Standing::NotMet,
            _ => Standing::Open,
        };
    }
    input
}
