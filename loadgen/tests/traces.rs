//! `loadgen trace`, by running the program: what is made, what is said of what cannot be read, and the exit codes.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;

/// How it ended, and what it said.
fn trace(arguments: &[&str]) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .arg("trace")
        .args(arguments)
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.code().unwrap(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

fn well(arguments: &[&str]) -> String {
    let (code, said) = trace(arguments);
    assert_eq!(code, 0, "{arguments:?}: {said}");
    said
}

fn put(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn what_is_made_up_is_inspected_fitted_and_the_same_each_time() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let like = "--runs 2000 --span-seconds 600 --events 6,12,20,40 --gap-millis 100,1000,5000,30000 --state-bytes 300";
    for name in ["a", "b"] {
        let mut arguments = vec!["synthesize"];
        arguments.extend(like.split(' '));
        let out = at(name);
        arguments.extend(["--out", &out]);
        assert!(well(&arguments).contains("of 2000 runs in 600.0 s"));
    }
    let bytes = |name: &str| std::fs::read(Path::new(&at(name)).join("events.csv.gz")).unwrap();
    assert!(bytes("a") == bytes("b"));
    let json: serde_json::Value =
        serde_json::from_str(&well(&["inspect", "--json", &at("a")])).unwrap();
    assert_eq!(json["runs"], 2_000);
    assert!(well(&["inspect", &at("a")]).contains("rate over time"));
    let page = at("page.html");
    well(&["inspect", &at("a"), "--html", &page]);
    let page = std::fs::read_to_string(page).unwrap();
    assert!(
        page.contains("What is in a?") && page.contains("open runs"),
        "{page}"
    );
    let fitted = well(&["fit", &at("a")]);
    assert!(
        fitted.contains("stateBytes: 300") && fitted.contains("of 100 runs"),
        "{fitted}"
    );
    well(&["verify", &at("a")]);

    // A trace that was changed afterwards is not taken for what it was.
    let mut changed = bytes("a");
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    std::fs::write(Path::new(&at("a")).join("events.csv.gz"), changed).unwrap();
    let (code, said) = trace(&["verify", &at("a")]);
    assert!(
        code == 1 && said.contains("the file was changed or cut off"),
        "{said}"
    );
    // What is there is not written over.
    let (code, said) = trace(&["synthesize", "--like", &at("b"), "--out", &at("b")]);
    assert_eq!(code, 1, "{said}");
}

#[test]
fn logs_are_imported_and_what_cannot_be_read_is_said_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let out = |name: &str| here.join(name).to_str().unwrap().to_owned();
    let good = put(
        here,
        "good.csv",
        "order,at,step\nA-17,2024-03-01 10:00:00,opened\nB,2024-03-01T10:00:01Z,opened\nA-17,2024-03-01 10:00:02,done\n",
    );
    let bad = put(here, "bad.csv", "order,at,step\nC,never,opened\n");
    let columns = ["--run", "order", "--time", "at", "--kind", "step"];
    let import = |files: &[&str], more: &[&str], to: &str| {
        let to = out(to);
        let mut arguments = vec!["import", "csv"];
        arguments.extend(files);
        arguments.extend(columns);
        arguments.extend(more);
        arguments.extend(["--out", &to]);
        trace(&arguments)
    };
    let (code, said) = import(&[&good], &[], "one");
    assert!(
        code == 0
            && said.contains("3 events of 2 runs in 2.0 s; 0 open at the start, 1 at the end"),
        "{said}"
    );
    let (code, said) = import(&[&good, &bad], &[], "two");
    assert!(
        code == 1 && said.contains("bad.csv: line 2") && said.contains("\"never\""),
        "{said}"
    );
    let (code, said) = import(&[&good, &bad], &["--repair", "drop"], "three");
    assert!(code == 0 && said.contains("left out: 1 (noTime)"), "{said}");
    let (code, said) = import(&[&good], &["--from", "2024-03-01T10:00:01Z"], "four");
    assert!(code == 0 && said.contains("1 open at the start"), "{said}");
    let (code, said) = import(&[&good], &["--from", "yesterday"], "five");
    assert!(
        code == 1 && said.contains("\"yesterday\" is no time"),
        "{said}"
    );
    let (code, said) = import(&["/nowhere.csv"], &[], "six");
    assert!(code == 3 && said.contains("/nowhere.csv"), "{said}");
    // Nothing of production is in what was made.
    for file in ["trace.json", "events.csv.gz"] {
        let bytes = std::fs::read(Path::new(&out("one")).join(file)).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        assert!(
            !text.contains("A-17") && !text.contains("opened"),
            "{file}: {text}"
        );
    }
    let (code, said) = trace(&["inspect", &out("nothing")]);
    assert!(code != 0 && said.contains("trace.json"), "{said}");
}

#[test]
fn a_trace_is_put_once_and_only_whole() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    well(&[
        "synthesize",
        "--runs",
        "50",
        "--span-seconds",
        "9",
        "--events",
        "3,4,5,6",
        "--gap-millis",
        "10,20,30,40",
        "--out",
        &at("a"),
    ]);
    let said = well(&["put", &at("a"), &at("store/traces/a")]);
    assert!(said.contains("events, sha256 "), "{said}");
    well(&["verify", &at("store/traces/a")]);
    let (code, said) = trace(&["put", &at("a"), &at("store/traces/a")]);
    assert!(
        code == 1 && said.contains("holds a trace already: choose another name"),
        "{said}"
    );
    // One that was cut off is no trace, and does not become one elsewhere.
    let events = Path::new(&at("a")).join("events.csv.gz");
    let bytes = std::fs::read(&events).unwrap();
    std::fs::write(&events, &bytes[..bytes.len() - 1]).unwrap();
    let (code, said) = trace(&["put", &at("a"), &at("store/traces/b")]);
    assert!(
        code == 1 && said.contains("the file was changed or cut off"),
        "{said}"
    );
    assert!(!Path::new(&at("store/traces/b/events.csv.gz")).exists());
}

/// What ships with the example is a trace, and the one that its comment says.
#[test]
fn the_trace_of_the_example_is_what_its_command_makes() {
    use base64::Engine as _;
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/phase3-quick.yaml");
    let text = std::fs::read_to_string(example).unwrap();
    let (map, experiment) = text.split_once("\n---\n").unwrap();
    let map: serde_json::Value = serde_saphyr::from_str(map).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let shipped = folder.path().join("shipped");
    std::fs::create_dir(&shipped).unwrap();
    let described = map["data"]["trace.json"].as_str().unwrap();
    std::fs::write(shipped.join("trace.json"), described).unwrap();
    let events = map["binaryData"]["events.csv.gz"].as_str().unwrap();
    let engine = base64::engine::general_purpose::STANDARD;
    let events = engine.decode(events).unwrap();
    std::fs::write(shipped.join("events.csv.gz"), &events).unwrap();
    well(&["verify", shipped.to_str().unwrap()]);
    // What it says of the digest is so, and the experiment asks for it.
    let manifest: serde_json::Value = serde_json::from_str(described).unwrap();
    assert!(experiment.contains(manifest["sha256"].as_str().unwrap()));
    let command = map_comment(&text);
    let made = folder.path().join("made");
    let command = command.replace("--out loans", &format!("--out {}", made.display()));
    let arguments: Vec<&str> = command.split_whitespace().collect();
    well(&arguments);
    assert_eq!(std::fs::read(made.join("events.csv.gz")).unwrap(), events);
}

/// The arguments of `loadgen trace` in the comment of the example.
fn map_comment(text: &str) -> String {
    let (_, command) = text.split_once("#   loadgen trace ").unwrap();
    let (command, _) = command.split_once("\n# A recording").unwrap();
    command.replace("\\\n#", "")
}
