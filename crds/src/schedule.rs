//! The trial schedule: a pure function of spec and seed.
//!
//! Blocks interleave the backends: in each block every backend runs every cell once. The order of the
//! cells within a block and of the backends within a cell is random, so that drift of the machine,
//! caches and neighbours falls on all backends alike (randomised multiple interleaved trials, Abedi and
//! Brecht, ICPE 2017).
//!
//! The segments of a soak are the exception: each goes on with the table that the one before it left, so
//! those of a cell follow each other.

use crate::rng::SplitMix64;
use crate::spec::{ExperimentSpec, Workload, WorkloadKind};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use crate::cell::{Cell, factor, label};

/// One run of one cell on one backend, as planned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Trial {
    /// The position in the schedule, from 0.
    pub index: i32,
    /// The block, from 0: trials of one block are compared with each other.
    pub block: i32,
    /// The name of the workload.
    pub workload: String,
    /// The kind of the workload.
    pub kind: WorkloadKind,
    /// The position of the cell within its workload, from 0, in the order of the spec.
    pub cell_index: i32,
    /// The factor levels.
    pub cell: Cell,
    /// The name of the backend.
    pub backend: String,
    /// A name that is unique in the experiment and fits a path: block, workload, cell and backend, as in
    /// `b00-put-c03-minio`.
    pub id: String,
}

impl Trial {
    /// Whether the trial is a negative control: the violations that it finds show that the checks can find
    /// them, and say nothing against the backend.
    #[must_use]
    pub fn is_control(&self) -> bool {
        (self.kind.traits().is_control)(&self.cell)
    }

    /// The cell for people: `put objectSize=4Ki concurrency=8`.
    #[must_use]
    pub fn describe(&self) -> String {
        let levels = if self.cell.is_empty() {
            String::new()
        } else {
            format!(" {}", label(&self.cell))
        };
        format!(
            "{}{levels} on {} (block {})",
            self.workload,
            self.backend,
            self.block + 1
        )
    }
}

/// The cells of a workload, in the order of the spec: every combination of the levels of its factors. Empty when the
/// workload names no kind.
#[must_use]
pub fn cells(workload: &Workload) -> Vec<Cell> {
    let Some(member) = workload.member() else {
        return Vec::new();
    };
    let factors = member.measured().factors();
    factors
        .iter()
        .fold(vec![Cell::new()], |cells, (factor, levels)| {
            let with = |cell: &Cell, level: &String| {
                let mut cell = cell.clone();
                cell.insert((*factor).to_owned(), level.clone());
                cell
            };
            cells
                .iter()
                .flat_map(|cell| levels.iter().map(move |level| with(cell, level)))
                .collect()
        })
}

/// Every trial of the experiment, in the order in which they run.
#[must_use]
pub fn trials(spec: &ExperimentSpec) -> Vec<Trial> {
    let cells: Vec<(&Workload, WorkloadKind, i32, Cell)> = spec
        .workloads
        .iter()
        .filter_map(|workload| workload.kind().map(|kind| (workload, kind)))
        .flat_map(|(workload, kind)| {
            (0..)
                .zip(cells(workload))
                .map(move |(index, cell)| (workload, kind, index, cell))
        })
        .collect();
    let (segmented, others): (Vec<_>, Vec<_>) = cells
        .iter()
        .partition(|(_, kind, ..)| kind.traits().in_segments);
    let mut rng = SplitMix64::stream(spec.seed.unsigned_abs(), "schedule");
    let mut trials = Vec::with_capacity(total(spec));
    let names: Vec<&str> = spec
        .backends
        .iter()
        .map(|backend| backend.name.as_str())
        .collect();
    let blocks = 0..spec.trials.blocks.max(0);
    for block in blocks.clone() {
        let mut order = others.clone();
        rng.shuffle(&mut order);
        for cell in order {
            let mut backends = names.clone();
            rng.shuffle(&mut backends);
            for backend in backends {
                trials.push(trial(cell, block, backend, trials.len()));
            }
        }
    }
    let mut order = segmented;
    rng.shuffle(&mut order);
    for cell in order {
        let mut backends = names.clone();
        rng.shuffle(&mut backends);
        for backend in backends {
            for block in blocks.clone() {
                trials.push(trial(cell, block, backend, trials.len()));
            }
        }
    }
    trials
}

fn trial(
    (workload, kind, cell_index, levels): &(&Workload, WorkloadKind, i32, Cell),
    block: i32,
    backend: &str,
    index: usize,
) -> Trial {
    Trial {
        index: i32::try_from(index).unwrap_or(i32::MAX),
        block,
        workload: workload.name.clone(),
        kind: *kind,
        cell_index: *cell_index,
        cell: levels.clone(),
        backend: backend.to_owned(),
        id: format!(
            "b{block:02}-{}",
            place(&workload.name, *cell_index, backend)
        ),
    }
}

/// A cell of a workload on a backend, as ids spell it: `put-c03-minio`. Where a name of a workload itself looks like
/// the border of a cell, as in `put-c03`, its dash is written as a dot, which no name has: the first such border in
/// an id is always the real one, so that no two trials of an experiment share an id.
pub(crate) fn place(workload: &str, cell_index: i32, backend: &str) -> String {
    let mut id = String::with_capacity(workload.len() + backend.len() + 5);
    let mut rest = workload;
    while let Some(at) = rest.find("-c") {
        let (before, border) = rest.split_at(at);
        let after = &border[2..];
        id.push_str(before);
        id.push_str(if after.starts_with(|c: char| c.is_ascii_digit()) {
            ".c"
        } else {
            "-c"
        });
        rest = after;
    }
    id.push_str(rest);
    id + &format!("-c{cell_index:02}-{backend}")
}

/// How many trials the experiment plans, without building them.
#[must_use]
pub fn total(spec: &ExperimentSpec) -> usize {
    let cells: usize = spec
        .workloads
        .iter()
        .map(|workload| cells(workload).len())
        .sum();
    let blocks = usize::try_from(spec.trials.blocks).unwrap_or(0);
    cells
        .saturating_mul(spec.backends.len())
        .saturating_mul(blocks)
}

/// The seconds that the whole schedule is expected to take, without preparation: for estimates only.
#[must_use]
pub fn expected_seconds(spec: &ExperimentSpec) -> i64 {
    let trial = i64::from(spec.trials.warmup_seconds) + i64::from(spec.trials.window_seconds);
    i64::try_from(total(spec))
        .unwrap_or(i64::MAX)
        .saturating_mul(trial)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::spec::{
        Backend, ClosedLoad, ColdRead, Consistency, KeyShape, Load, MinioBackend, ReadMode,
        SmallObjectPut,
    };
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    pub(crate) fn spec(backends: usize, blocks: i32, seed: i64) -> ExperimentSpec {
        let backend = |name: String| Backend {
            name,
            minio: Some(MinioBackend {
                durability: Default::default(),
                version: "v".into(),
                servers: 1,
                drives_per_server: 1,
                parity: None,
            }),
            ..Default::default()
        };
        let put = SmallObjectPut {
            object_size: vec!["1Ki".into(), "4Ki".into()],
            prefixes: 10,
            load: Load {
                closed: Some(ClosedLoad {
                    concurrency: vec![1, 8, 32],
                }),
                open: None,
                capacity: None,
            },
        };
        let read = ColdRead {
            objects_per_run: vec![10, 100],
            modes: vec![ReadMode::ListPrefix, ReadMode::StartAfter],
            object_size: "4Ki".into(),
            page_size: 100,
            readers: 1,
            get_concurrency: 4,
            gets: true,
        };
        let consistency = Consistency {
            writers: 1,
            listers: 1,
            operations: 100,
            page_sizes: vec![2],
            key_shapes: vec![KeyShape::Flat],
        };
        let workload = |name: &str| Workload {
            name: name.into(),
            ..Default::default()
        };
        ExperimentSpec {
            result_class: Default::default(),
            environment: None,
            seed,
            backends: (0..backends).map(|n| backend(format!("b{n}"))).collect(),
            equipment: Default::default(),
            workloads: vec![
                Workload {
                    small_object_put: Some(put),
                    ..workload("put")
                },
                Workload {
                    cold_read: Some(read),
                    ..workload("read")
                },
                Workload {
                    consistency: Some(consistency),
                    ..workload("check")
                },
            ],
            trials: crate::spec::Trials {
                blocks,
                ..Default::default()
            },
            generators: Default::default(),
            validity: Default::default(),
            series: None,
            objectives: vec![],
            decision: None,
            results: Default::default(),
            limits: Default::default(),
            suspend: false,
            cancel: false,
            active_deadline_seconds: None,
            ttl_seconds_after_finished: None,
        }
    }

    proptest! {
        #[test]
        fn every_backend_runs_every_cell_once_in_each_block(
            backends in 1_usize..4, blocks in 1_i32..8, seed in 0_i64..1000,
        ) {
            let spec = spec(backends, blocks, seed);
            let trials = trials(&spec);
            prop_assert_eq!(trials.len(), total(&spec));
            prop_assert_eq!(trials.len(), 11 * backends * blocks as usize);
            let ids: BTreeSet<&str> = trials.iter().map(|trial| trial.id.as_str()).collect();
            prop_assert_eq!(ids.len(), trials.len());
            // Trials of one block and cell stand together, so that drift falls on all backends alike.
            for group in trials.chunks(backends) {
                let keys: BTreeSet<_> = group.iter().map(|t| (t.block, &t.workload, t.cell_index)).collect();
                let names: BTreeSet<_> = group.iter().map(|t| &t.backend).collect();
                prop_assert_eq!(keys.len(), 1);
                prop_assert_eq!(names.len(), backends);
            }
            for (position, trial) in trials.iter().enumerate() {
                prop_assert_eq!(trial.index as usize, position);
            }
        }
    }

    #[test]
    fn the_seed_alone_decides_the_order() {
        let order = |seed| {
            trials(&spec(2, 6, seed))
                .into_iter()
                .map(|t| t.id)
                .collect::<Vec<_>>()
        };
        assert_eq!(order(5), order(5));
        assert_ne!(order(5), order(6));
    }

    #[test]
    fn each_backend_goes_first_about_equally_often() {
        let trials = trials(&spec(2, 100, 9));
        let first = trials
            .chunks(2)
            .filter(|pair| pair[0].backend == "b0")
            .count();
        assert!((440..660).contains(&first), "{first} of 1100");
    }

    #[test]
    fn the_order_of_a_published_seed_never_changes() {
        let ids: Vec<String> = trials(&spec(2, 6, 20_261_121))
            .into_iter()
            .take(4)
            .map(|t| t.id)
            .collect();
        assert_eq!(
            ids,
            [
                "b00-put-c03-b0",
                "b00-put-c03-b1",
                "b00-check-c00-b1",
                "b00-check-c00-b0"
            ]
        );
    }

    proptest! {
        #[test]
        fn no_two_trials_share_an_id_whatever_the_names(
            workloads in proptest::collection::btree_set("[a-c]{1,2}(-?c[0-9]{2,3}){0,3}", 2..6),
            backends in proptest::collection::btree_set("c?[0-9a]?(-?c[0-9]{2}){0,2}-?y", 2..5),
        ) {
            let mut spec = spec(backends.len(), 2, 1);
            for (backend, name) in spec.backends.iter_mut().zip(backends) {
                backend.name = name;
            }
            let consistency = spec.workloads.remove(2);
            let named = |name| Workload { name, ..consistency.clone() };
            spec.workloads = workloads.into_iter().map(named).collect();
            let trials = trials(&spec);
            let ids: BTreeSet<&str> = trials.iter().map(|trial| trial.id.as_str()).collect();
            prop_assert_eq!(ids.len(), trials.len());
            prop_assert!(ids.iter().all(|id| !id.contains('/')));
        }
    }

    #[test]
    fn names_that_look_like_a_cell_do_not_make_two_trials_one() {
        let trial = |workload, cell, backend| place(workload, cell, backend);
        assert_ne!(trial("x", 0, "c00-y"), trial("x-c00", 0, "y"));
        assert_eq!(trial("x-c00", 0, "y"), "x.c00-c00-y");
        assert_eq!(trial("put-c-c1a-c", 3, "b"), "put-c.c1a-c-c03-b");
        assert_eq!(trial("cold-read", 12, "minio-c2"), "cold-read-c12-minio-c2");
    }

    #[test]
    fn segments_of_a_soak_follow_each_other() {
        let spec: ExperimentSpec = serde_json::from_value(serde_json::json!({
            "backends": [{"name": "pg", "postgres": {"version": "18.4"}}],
            "workloads": [{"name": "long", "soak": {"ratePerSecond": 100, "fillfactor": [100, 80],
                "snapshots": ["None", "WholeSegment"]}}],
            "trials": {"blocks": 5},
        }))
        .unwrap();
        let trials = trials(&spec);
        assert_eq!(trials.len(), total(&spec));
        assert_eq!(trials.len(), 20);
        for cell in trials.chunks(5) {
            assert!(cell.iter().all(|trial| trial.cell == cell[0].cell));
            assert!((0..).zip(cell).all(|(block, trial)| trial.block == block));
        }
        let ids: std::collections::BTreeSet<&str> =
            trials.iter().map(|trial| trial.id.as_str()).collect();
        assert_eq!(ids.len(), 20);
    }
}
