//! Two runs that are the same, that differ, and that may not be compared.

use super::*;
use crate::measured::{RunData, measure};
use crate::sample::{self, PLAIN, QUICK};
use bakeoff_crds::result::Verdict;

fn run(behaviour: sample::Behaviour) -> Measured {
    let spec = sample::spec(6);
    let manifest = sample::manifest(&spec);
    let records = sample::records(&spec, |_| behaviour);
    measure(&RunData::new(&manifest, &records)).unwrap()
}

#[test]
fn a_run_with_itself_is_exactly_no_difference() {
    let summary = run(PLAIN);
    let same = compare(&summary, &summary).unwrap();
    assert!(same.remarks.is_empty());
    for row in &same.rows {
        let estimate = &row.comparison.estimate;
        assert_eq!(
            (estimate.ratio, estimate.low, estimate.high),
            (1.0, Some(1.0), Some(1.0))
        );
        assert_eq!(
            (estimate.p_value, row.comparison.finding),
            (1.0, Finding::Equivalent)
        );
    }
}

#[test]
fn too_few_blocks_for_any_verdict_are_named() {
    let summary = run(PLAIN);
    let same = compare(&summary, &summary).unwrap();
    let few = markdown(&same);
    assert!(few.contains("With 6 blocks no single one of"), "{few}");
    let one = RunComparison {
        rows: same.rows[..1].to_vec(),
        ..same
    };
    assert!(
        !markdown(&one).contains("no single one"),
        "6 blocks do for one figure"
    );
}

#[test]
fn exchanging_the_runs_inverts() {
    let (plain, quick) = (run(PLAIN), run(QUICK));
    let there = compare(&plain, &quick).unwrap();
    let back = compare(&quick, &plain).unwrap();
    assert_eq!(there.rows.len(), back.rows.len());
    for (a, b) in there.rows.iter().zip(&back.rows) {
        let (a, b) = (&a.comparison, &b.comparison);
        assert!((a.estimate.ratio * b.estimate.ratio - 1.0).abs() < 1e-5);
        assert_eq!(
            (a.estimate.p_value, a.adjusted_p),
            (b.estimate.p_value, b.adjusted_p)
        );
        assert!((a.estimate.interval().0 * b.estimate.interval().1 - 1.0).abs() < 1e-5);
    }
}

/// A run of one cell, with blocks enough for a verdict on each of its figures. Of a hundred PUTs that ended well, `failing` more
/// had no answer.
fn one_cell(behaviour: sample::Behaviour, failing: i64) -> Measured {
    let spec: bakeoff_crds::ExperimentSpec = serde_json::from_value(serde_json::json!({
        "backends": [{"name": "minio", "minio": {"version": "RELEASE.2025-09-07T16-13-09Z"}}],
        "workloads": [{"name": "put", "smallObjectPut":
            {"objectSize": ["4Ki"], "load": {"closed": {"concurrency": [8]}}}}],
        "trials": {"blocks": 10}
    }))
    .unwrap();
    let manifest = sample::manifest(&spec);
    let mut records = sample::records(&spec, |_| behaviour);
    for record in &mut records {
        let lost = record.load.completed * failing / 100;
        record.load.planned += lost;
        record.load.failed += lost;
    }
    measure(&RunData::new(&manifest, &records)).unwrap()
}

#[test]
fn what_is_only_a_bound_is_marked_and_no_difference() {
    let row = |text: &str| -> Vec<String> {
        let line = text.lines().find(|line| line.contains("| p99 |")).unwrap();
        line.split('|').map(|cell| cell.trim().to_owned()).collect()
    };
    let (base, quick) = (one_cell(PLAIN, 0), one_cell(QUICK, 0));
    let plain = markdown(&compare(&base, &quick).unwrap());
    assert!(plain.contains("3 of 3 figures differ"), "{plain}");
    assert!(!plain.contains('≥') && !plain.contains('≤'), "{plain}");

    // The p99 of those that were answered looks better, and that is all that is known of it.
    let failing = one_cell(QUICK, 5);
    let text = markdown(&compare(&base, &failing).unwrap());
    assert!(text.contains("2 of 3 figures differ"), "{text}");
    let p99 = row(&text);
    assert!(p99[5].starts_with("≥ 0."), "{p99:?}");
    assert_eq!(p99[10], "no difference shown");
    let last = text.lines().rfind(|line| line.starts_with("| put"));
    assert!(last.unwrap().contains("| p99 |"), "after what differs");
    assert!(text.contains("only a bound"), "{text}");

    // In the other direction it is the denominator that may be larger.
    let text = markdown(&compare(&failing, &base).unwrap());
    assert!(row(&text)[5].starts_with("≤ 1."), "{text}");

    // What speaks against the run that fails holds all the same.
    let text = markdown(&compare(&quick, &one_cell(PLAIN, 5)).unwrap());
    assert!(text.contains("3 of 3 figures differ"), "{text}");
    assert!(row(&text)[5].starts_with("≥ 1."), "{text}");
}

#[test]
fn what_is_not_comparable_is_refused_with_the_reason() {
    let plain = run(PLAIN);
    let mut other = plain.clone();
    other.result_class = bakeoff_crds::spec::ResultClass::Absolute;
    assert_eq!(
        compare(&plain, &other).unwrap_err().reason(),
        "ResultClassMixed"
    );
    let mut other = plain.clone();
    other.workloads.clear();
    assert_eq!(
        compare(&plain, &other).unwrap_err().reason(),
        "NothingInCommon"
    );
    let mut other = plain.clone();
    other.schema_version = "summary/v9".into();
    assert_eq!(
        compare(&plain, &other).unwrap_err().reason(),
        "SummarySchemaUnknown"
    );
    let mut other = plain.clone();
    other.workloads[0].cells.truncate(2);
    other.backends[1].version = "4.49".into();
    let remarks = compare(&plain, &other).unwrap().remarks.join(" ");
    assert!(
        remarks.contains("10 cells are only in the base") && remarks.contains("4.49"),
        "{remarks}"
    );
}

fn plan() -> RunPlan {
    sample::manifest(&sample::spec(6)).plan
}

fn designs(
    change: impl FnOnce(&mut RunPlan),
) -> (Result<RunComparison, CompareError>, RunComparison) {
    let measured = run(PLAIN);
    let (base, mut other) = (plan(), plan());
    change(&mut other);
    let side = |plan| Side {
        measured: &measured,
        plan,
    };
    let compared = |force| runs(side(&base), side(&other), force);
    (compared(false), compared(true).unwrap())
}

#[test]
fn the_same_design_is_compared_without_a_word() {
    let (compared, _) = designs(|_| {});
    let compared = compared.unwrap();
    assert!(compared.remarks.is_empty() && compared.unlike.is_empty());
}

#[test]
fn runs_of_different_loads_are_compared_by_force_alone() {
    type Change = (&'static str, fn(&mut RunPlan));
    let changes: [Change; 6] = [
        ("trials.windowSeconds", |plan| {
            plan.spec.trials.window_seconds += 1
        }),
        ("trials.warmupSeconds", |plan| {
            plan.spec.trials.warmup_seconds += 1
        }),
        ("trials.drainSeconds", |plan| {
            plan.spec.trials.drain_seconds += 1
        }),
        ("generators.replicas", |plan| {
            plan.spec.generators.replicas += 1
        }),
        ("smallObjectPut.prefixes", |plan| {
            let put = plan.spec.workloads[0].small_object_put.as_mut();
            put.unwrap().prefixes += 1;
        }),
        ("smallObjectPut.load.open", |plan| {
            let put = plan.spec.workloads[0].small_object_put.as_mut().unwrap();
            let open = serde_json::json!({"open": {"ratePerSecond": [10]}});
            put.load = serde_json::from_value(open).unwrap();
        }),
    ];
    for (what, change) in changes {
        let (refused, forced) = designs(change);
        let error = refused.unwrap_err();
        assert_eq!(error.reason(), "LoadDiffers");
        assert!(error.to_string().contains(what), "{error}");
        assert!(markdown(&forced).contains("not loaded alike"), "{what}");
        assert!(forced.unlike.iter().any(|said| said.contains(what)));
    }
}

#[test]
fn levels_of_factors_and_blocks_are_no_difference_of_load() {
    let (compared, _) = designs(|plan| {
        plan.spec.trials.blocks += 1;
        let put = plan.spec.workloads[0].small_object_put.as_mut().unwrap();
        put.object_size.pop();
    });
    assert_eq!(compared.unwrap().unlike, Vec::<String>::new());
}

#[test]
fn what_surrounded_the_runs_is_remarked_on() {
    type Change = (&'static str, fn(&mut RunPlan));
    let changes: [Change; 6] = [
        ("CPU of minio", |plan| {
            plan.spec.equipment.resources.cpu = "7".into()
        }),
        ("storage class of minio", |plan| {
            plan.spec.equipment.storage.storage_class_name = Some("fast".to_owned());
        }),
        ("generators.resources", |plan| {
            plan.spec.generators.resources.cpu = "7".into()
        }),
        ("fsync of minio", |plan| {
            let settings = &mut plan.backends[0].settings;
            settings.insert("fsync".to_owned(), "off".to_owned());
        }),
        ("durability of minio", |plan| {
            plan.backends[0].durability.text = "none".to_owned()
        }),
        ("the kernel of the nodes", |plan| {
            plan.environment.nodes[0].kernel_version = "9".to_owned();
        }),
    ];
    for (what, change) in changes {
        let remarks = designs(change).0.unwrap().remarks;
        assert!(
            remarks.iter().any(|said| said.contains(what)),
            "{what}: {remarks:?}"
        );
    }
}

fn soak(behaviour: sample::Behaviour, dead: f64) -> Measured {
    let spec: bakeoff_crds::ExperimentSpec = serde_json::from_value(serde_json::json!({
        "backends": [{"name": "pg", "postgres": {"version": "18.4"}}],
        "workloads": [{"name": "long", "soak": {"ratePerSecond": 500}}],
        "trials": {"blocks": 6}
    }))
    .unwrap();
    let manifest = sample::manifest(&spec);
    let mut records = sample::records(&spec, |_| behaviour);
    for record in &mut records {
        let figure = bakeoff_crds::figure::Figure::DeadMeanPercent;
        record.figures = [(figure, dead + f64::from(record.trial.block))].into();
    }
    measure(&RunData::new(&manifest, &records)).unwrap()
}

/// The same run, with the records of one backend changed.
fn run_with(change: impl Fn(&mut bakeoff_crds::result::TrialRecord)) -> Measured {
    let spec = sample::spec(6);
    let manifest = sample::manifest(&spec);
    let mut records = sample::records(&spec, |_| PLAIN);
    for record in records
        .iter_mut()
        .filter(|record| record.trial.backend == "seaweedfs")
    {
        change(record);
    }
    measure(&RunData::new(&manifest, &records)).unwrap()
}

#[test]
fn a_backend_without_a_valid_trial_is_named() {
    let whole = run_with(|_| {});
    let void = run_with(|record| record.verdict = Verdict::Invalid(Vec::new()));
    for (base, subject, whose) in [(&whole, &void, "the subject"), (&void, &whole, "the base")] {
        let compared = compare(base, subject).unwrap();
        let said = compared
            .remarks
            .iter()
            .filter(|said| said.contains("on seaweedfs is not compared"));
        let said: Vec<&String> = said.collect();
        assert!(
            !said.is_empty() && said.iter().all(|said| said.contains(whose)),
            "{:?}",
            compared.remarks
        );
        assert!(compared.rows.iter().all(|row| row.backend != "seaweedfs"));
    }
}

#[test]
fn the_side_of_each_run_is_named() {
    let text = markdown(&compare(&run(PLAIN), &run(QUICK)).unwrap());
    assert!(text.contains("the figure of the subject ("), "{text}");
}

#[test]
fn what_had_no_answer_in_a_soak_is_not_the_best() {
    let base = soak(PLAIN, 2.0);
    let mut subject = base.clone();
    let on = &mut subject.workloads[0].cells[0].backends[0];
    on.blocks = 12;
    let [transition, create] = ["transition", "create"].map(|name| on.operations[name].clone());
    let (mut bound, mut silent) = (transition, create);
    bound.response.missing = 0.05;
    silent.overflow = silent.count;
    silent.response.p99 = 0;
    on.operations.insert("transition".to_owned(), bound);
    on.operations.insert("create".to_owned(), silent);
    let text = markdown(&compare(&base, &subject).unwrap());
    let line = |figure: &str| {
        let found = text.lines().find(|line| line.contains(figure));
        found.unwrap_or_else(|| panic!("{figure}: {text}"))
    };
    let bound = line("transition p99");
    assert!(
        bound.contains("| ≥ ") && bound.contains("≥ +0.0 %"),
        "{bound}"
    );
    assert!(!line("transition p50").contains('≥'), "5 % reach no median");
    let silent = line("create p99");
    assert!(silent.contains("| no answer | – |"), "{silent}");
    assert!(silent.ends_with("| 6 and 12 |"), "{silent}");
    assert!(text.contains("≥ and ≤ mark"), "{text}");
}

#[test]
fn when_a_table_was_loaded_is_no_figure_of_a_soak() {
    let mut run = soak(PLAIN, 2.0);
    let on = &mut run.workloads[0].cells[0].backends[0];
    let any = on.figures.values().next().unwrap().clone();
    let loaded = bakeoff_crds::figure::Figure::TableLoadedAtSeconds;
    on.figures.insert(loaded, any);
    let text = markdown(&compare(&run, &run).unwrap());
    assert!(!text.contains("tableLoadedAtSeconds"), "{text}");
}

#[test]
fn soaks_are_set_beside_each_other_and_nothing_is_tested() {
    let (base, subject) = (soak(PLAIN, 2.0), soak(QUICK, 7.0));
    let compared = compare(&base, &subject).unwrap();
    assert!(compared.rows.is_empty(), "no paired blocks");
    let of = |figure: &str| {
        let found = compared
            .courses
            .iter()
            .find(|row| row.pair.figure == figure);
        found.map(|row| (row.pair.base.unwrap(), row.pair.subject.unwrap()))
    };
    assert_eq!(
        of("deadMeanPercent"),
        Some((4.5, 9.5)),
        "means over the course"
    );
    let (slow, quick) = of("transition p99 µs").unwrap();
    assert!(quick < slow, "{quick} and {slow}");
    let text = markdown(&compared);
    assert!(text.contains("no variance between runs"), "{text}");
    assert!(
        text.contains("| deadMeanPercent | 4.50 | 9.50 | +111.1 % | 6 and 6 |"),
        "{text}"
    );
    assert!(!text.contains("after Holm"), "nothing was tested");
    let same = compare(&base, &base).unwrap();
    assert!(
        same.courses
            .iter()
            .all(|row| row.pair.base == row.pair.subject)
    );
    assert!(same.remarks.is_empty(), "{:?}", same.remarks);
}
