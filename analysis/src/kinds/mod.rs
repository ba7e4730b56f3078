//! What summaries, objectives and the report need to know of each kind of workload.
//!
//! One file for each kind, named as in `bakeoff_crds::spec`. The table at the bottom is the only place of the crate that
//! lists the kinds.

mod batching;
mod cas_race;
mod cold_read;
mod consistency;
mod head_row;
mod replay;
mod retention;
mod server_loss;
mod small_object_put;
mod soak;
mod sustain;

use bakeoff_crds::figure::{Counter, Figure};
use bakeoff_crds::spec::WorkloadKind;

use crate::metric::Metric;

/// What there is to know of a kind of workload.
///
/// Which of its operations stands for the workload depends on who asks, so four fields say so: a rate or a latency
/// of `main` is what an objective without an operation means; `headline` is what the decision is about, so that its
/// rows come first in the status; `charted` is the one whose spectrum is drawn, a single step rather than a mix of
/// them; `tabled` stands in the open table of percentiles, the others in a fold.
#[derive(Debug)]
pub struct Kind {
    /// The operation that an objective means where it names none.
    pub main: &'static str,
    /// The operation whose rows come first in the status.
    pub headline: Option<&'static str>,
    /// The operation whose spectrum is drawn.
    pub charted: &'static str,
    /// The operation of the open table of percentiles, where it was measured and is not `main`.
    pub tabled: Option<&'static str>,
    /// Kinds of operation that are recorded.
    pub operations: &'static [&'static str],
    /// Counters that are recorded.
    pub counters: &'static [Counter],
    /// Correctness checks that are made.
    pub checks: &'static [&'static str],
    /// Figures of the backend's state over a window.
    pub figures: &'static [Figure],
    /// Whether what its cells are to find differs, because some are negative controls: then checks are kept by cell.
    pub checks_by_cell: bool,
    /// Whether a window ends with its work and not with the clock, so that its rate falls by nature.
    pub ends_with_its_work: bool,
    /// Whether each of its trials runs at a rate that follows from those before it, so that no latency is taken over all.
    pub has_rates_of_its_own: bool,
    /// Whether its counters stand beside its checks in the report.
    pub counters_are_shown: bool,
    /// The figures that its forests show, by whether the load is open.
    pub forests: fn(open_load: bool) -> &'static [(&'static str, Metric)],
    /// How a latency goes over the cells, where that is drawn.
    pub scaling: Option<Scaling>,
    /// The cell that a single chart shows.
    pub typical: Typical,
    /// Whether the rate over the window is drawn.
    pub rate_over_window: bool,
    /// What the report says of the server's state.
    pub state: Option<State>,
}

/// The figures of a kind of its own, and then those that it shares with another.
const fn joined<const N: usize>(own: &[Figure], shared: &[Figure]) -> [Figure; N] {
    let mut all = [shared[0]; N];
    let mut at = 0;
    while at < N {
        all[at] = if at < own.len() {
            own[at]
        } else {
            shared[at - own.len()]
        };
        at += 1;
    }
    all
}

impl Kind {
    /// A kind of which nothing is to be said beyond its main operation.
    const fn of(main: &'static str) -> Self {
        Self {
            main,
            headline: None,
            charted: main,
            tabled: None,
            operations: &[],
            counters: &[],
            checks: &[],
            figures: &[],
            checks_by_cell: false,
            ends_with_its_work: false,
            has_rates_of_its_own: false,
            counters_are_shown: false,
            forests: |_| &[],
            scaling: None,
            typical: Typical::MiddleLevels,
            rate_over_window: false,
            state: None,
        }
    }
}

/// A latency over the cells: a chart for each level of one factor.
#[derive(Debug)]
pub struct Scaling {
    /// The factor of which each level has a chart.
    pub groups: &'static str,
    /// The title of the chart of a level.
    pub title: fn(level: &str) -> String,
    /// The operation.
    pub operation: &'static str,
    /// Its latency.
    pub metric: Metric,
    /// What it is drawn over.
    pub over: Over,
}

/// What a latency is drawn over.
#[derive(Clone, Copy, Debug)]
pub enum Over {
    /// The throughput that was reached, point by point of the first of these factors that a cell has.
    Throughput(&'static [&'static str]),
    /// The levels of a factor.
    Factor(&'static str),
}

/// The cell that a single chart of a workload shows.
#[derive(Clone, Copy, Debug)]
pub enum Typical {
    /// The middle level of each factor.
    MiddleLevels,
    /// The last one with the largest level of this factor.
    MostOf(&'static str),
}

/// A table of the server's state.
#[derive(Debug)]
pub struct State {
    /// Its columns.
    pub columns: &'static [Column],
    /// What there is to know about them.
    pub words: &'static str,
}

/// A column of figures.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// The figure.
    pub figure: Figure,
    /// The head.
    pub head: &'static str,
    /// A figure whose largest value of any block stands in brackets behind it.
    pub most: Option<Figure>,
}

impl Column {
    const fn of(figure: Figure, head: &'static str) -> Self {
        Self {
            figure,
            head,
            most: None,
        }
    }

    const fn with_most(self, most: Figure) -> Self {
        Self {
            most: Some(most),
            ..self
        }
    }
}

/// What there is to know of a kind.
#[must_use]
pub fn of(kind: WorkloadKind) -> &'static Kind {
    match kind {
        WorkloadKind::SmallObjectPut => &small_object_put::KIND,
        WorkloadKind::ColdRead => &cold_read::KIND,
        WorkloadKind::Consistency => &consistency::KIND,
        WorkloadKind::Batching => &batching::KIND,
        WorkloadKind::HeadRow => &head_row::KIND,
        WorkloadKind::CasRace => &cas_race::KIND,
        WorkloadKind::Retention => &retention::KIND,
        WorkloadKind::ServerLoss => &server_loss::KIND,
        WorkloadKind::Soak => &soak::KIND,
        WorkloadKind::Replay => &replay::KIND,
        WorkloadKind::Sustain => &sustain::KIND,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_for_a_workload_is_recorded_by_it() {
        for kind in WorkloadKind::ALL {
            let this = of(*kind);
            let recorded = |operation: &str| this.operations.contains(&operation);
            assert!(recorded(this.main) && recorded(this.charted), "{kind:?}");
            assert!(this.headline.is_none_or(recorded), "{kind:?}");
            assert!(this.tabled.is_none_or(recorded), "{kind:?}");
            let forests = [true, false].map(this.forests);
            assert!(
                forests
                    .concat()
                    .iter()
                    .all(|(operation, _)| recorded(operation))
            );
            assert!(
                this.scaling
                    .as_ref()
                    .is_none_or(|scaling| recorded(scaling.operation))
            );
            for column in this.state.iter().flat_map(|state| state.columns) {
                assert!(
                    this.figures.contains(&column.figure),
                    "{kind:?} {}",
                    column.figure
                );
                assert!(
                    column
                        .most
                        .is_none_or(|figure| this.figures.contains(&figure))
                );
            }
        }
    }
}
