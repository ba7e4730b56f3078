//! Broken inputs: whatever comes in, the answer is a trace or an error.
//!
//! 200 000 of them for each format, or as many as `BAKEOFF_TRACE_MUTATIONS` says.

use super::*;
use crate::format::{Events, Trace};
use crate::grammar::{Checker, Repair};
use crate::plan::{Plan, PlanOptions, Ratio, Shift};
use crate::rng::SplitMix64;

const CSV: &str = "run,time,kind,value\n1,2024-03-01 10:00:00,a,10\n\"2\",1709287200.5,\"b,\"\"c\",\n1,01.03.2024 10:00:02,done,7\n";
const JSONL: &str = r#"{"run":"1","time":1709287200,"kind":"a","value":1}
{"run":2,"time":"2024-03-01T10:00:00Z","kind":{"x":[1,2.5,null,true]}}
[{"run":"1","time":1709287201.25,"kind":"done","value":"7"}]"#;
const CLOUD: &str = r#"[{"specversion":"1.0","id":"1","type":"run.created","subject":"a","time":"2020-01-01T00:00:00Z","data":{"x":[1]}},
{"id":"2","type":"run.completed","subject":"a","time":"2020-01-01T00:00:01+01:00"}]"#;
const SPANS: &str = r#"{"resourceSpans":[{"scopeSpans":[{"spans":[
{"traceId":"aa","parentSpanId":"","startTimeUnixNano":"1577836800000000000","endTimeUnixNano":1577836803000000000},
{"traceId":"aa","parentSpanId":"1","startTimeUnixNano":1577836801000000000}]}]}]}"#;
const HISTORY: &str = r#"{"events":[
{"eventId":"1","eventTime":"2020-01-01T00:00:00.000000001Z","eventType":"EVENT_TYPE_WORKFLOW_EXECUTION_STARTED"},
{"eventId":"2","eventTime":"2020-01-01T00:00:01Z","eventType":"WorkflowExecutionCompleted"}]}"#;
const TABLE: &str = "at_micros,run,kind,value\n0,0,o,3\n5,1,c,\n7,1,t,8\n9,0,d,\n9,1,d,8\n";

/// What is put in where it does not belong.
const ODD: [&[u8]; 24] = [
    b"\"",
    b"'",
    b",",
    b"\n",
    b"\r\n",
    b"{",
    b"}",
    b"[",
    b"]",
    b"<",
    b">",
    b"/>",
    b"&#xffffffff;",
    b"<!--",
    b"<![CDATA[",
    b"\xff\xfe",
    b"\x00",
    b"-9223372036854775808",
    b"18446744073709551615",
    b"340282366920938463463374607431768211456",
    b"1e308",
    b"9999-12-31T23:59:60Z",
    b"0001-01-01",
    "\u{1f4a9}".as_bytes(),
];

fn mutate(sample: &[u8], rng: &mut SplitMix64) -> Vec<u8> {
    let mut bytes = sample.to_vec();
    for _ in 0..=rng.below(4) {
        let place = |rng: &mut SplitMix64, length: usize| rng.below(length as u64 + 1) as usize;
        let from = place(rng, bytes.len());
        let to = (from + rng.below(20) as usize).min(bytes.len());
        match rng.below(8) {
            0 => bytes.truncate(from),
            1 => drop(bytes.drain(from..to)),
            2 => bytes.extend_from_within(from..to),
            3 | 4 => {
                let odd = ODD[rng.below(ODD.len() as u64) as usize];
                bytes.splice(from..to.min(from + 1), odd.iter().copied());
            }
            5 => {
                // A piece of the sample again, somewhere else.
                let piece = sample[from.min(sample.len())..].iter().copied().take(60);
                let target = place(rng, bytes.len());
                bytes.splice(target..target, piece);
            }
            _ => bytes[from..to]
                .iter_mut()
                .take(1)
                .for_each(|byte| *byte ^= 1 << rng.below(8)),
        }
    }
    bytes
}

fn count() -> u64 {
    let asked = std::env::var("BAKEOFF_TRACE_MUTATIONS").ok();
    asked
        .and_then(|asked| asked.parse().ok())
        .unwrap_or(200_000)
}

fn options(number: u64) -> Options {
    Options {
        fields: Fields {
            kind: Some("kind".to_owned()),
            value: Some("value".to_owned()),
            ..Fields::default()
        },
        repair: [None, Some(Repair::Clamp), Some(Repair::Drop)][(number % 3) as usize],
        ends: [Ends::Stated, Ends::Last, Ends::Never][(number / 3 % 3) as usize],
        done: if number.is_multiple_of(2) {
            Vec::new()
        } else {
            vec!["done".to_owned(), "b".to_owned()]
        },
        ..Options::default()
    }
}

/// Imports as a whole, and plans with what comes of it.
fn import_and_plan(format: Format, bytes: &[u8], options: &Options, scratch: &Path) -> bool {
    let out = tempfile::tempdir_in(scratch).unwrap();
    if run(format, bytes, options, out.path(), scratch).is_err() {
        return false;
    }
    let mut trace = Trace::open(out.path()).unwrap();
    trace.verify().unwrap();
    let speed = Ratio::new(u128::from(trace.manifest().span_micros), 1_000_000).unwrap();
    let mut plan = Plan::open(
        trace,
        PlanOptions {
            speed,
            copies: 3,
            shift: Shift::Spread,
        },
    )
    .unwrap();
    assert!(
        plan.window(0, 2_000_000_000)
            .unwrap()
            .all(|planned| planned.is_ok())
    );
    true
}

fn broken(format: Format, samples: &[&[u8]]) {
    let scratch = tempfile::tempdir().unwrap();
    let mut rng = SplitMix64::new(format as u64);
    let (mut whole, mut taken) = (0, 0);
    for number in 0..count() {
        let sample = samples[rng.below(samples.len() as u64) as usize];
        let bytes = mutate(sample, &mut rng);
        let options = options(number);
        // Files are slow: most inputs are read only.
        if number % 200 == 0 {
            whole += 1;
            taken += u64::from(import_and_plan(format, &bytes, &options, scratch.path()));
        } else {
            let mut builder = Builder::new(scratch.path(), options.settings());
            let _ = feed(format, bytes.as_slice(), &options, &mut builder, &mut 0);
        }
    }
    // The inputs are not so broken that nothing is looked at.
    assert!(taken * 20 > whole, "{format:?}: {taken} of {whole}");
}

#[test]
fn broken_tables() {
    broken(Format::Csv, &[CSV.as_bytes()]);
}

#[test]
fn broken_objects() {
    broken(Format::Jsonl, &[JSONL.as_bytes()]);
}

#[test]
fn broken_event_logs() {
    broken(Format::Xes, &[super::tests::LOG.as_bytes()]);
}

#[test]
fn broken_cloud_events() {
    broken(Format::CloudEvents, &[CLOUD.as_bytes()]);
}

#[test]
fn broken_spans() {
    broken(Format::Otlp, &[SPANS.as_bytes()]);
}

#[test]
fn broken_histories() {
    broken(Format::Temporal, &[HISTORY.as_bytes()]);
}

#[test]
fn broken_traces() {
    let scratch = tempfile::tempdir().unwrap();
    let manifest = run(
        Format::Events,
        TABLE.as_bytes(),
        &Options::default(),
        &scratch.path().join("a"),
        scratch.path(),
    );
    let json = manifest.unwrap().manifest.to_json();
    let file = std::fs::read(scratch.path().join("a/events.csv.gz")).unwrap();
    let mut rng = SplitMix64::new(99);
    for number in 0..count() {
        let table = mutate(TABLE.as_bytes(), &mut rng);
        if let Ok(mut events) = Events::new(table.as_slice()) {
            let mut checker = Checker::new(options(number).repair);
            let mut strict = Checker::new(None);
            while let Some(Ok(event)) = events.next() {
                match checker.admit(events.line(), event) {
                    // What was repaired fits.
                    Ok(step) => step
                        .into_iter()
                        .for_each(|step| assert!(strict.admit(0, step.event).is_ok())),
                    Err(_) => break,
                }
            }
            let measured = checker.finish(u64::MAX);
            assert_eq!(
                measured.runs,
                measured.counts.open + measured.counts.created
            );
        }
        if number % 20 == 0 {
            // A description and a file that have little to do with each other.
            let json = mutate(json.as_bytes(), &mut rng);
            let file = mutate(&file, &mut rng);
            let Ok(manifest) = Manifest::read(&json) else {
                continue;
            };
            let trace = Trace::new(manifest, std::io::Cursor::new(file));
            let plan = Plan::open(
                trace,
                PlanOptions {
                    speed: Ratio::ONE,
                    copies: 2,
                    shift: Shift::Spread,
                },
            );
            if let Ok(mut plan) = plan {
                let _ = plan
                    .window(0, 1_000_000)
                    .map(|window| window.take(100).count());
            }
        }
    }
}
