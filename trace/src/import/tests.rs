use super::*;
use crate::format::Trace;
use crate::grammar::Repair;

/// The lines of the trace that an input makes.
fn lines(format: Format, input: &str, options: &Options) -> Result<(Vec<String>, Manifest), Error> {
    let scratch = tempfile::tempdir().unwrap();
    let out = scratch.path().join("out");
    let imported = run(format, input.as_bytes(), options, &out, scratch.path())?;
    let mut lines = Vec::new();
    for event in Trace::open(&out)?.events()? {
        let mut line = String::new();
        event?.write_line(&mut line);
        lines.push(line.trim_end().to_owned());
    }
    Ok((lines, imported.manifest))
}

fn refused(format: Format, input: &str, options: &Options) -> String {
    lines(format, input, options).unwrap_err().to_string()
}

fn fields(run: &str, time: &str, kind: Option<&str>, value: Option<&str>) -> Options {
    let owned = |text: Option<&str>| text.map(str::to_owned);
    Options {
        fields: Fields {
            run: run.to_owned(),
            time: time.to_owned(),
            kind: owned(kind),
            value: owned(value),
        },
        ..Options::default()
    }
}

#[test]
fn a_table() {
    let options = fields("order", "when", Some("step"), Some("size"));
    let table = "\u{feff}order,step,when,size,note\r\n7,opened,2024-03-01 10:00:00,10,\"a, \"\"b\"\"\nc\"\r\n8,3\" opened,2024-03-01T10:00:01Z,,\r\n\r\n7,shop.Completed,2024-03-01T10:00:02.5Z,12,\r\n";
    let (found, manifest) = lines(Format::Csv, table, &options).unwrap();
    assert_eq!(found, ["0,0,c,10", "1000000,1,c,", "2500000,0,d,12"]);
    assert_eq!(manifest.started_at.as_deref(), Some("2024-03-01T10:00:00Z"));
    assert!(
        refused(Format::Csv, "a,b\n", &options)
            .contains("the header has no column \"order\"; it has a, b")
    );
    let bad = "order,step,when,size\n7,x,yesterday,1\n8,x,5,1\n";
    let said = refused(Format::Csv, bad, &options);
    assert!(
        said.starts_with("line 2, byte 21: the event has no time that can be read (\"yesterday\")"),
        "{said}"
    );
    let dropping = Options {
        repair: Some(Repair::Drop),
        ..options.clone()
    };
    assert_eq!(
        lines(Format::Csv, bad, &dropping).unwrap().1.dropped["noTime"],
        1
    );
    let said = refused(Format::Csv, "order,step,when,size\n7,\"x,5,1\n", &options);
    assert!(
        said.contains("line 2") && said.contains("never ends"),
        "{said}"
    );
    let long = format!("order,step,when,size\n{}\n", "x".repeat(2 << 20));
    assert!(refused(Format::Csv, &long, &options).contains("longer than 1 MiB"));
}

#[test]
fn objects_of_json_one_by_one_or_in_an_array() {
    let options = fields("run.id", "at", Some("my.kind"), Some("bytes"));
    let objects = [
        r#"{"run": {"id": 1, "x": [1, {"id": 5}]}, "at": 100, "my.kind": "a"}"#,
        r#"{"at": 102.5, "run.id": 1, "my": {"kind": "done"}, "bytes": 7}"#,
        r#"{"at": "1970-01-01T00:01:41Z", "run": {"id": "1"}}"#,
    ];
    let expected = ["0,0,c,", "1000000,0,t,", "2500000,0,d,7"];
    assert_eq!(
        lines(Format::Jsonl, &objects.join("\n"), &options)
            .unwrap()
            .0,
        expected
    );
    assert_eq!(
        lines(Format::Jsonl, &format!("[{}]", objects.join(",")), &options)
            .unwrap()
            .0,
        expected
    );
    let said = refused(
        Format::Jsonl,
        "{\"at\": 1, \"run\": {\"id\": 1}}\n{\"at\": 1}\n",
        &options,
    );
    assert!(
        said.starts_with("line 2, byte 28: the event says not which run"),
        "{said}"
    );
    let said = refused(Format::Jsonl, "{\"at\": 1,\n \"run\": nil}\n", &options);
    assert!(
        said.starts_with("line 2, byte ") && said.contains("the JSON cannot be read"),
        "{said}"
    );
    assert!(refused(Format::Jsonl, &"[".repeat(1_000), &options).contains("deeper than 64"));
    assert!(
        refused(
            Format::Jsonl,
            &format!("{{\"{}", "x".repeat(2 << 20)),
            &options
        )
        .contains("longer than 1 MiB")
    );
    assert!(
        refused(
            Format::Jsonl,
            &format!("{{\"at\": {}", "1".repeat(2 << 20)),
            &options
        )
        .contains("longer than 256")
    );
    assert!(refused(Format::Jsonl, "7", &options).contains("an object or an array"));
}

pub(super) const LOG: &str = r#"<?xml version="1.0"?>
<log xes.version="1.0"><global scope="event"><date key="time:timestamp" value="1970-01-01T00:00:00Z"/></global>
<trace><string key="concept:name" value="first"/>
  <event><string key="concept:name" value="b"/><date key="time:timestamp" value="2020-01-01T00:00:02.000+00:00"/><string key="lifecycle:transition" value="complete"/></event>
  <event><date key="time:timestamp" value="2020-01-01T00:00:01.000+00:00"/><string key="lifecycle:transition" value="start"/><list key="x"><date key="time:timestamp" value="1999-01-01T00:00:01.000+00:00"/></list></event>
</trace>
<trace>
  <event><date key="time:timestamp" value="2020-01-01T01:00:01+01:00"/></event>
  <event><string key="concept:name" value="a &lt; b"/><date key="time:timestamp" value="2020-01-01T00:00:03Z"/><string key="lifecycle:transition" value="start"/></event>
</trace></log>"#;

#[test]
fn an_event_log() {
    let options = Options::default();
    let (found, manifest) = lines(Format::Xes, LOG, &options).unwrap();
    assert_eq!(found, ["0,0,c,", "0,1,c,", "1000000,0,d,", "2000000,1,t,"]);
    assert_eq!(manifest.open.at_end, 1);
    let named = Options {
        done: vec!["a < b".to_owned()],
        ..Options::default()
    };
    assert_eq!(
        lines(Format::Xes, LOG, &named).unwrap().0[3],
        "2000000,1,d,"
    );
    let last = Options {
        ends: Ends::Never,
        ..Options::default()
    };
    assert_eq!(lines(Format::Xes, LOG, &last).unwrap().1.counts.done, 0);
    let untimed = LOG.replace("2020-01-01T00:00:03Z", "later");
    let said = refused(Format::Xes, &untimed, &options);
    assert!(
        said.starts_with("line 9, byte ") && said.contains("\"later\""),
        "{said}"
    );
    let dropping = Options {
        repair: Some(Repair::Drop),
        ..Options::default()
    };
    assert_eq!(
        lines(Format::Xes, &untimed, &dropping).unwrap().1.dropped["noTime"],
        1
    );
    assert!(refused(Format::Xes, &LOG[..LOG.len() - 6], &options).contains("cut off"));
    assert!(refused(Format::Xes, &"<a>".repeat(100), &options).contains("deeper than 64"));
    assert!(
        refused(
            Format::Xes,
            &format!("<a><!-- {}", "> ".repeat(1 << 20)),
            &options
        )
        .contains("1 MiB")
    );
}

#[test]
fn compressed_input_is_the_same_input() {
    use std::io::Write as _;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(LOG.as_bytes()).unwrap();
    let bytes = gzip.finish().unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let out = scratch.path().join("out");
    let imported = run(
        Format::Xes,
        bytes.as_slice(),
        &Options::default(),
        &out,
        scratch.path(),
    )
    .unwrap();
    assert_eq!(
        imported.manifest,
        lines(Format::Xes, LOG, &Options::default()).unwrap().1
    );
    let again = run(
        Format::Xes,
        bytes.as_slice(),
        &Options::default(),
        &out,
        scratch.path(),
    );
    assert!(again.unwrap_err().to_string().contains("exists"));
    let cut = &bytes[..bytes.len() / 2];
    assert!(
        run(
            Format::Xes,
            cut,
            &Options::default(),
            &scratch.path().join("other"),
            scratch.path()
        )
        .is_err()
    );
}

#[test]
fn cloud_events() {
    let events = r#"[{"specversion":"1.0","id":"1","source":"/s","type":"org.x.run.created","subject":"r1","time":"2020-01-01T00:00:00Z","data":{"subject":"no"}},
      {"specversion":"1.0","id":"2","source":"/s","type":"org.x.run.completed","subject":"r1","time":"2020-01-01T00:00:01Z"}]"#;
    assert_eq!(
        lines(Format::CloudEvents, events, &Options::default())
            .unwrap()
            .0,
        ["0,0,c,", "1000000,0,d,"]
    );
    let said = refused(
        Format::CloudEvents,
        r#"{"type":"x","time":"2020-01-01T00:00:00Z"}"#,
        &Options::default(),
    );
    assert!(said.contains("no subject"), "{said}");
}

#[test]
fn spans() {
    let spans = r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"spans","value":{"stringValue":"x"}}]},"scopeSpans":[{"spans":[
      {"traceId":"aa","spanId":"1","parentSpanId":"","startTimeUnixNano":"1577836800000000000","endTimeUnixNano":1577836803000000000},
      {"traceId":"aa","spanId":"2","parentSpanId":"1","startTimeUnixNano":1577836801000000000,"endTimeUnixNano":"1577836802000000000"}]}]}]}
      {"resourceSpans":[{"instrumentationLibrarySpans":[{"spans":[{"traceId":"bb","parentSpanId":"9","startTimeUnixNano":"1577836802000000000"}]}]}]}"#;
    let (found, _) = lines(Format::Otlp, spans, &Options::default()).unwrap();
    assert_eq!(
        found,
        ["0,0,c,", "1000000,0,t,", "2000000,1,c,", "3000000,0,d,"]
    );
    let never = Options {
        ends: Ends::Never,
        ..Options::default()
    };
    assert_eq!(lines(Format::Otlp, spans, &never).unwrap().0.len(), 3);
    let none = r#"{"resourceMetrics":[]}"#;
    assert!(refused(Format::Otlp, none, &never).contains("no event"));
}

#[test]
fn histories() {
    let history = r#"{"events":[
      {"eventId":"1","eventTime":"2020-01-01T00:00:00.000000001Z","eventType":"EVENT_TYPE_WORKFLOW_EXECUTION_STARTED","workflowExecutionStartedEventAttributes":{"events":[1]}},
      {"eventId":"3","eventTime":"2020-01-01T00:00:01Z","eventType":"EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED"},
      {"eventId":"2","eventTime":"2020-01-01T00:00:01Z","eventType":"WorkflowTaskScheduled"}]}
      [{"history":{"events":[{"eventId":1,"eventTime":"2020-01-01T00:00:00Z","eventType":"WorkflowExecutionStarted"}]}}]"#;
    let (found, _) = lines(Format::Temporal, history, &Options::default()).unwrap();
    assert_eq!(found, ["0,0,c,", "0,1,c,", "1000000,0,t,", "1000000,0,d,"]);
    let backwards = history.replace(
        "\"eventId\":\"3\",\"eventTime\":\"2020-01-01T00:00:01Z\"",
        "\"eventId\":\"3\",\"eventTime\":\"2020-01-01T00:00:00.5Z\"",
    );
    let said = refused(Format::Temporal, &backwards, &Options::default());
    assert!(said.starts_with("line 3: the event is earlier"), "{said}");
    let clamping = Options {
        repair: Some(Repair::Clamp),
        ..Options::default()
    };
    let (clamped, manifest) = lines(Format::Temporal, &backwards, &clamping).unwrap();
    assert_eq!(
        (clamped, manifest.repaired["timeRunsBackwards"]),
        (found, 1)
    );
}

/// The JSON of protocol buffers has a second spelling of each name, which its libraries write on demand.
#[test]
fn names_with_underscores() {
    let other = |text: &str, names: &[(&str, &str)]| {
        let names = names.iter();
        names.fold(text.to_owned(), |text, (camel, snake)| {
            text.replace(camel, snake)
        })
    };
    let spans = r#"{"resourceSpans":[{"scopeSpans":[{"spans":[
        {"traceId":"0a","startTimeUnixNano":"1709287200000000000","endTimeUnixNano":"1709287203000000000"},
        {"traceId":"0a","parentSpanId":"07","startTimeUnixNano":"1709287201000000000"}]}]}]}"#;
    let names = [
        ("resourceSpans", "resource_spans"),
        ("scopeSpans", "scope_spans"),
        ("traceId", "trace_id"),
        ("parentSpanId", "parent_span_id"),
        ("startTimeUnixNano", "start_time_unix_nano"),
        ("endTimeUnixNano", "end_time_unix_nano"),
    ];
    let found = |format, text: &str| lines(format, text, &Options::default()).unwrap().0;
    assert_eq!(
        found(Format::Otlp, spans),
        found(Format::Otlp, &other(spans, &names))
    );
    assert_eq!(found(Format::Otlp, spans).len(), 3);
    let history = r#"{"events":[
        {"eventId":"1","eventTime":"2024-03-01T10:00:00Z","eventType":"EVENT_TYPE_WORKFLOW_EXECUTION_STARTED"},
        {"eventId":"2","eventTime":"2024-03-01T10:00:01Z","eventType":"EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED"}]}"#;
    let names = [
        ("eventId", "event_id"),
        ("eventTime", "event_time"),
        ("eventType", "event_type"),
    ];
    let found = |text: &str| {
        lines(Format::Temporal, text, &Options::default())
            .unwrap()
            .0
    };
    assert_eq!(found(history), found(&other(history, &names)));
    assert_eq!(found(history).len(), 2);
}

#[test]
fn each_input_of_several_has_runs_of_its_own() {
    let scratch = tempfile::tempdir().unwrap();
    let imported = run_all(
        Format::Xes,
        [Ok(LOG.as_bytes()), Ok(LOG.as_bytes())],
        &Options::default(),
        &scratch.path().join("out"),
        scratch.path(),
    );
    assert_eq!(imported.unwrap().manifest.runs, 4);
}

#[test]
fn the_table_of_a_trace_itself() {
    let table = "at_micros,run,kind,value\n0,0,o,3\n5,1,c,\n4,1,t,8\n";
    let said = refused(Format::Events, table, &Options::default());
    assert!(said.starts_with("line 4: the event is earlier"), "{said}");
    let clamping = Options {
        repair: Some(Repair::Clamp),
        ..Options::default()
    };
    assert_eq!(
        lines(Format::Events, table, &clamping).unwrap().0,
        ["0,0,o,3", "5,1,c,", "5,1,t,8"]
    );
}

#[test]
fn words_of_a_command_line() {
    assert!(
        Format::ALL
            .into_iter()
            .all(|format| format.name().parse::<Format>().unwrap() == format)
    );
    assert_eq!("last".parse::<Ends>().unwrap(), Ends::Last);
    assert_eq!("drop".parse::<Repair>().unwrap(), Repair::Drop);
    let said = "pcap".parse::<Format>().unwrap_err().to_string();
    assert!(
        said.starts_with("there is no format \"pcap\"; there are csv, jsonl, xes"),
        "{said}"
    );
}
