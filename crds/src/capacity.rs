//! Loads in shares of capacity: which searches there are, and what they found.
//!
//! A fair latency is quoted below saturation and at the same absolute rate on every backend. Before
//! the first block the sustainable maximum of each backend is searched for each cell, and every
//! backend is then measured at shares of the weakest one's.

use crate::schedule::{self, Cell, Trial, factor};
use crate::spec::{CapacityLoad, ExperimentSpec, Workload};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The version that [`CapacityRecord::schema_version`] carries.
pub const CAPACITY_SCHEMA: &str = "capacity.bakeoff.dev/v1";

/// What the ids of searches begin with.
const SEARCH: &str = "capacity-";

/// The name of a search in the run's folder: `<workload>-c<cell>-<backend>`.
#[must_use]
pub fn name(search: &Trial) -> &str {
    search.id.strip_prefix(SEARCH).unwrap_or(&search.id)
}

/// What a search for one backend's sustainable maximum in one cell found:
/// `capacity/<workload>-c<cell>-<backend>.json` in the run's folder. Written once, so that a resumed
/// run measures at the same rates.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CapacityRecord {
    /// [`CAPACITY_SCHEMA`].
    pub schema_version: String,
    /// The name of the workload.
    pub workload: String,
    /// The factor levels without the share of capacity.
    pub cell: Cell,
    /// The name of the backend.
    pub backend: String,
    /// The highest rate that met the objective, operations per second; 0 when none did.
    pub sustained_per_second: f64,
    /// What ended the search.
    pub limit: CapacityLimit,
    /// Every step, in the order in which they ran.
    pub steps: Vec<CapacityStep>,
}

/// What ended a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CapacityLimit {
    /// A higher rate broke the objective: the figure is the backend's.
    Objective,
    /// `maxRatePerSecond` met the objective: the backend sustains at least this.
    MaxRate,
    /// The generator could not offer more: the backend sustains at least this.
    Generator,
    /// No rate met the objective.
    NoRate,
}

/// One short open-loop run of a search.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CapacityStep {
    /// Its number, which names its folder.
    pub number: i32,
    /// The rate offered, operations per second of all generators together.
    pub rate_per_second: f64,
    /// Operations due in the window.
    pub planned: i64,
    /// Share of them that ended well within the objective, thousandths. Failed, unfinished and
    /// never started ones did not.
    pub within_per_mille: f64,
    /// Share of them that failed, thousandths.
    pub failed_per_mille: f64,
    /// Share of them that were never started, thousandths.
    pub not_started_per_mille: f64,
    /// 99th percentile of the response of those that ended well, microseconds.
    pub response_p99_micros: i64,
    /// Why the step says nothing, when the generator or the set-up is to blame.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub void: Vec<String>,
    /// Whether the objective was met.
    pub met: bool,
}

/// The capacity load of a workload, where it has one.
#[must_use]
pub fn load(workload: &Workload) -> Option<CapacityLoad> {
    workload.member()?.measured().capacity()
}

/// The levels of a cell that a search is for: all but the share of capacity.
#[must_use]
pub fn base(cell: &Cell) -> Cell {
    let mut base = cell.clone();
    base.remove(factor::CAPACITY_PERCENT);
    base
}

/// Every search of an experiment, in the order in which they run: for each workload with a capacity
/// load, each of its cells without the share, each backend. They look like trials, in block -1.
#[must_use]
pub fn searches(spec: &ExperimentSpec) -> Vec<Trial> {
    let mut searches: Vec<Trial> = Vec::new();
    for workload in spec.workloads.iter().filter(|one| load(one).is_some()) {
        let Some(kind) = workload.kind() else {
            continue;
        };
        let mut bases: Vec<Cell> = Vec::new();
        for cell in schedule::cells(workload) {
            let base = base(&cell);
            if !bases.contains(&base) {
                bases.push(base);
            }
        }
        for (cell_index, cell) in (0_i32..).zip(bases) {
            for backend in &spec.backends {
                searches.push(Trial {
                    index: i32::try_from(searches.len()).unwrap_or(i32::MAX),
                    block: -1,
                    workload: workload.name.clone(),
                    kind,
                    cell_index,
                    cell: cell.clone(),
                    backend: backend.name.clone(),
                    // Ids of trials begin with their block: no search is ever taken for one.
                    id: format!(
                        "{SEARCH}{}",
                        schedule::place(&workload.name, cell_index, &backend.name)
                    ),
                });
            }
        }
    }
    searches
}

/// The rate at which a trial of a capacity load runs: its share of the weakest backend's capacity in
/// its cell, operations per second of all generators together.
///
/// # Errors
/// When a backend's capacity is not known, or no rate met the objective on one; in words.
pub fn rate(trial: &Trial, backends: &[&str], found: &[CapacityRecord]) -> Result<f64, String> {
    let percent: f64 = trial
        .cell
        .get(factor::CAPACITY_PERCENT)
        .and_then(|level| level.parse().ok())
        .ok_or_else(|| format!("trial {} states no share of capacity", trial.id))?;
    let cell = base(&trial.cell);
    let mut weakest = f64::INFINITY;
    for backend in backends {
        let record = found.iter().find(|record| {
            record.workload == trial.workload && record.cell == cell && record.backend == *backend
        });
        let sustained = record
            .ok_or_else(|| format!("the capacity of {backend} is not known"))?
            .sustained_per_second;
        if sustained <= 0.0 {
            return Err(format!(
                "{backend} met the objective of the capacity search at no rate, so there is none to measure at: \
                 raise load.capacity.p99Milliseconds or lower load.capacity.start"
            ));
        }
        weakest = weakest.min(sustained);
    }
    if weakest.is_finite() {
        Ok(weakest * percent / 100.0)
    } else {
        Err("no backend".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::tests::spec;
    use crate::spec::Load;

    fn capacity_spec() -> ExperimentSpec {
        let mut spec = spec(2, 1, 1);
        let capacity = serde_json::from_value(serde_json::json!({})).unwrap();
        let put = spec.workloads[0].small_object_put.as_mut().unwrap();
        put.load = Load {
            closed: None,
            open: None,
            capacity: Some(capacity),
        };
        spec
    }

    fn record(backend: &str, sustained_per_second: f64) -> CapacityRecord {
        CapacityRecord {
            schema_version: CAPACITY_SCHEMA.into(),
            workload: "put".into(),
            cell: Cell::from([(factor::OBJECT_SIZE.to_owned(), "4Ki".to_owned())]),
            backend: backend.into(),
            sustained_per_second,
            limit: CapacityLimit::Objective,
            steps: vec![],
        }
    }

    #[test]
    fn each_cell_without_its_share_is_searched_once_on_each_backend() {
        let ids: Vec<String> = searches(&capacity_spec())
            .into_iter()
            .map(|search| name(&search).to_owned())
            .collect();
        assert_eq!(
            ids,
            ["put-c00-b0", "put-c00-b1", "put-c01-b0", "put-c01-b1"]
        );
        assert!(searches(&spec(2, 1, 1)).is_empty());
    }

    #[test]
    fn every_backend_is_measured_at_a_share_of_the_weakest() {
        let trials = schedule::trials(&capacity_spec());
        let found = [record("b0", 1_000.0), record("b1", 400.0)];
        let at = |backend: &str, percent: &str| {
            trials
                .iter()
                .find(|trial| {
                    trial.backend == backend
                        && trial
                            .cell
                            .get("objectSize")
                            .is_some_and(|size| size == "4Ki")
                        && trial
                            .cell
                            .get("capacityPercent")
                            .is_some_and(|p| p == percent)
                })
                .unwrap()
        };
        for backend in ["b0", "b1"] {
            assert_eq!(rate(at(backend, "50"), &["b0", "b1"], &found), Ok(200.0));
            assert_eq!(rate(at(backend, "90"), &["b0", "b1"], &found), Ok(360.0));
        }
        let unknown = rate(at("b0", "50"), &["b0", "b1", "b2"], &found);
        assert!(unknown.unwrap_err().contains("b2"));
        let none = [record("b0", 1_000.0), record("b1", 0.0)];
        assert!(rate(at("b0", "50"), &["b0", "b1"], &none).is_err());
    }
}
