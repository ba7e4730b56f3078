//! A trace that is written is read as it was, and one that was tampered with is not.

use std::fs;
use std::io::Read as _;

use proptest::prelude::*;

use super::*;
use crate::sample::{events, read, write};
use crate::writer::{RESTART_EVERY, Writer};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_is_read_and_written_again_to_the_byte(
        choices in prop::collection::vec((any::<u8>(), any::<u8>(), 0_u16..50), 1..300),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let (first, second) = (folder.path().join("a"), folder.path().join("b"));
        let events = events(&choices);
        let manifest = write(&first, &events);
        prop_assert_eq!(&read(&first), &events);
        prop_assert_eq!(&write(&second, &events), &manifest);
        for file in [EVENTS_FILE, MANIFEST_FILE] {
            prop_assert_eq!(fs::read(first.join(file)).unwrap(), fs::read(second.join(file)).unwrap());
        }
        let json = fs::read(first.join(MANIFEST_FILE)).unwrap();
        prop_assert_eq!(Manifest::read(&json).unwrap().to_json().into_bytes(), json);
    }
}

#[test]
fn many_members_are_one_file_and_each_is_where_it_is_said_to_be() {
    let folder = tempfile::tempdir().unwrap();
    let events: Vec<Event> = (0..20_000_u32)
        .map(|run| Event {
            at_micros: u64::from(run) * 3,
            run,
            kind: Kind::Created,
            value: None,
        })
        .collect();
    let manifest = write(folder.path(), &events);
    assert_eq!(
        manifest.restart_points.len() as u64,
        20_000_u64.div_ceil(RESTART_EVERY)
    );
    assert_eq!(manifest.open.at_end, 20_000);
    assert_eq!(read(folder.path()), events);
    Trace::open(folder.path()).unwrap().verify().unwrap();
    let bytes = fs::read(folder.path().join(EVENTS_FILE)).unwrap();
    let mut whole = String::new();
    flate2::read::MultiGzDecoder::new(bytes.as_slice())
        .read_to_string(&mut whole)
        .unwrap();
    for point in &manifest.restart_points {
        let mut member = String::new();
        let from = &bytes[usize::try_from(point.compressed_offset).unwrap()..];
        flate2::read::GzDecoder::new(from)
            .read_to_string(&mut member)
            .unwrap();
        assert!(whole[usize::try_from(point.uncompressed_offset).unwrap()..].starts_with(&member));
        assert!(member.starts_with(&format!("{},{},c,\n", point.at_micros, point.event)));
    }
}

#[test]
fn what_was_tampered_with_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let events = events(&[(1, 0, 5), (1, 100, 5), (1, 200, 5)]);
    write(folder.path(), &events);
    let (table, manifest) = (
        folder.path().join(EVENTS_FILE),
        folder.path().join(MANIFEST_FILE),
    );
    let whole = fs::read(&table).unwrap();
    fs::write(&table, &whole[..whole.len() - 3]).unwrap();
    let mut trace = Trace::open(folder.path()).unwrap();
    assert!(
        trace
            .verify()
            .unwrap_err()
            .to_string()
            .contains("was changed or cut off")
    );
    assert!(trace.events().unwrap().any(|event| event.is_err()));
    let json = fs::read_to_string(&manifest).unwrap();
    for (from, to) in [
        ("/v1", "/v2"),
        ("\"event\": 0", "\"event\": 1"),
        ("\"created\": 1", "\"created\": 99999"),
        ("{", "["),
    ] {
        fs::write(&manifest, json.replacen(from, to, 1)).unwrap();
        let error = Trace::open(folder.path())
            .map(|_| ())
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("trace.json: "), "{error}");
    }
}

#[test]
fn whether_a_trace_may_be_begun_is_known_before() {
    let folder = tempfile::tempdir().unwrap();
    let new = folder.path().join("new");
    Writer::may_begin(&new).unwrap();
    assert_eq!(fs::read_dir(&new).unwrap().count(), 0);
    // A table without a description is no trace, and is there for who wants to look at it.
    fs::write(new.join(EVENTS_FILE), "given up").unwrap();
    Writer::may_begin(&new).unwrap();
    assert_eq!(fs::read(new.join(EVENTS_FILE)).unwrap(), b"given up");
    write(&new, &events(&[(1, 0, 5)]));
    let error = Writer::may_begin(&new).unwrap_err().to_string();
    assert!(error.contains("name a folder without a trace"), "{error}");
    assert!(Writer::may_begin(&new.join(EVENTS_FILE)).is_err());
}

#[test]
fn the_description_has_a_schema() {
    let schema = schemars::schema_for!(Manifest);
    let required = schema.get("required").unwrap().as_array().unwrap();
    assert!(
        required.iter().any(|field| field == "restartPoints")
            && !required.iter().any(|field| field == "startedAt")
    );
}
