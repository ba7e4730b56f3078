//! Runs an experiment on a real Postgres server as `loadgen` does, into a folder.

use std::sync::Arc;
use std::time::Duration;

use bakeoff_crds::identity::Identity;
use bakeoff_crds::result::TrialRecord;
use bakeoff_crds::run::{Environment, RUN_SCHEMA, RunPlan, StoreTarget};
use bakeoff_crds::spec::ExperimentSpec;
use bakeoff_loadgen::run::control::Control;
use bakeoff_loadgen::run::{Backend, Run};
use bakeoff_loadgen::store::Store;
use bakeoff_loadgen::traces::Traces;
use serde_json::json;
use tokio::sync::watch;

use super::postgres::Postgres;
use super::runtime;

/// The plan of an experiment with this workload and these trials.
pub fn plan(workload: serde_json::Value, trials: serde_json::Value, backend: &Backend) -> RunPlan {
    let spec = json!({
        "backends": [{"name": "pg", "postgres": {"version": "18.4"}}],
        "workloads": [workload],
        "trials": trials,
    });
    run_plan(
        serde_json::from_value(spec).unwrap(),
        std::slice::from_ref(backend),
    )
}

/// What is tested here is built without optimisation, shares its process with the tests beside it and the machine with
/// whoever else is at work: neither lateness nor CPU time voids a trial, and what waits has the time to be served. The
/// drain ends as soon as everything has been.
fn unhurried(spec: &mut ExperimentSpec) {
    let bounds = &mut spec.validity;
    bounds.max_send_lag_p99_microseconds = i32::MAX;
    bounds.max_generator_cpu_per_mille = i32::MAX;
    bounds.max_throttled_per_mille = i32::MAX;
    spec.trials.drain_seconds = spec.trials.drain_seconds.max(60);
}

/// The plan of a run with this spec on these backends, [`unhurried`]; its results go to the store that the run is given.
pub fn run_plan(mut spec: ExperimentSpec, backends: &[Backend]) -> RunPlan {
    unhurried(&mut spec);
    RunPlan {
        schema_version: RUN_SCHEMA.into(),
        experiment: Identity {
            namespace: "n".into(),
            name: "e".into(),
            uid: "u".into(),
        },
        spec,
        backends: backends
            .iter()
            .map(|backend| backend.resolved.clone())
            .collect(),
        lock: None,
        results: StoreTarget {
            endpoint: String::new(),
            region: String::new(),
            bucket: "unused".into(),
            prefix: String::new(),
            path_style: true,
            credentials_dir: String::new(),
            ca_key: None,
        },
        environment: Environment::default(),
        attempt: 0,
    }
}

/// What a run yields.
pub struct Ran {
    pub records: Vec<TrialRecord>,
    pub folder: tempfile::TempDir,
}

/// Runs it to its end.
pub fn measured(plan: RunPlan, backend: Backend, on_trial: &dyn Fn(&TrialRecord)) -> Ran {
    shown(plan, backend, Arc::default(), on_trial)
}

/// The same, with what is shown while it runs.
pub fn shown(
    plan: RunPlan,
    backend: Backend,
    control: Arc<Control>,
    on_trial: &dyn Fn(&TrialRecord),
) -> Ran {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::Folder(folder.path().into());
    let records = led(plan, backend, store, control, on_trial);
    Ran { records, folder }
}

/// Runs it on what an earlier start left in the store; answers the trials that it added.
pub fn led(
    plan: RunPlan,
    backend: Backend,
    store: Store,
    control: Arc<Control>,
    on_trial: &dyn Fn(&TrialRecord),
) -> Vec<TrialRecord> {
    let records = std::cell::RefCell::new(Vec::new());
    let (_sender, stop) = watch::channel(false);
    let traces = Traces::of(&plan, None).unwrap();
    let mut run = Run {
        plan,
        backends: vec![backend],
        lock: None,
        traces,
        store,
        index: 0,
        generators: 1,
        node: String::new(),
        control,
        stop,
    };
    runtime()
        .block_on(run.lead(&|record| {
            on_trial(record);
            records.borrow_mut().push(record.clone());
        }))
        .unwrap();
    records.into_inner()
}

/// What a run with a window of so many seconds yields. Where that was too short for this machine to do `enough`, another is
/// made with one of twice the length, up to sixteen times: what is asserted then is the same on any machine.
pub fn given_time<T>(seconds: i32, run: impl Fn(i32) -> T, enough: impl Fn(&T) -> bool) -> T {
    let mut window = seconds;
    loop {
        let ran = run(window);
        if window >= 16 * seconds || enough(&ran) {
            return ran;
        }
        window *= 2;
    }
}

/// Waits until so many operations more than `before` have ended: then load is under way, whatever went before it. Answers how
/// many have.
pub fn under_way(control: &Control, before: u64, more: u64) -> u64 {
    loop {
        let (completed, failed) = control.live().read();
        if completed + failed >= before + more {
            return completed + failed;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The server as a backend.
pub fn backend(server: &Postgres) -> Backend {
    Backend::new(server.resolved("pg"), super::credentials()).unwrap()
}
