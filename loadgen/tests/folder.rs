//! What is made of a folder of raw data: the end of a run before its last block, and its report.
#![allow(clippy::unwrap_used)]

#[path = "../../analysis/tests/common/mod.rs"]
mod sample;

use bakeoff_crds::spec::ExperimentSpec;
use bakeoff_crds::status::DecisionOutcome;
use bakeoff_loadgen::report::report;
use bakeoff_loadgen::run::early::settled;
use bakeoff_loadgen::store::Store;

async fn store(folder: &std::path::Path, spec: &ExperimentSpec, blocks: i32) -> Store {
    let store = Store::Folder(folder.to_owned());
    let manifest = serde_json::to_vec(&sample::manifest(spec)).unwrap();
    store.put("manifest.json", manifest).await.unwrap();
    let behave = |name: &str| {
        if name == "minio" {
            sample::PLAIN
        } else {
            sample::QUICK
        }
    };
    for record in sample::records(spec, behave) {
        if record.trial.block < blocks {
            let name = format!("trials/{}/{}/trial.json", record.trial.id, record.attempt);
            let bytes = serde_json::to_vec(&record).unwrap();
            store.put(&name, bytes).await.unwrap();
        }
    }
    store
}

#[tokio::test]
async fn a_run_is_settled_by_its_complete_blocks_at_a_planned_look() {
    let mut spec = sample::spec(10);
    let early = serde_json::json!({"minBlocks": 8, "looks": 2});
    spec.trials.early_stop = serde_json::from_value(early).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path(), &spec, 8).await;
    assert!(
        settled(&store, 7).await.unwrap().is_none(),
        "no look was planned there"
    );
    let decision = settled(&store, 8).await.unwrap().unwrap();
    assert_eq!(decision.outcome, DecisionOutcome::Go, "{decision:#?}");

    let without = sample::spec(10);
    let folder = tempfile::tempdir().unwrap();
    let store = self::store(folder.path(), &without, 8).await;
    assert!(settled(&store, 8).await.unwrap().is_none());
}

#[tokio::test]
async fn a_report_that_is_made_again_has_the_same_bytes() {
    let spec = sample::spec(6);
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path(), &spec, 6).await;
    let files = [
        "summary.json",
        "report.html",
        "report.md",
        "manifest.json",
        "index.json",
    ];
    let mut made = Vec::new();
    for _ in 0..2 {
        let reported = report(&store, None, false, None).await.unwrap();
        let mut bytes = vec![reported.markdown.into_bytes()];
        for file in files {
            bytes.push(store.get(file).await.unwrap().unwrap());
        }
        made.push(bytes);
    }
    assert!(made[0] == made[1]);
    // Each file is what the index says of it, and a changed record changes the page.
    let index: bakeoff_analysis::index::Index = serde_json::from_slice(&made[0][5]).unwrap();
    for file in ["summary.json", "report.html", "report.md", "manifest.json"] {
        let listed = index.files.iter().find(|entry| entry.name == file).unwrap();
        let bytes = store.get(file).await.unwrap().unwrap();
        assert_eq!(
            listed.sha256,
            bakeoff_analysis::index::sha256(&bytes),
            "{file}"
        );
    }
    let name = "trials/b00-put-c00-minio/1/trial.json";
    let text = String::from_utf8(store.get(name).await.unwrap().unwrap()).unwrap();
    let mut record: bakeoff_crds::result::TrialRecord = serde_json::from_str(&text).unwrap();
    record.load.failed += 7;
    record.load.planned += 7;
    store
        .put(name, serde_json::to_vec(&record).unwrap())
        .await
        .unwrap();
    // It is not those data that the first report was made of.
    let altered = report(&store, None, false, None).await.unwrap_err();
    assert_eq!(altered.reason(), "RawDataAltered");
    assert!(altered.to_string().contains(name), "{altered}");
    assert!(store.get("report.html").await.unwrap().unwrap() == made[0][2]);
    let forced = report(&store, None, true, None).await.unwrap();
    assert!(forced.markdown.contains(&format!("{name} has changed")));
    assert!(store.get("report.html").await.unwrap().unwrap() != made[0][2]);
}

#[tokio::test]
async fn raw_data_that_are_gone_are_named_and_those_that_came_since_are_not() {
    let spec = sample::spec(6);
    let folder = tempfile::tempdir().unwrap();
    let made = store(folder.path(), &spec, 5).await;
    report(&made, None, false, None).await.unwrap();
    // The last block is measured, and the report made again.
    let all = store(folder.path(), &spec, 6).await;
    report(&all, None, false, None).await.unwrap();
    let name = "trials/b05-put-c00-minio/1/trial.json";
    std::fs::remove_file(folder.path().join(name)).unwrap();
    let altered = report(&all, None, false, None)
        .await
        .unwrap_err()
        .to_string();
    assert!(altered.contains(&format!("{name} is missing")), "{altered}");
}

#[tokio::test]
async fn a_record_that_was_cut_off_is_named_and_the_rest_is_reported() {
    for damage in ["", "{", "null", "{\"schemaVersion\": 1}"] {
        let spec = sample::spec(6);
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path(), &spec, 6).await;
        let attempt = "trials/b00-put-c00-minio/1/";
        let name = format!("{attempt}trial.json");
        store
            .put(&format!("{attempt}started.json"), b"{}".to_vec())
            .await
            .unwrap();
        store.put(&name, damage.as_bytes().to_vec()).await.unwrap();
        let reported = report(&store, None, false, None).await.unwrap();
        assert!(
            reported.damaged.len() == 1 && reported.damaged[0].starts_with(&name),
            "{:?}",
            reported.damaged
        );
        let excluded = &reported.summary.measured.excluded;
        assert_eq!(excluded.len(), 1, "{damage:?}");
        assert_eq!(excluded[0].codes, ["Damaged"]);
        assert!(reported.markdown.contains(&name));
        // It stays as it was found.
        assert_eq!(store.get(&name).await.unwrap().unwrap(), damage.as_bytes());
    }
}
