"""Logs that other programs write, by their own libraries, and what `loadgen trace import` makes of them.

    logs_of_others.py LOADGEN FOLDER

A few hundred lives are told to the OpenTelemetry SDK, the CloudEvents library and pm4py; each writes its file as it does; each file
is imported. What a trace counts has to be what was told. Prints a line for each test, and their sum as cargo does.
"""

import datetime
import json
import random
import subprocess
import sys
from pathlib import Path

LOADGEN, FOLDER = sys.argv[1], Path(sys.argv[2])
EPOCH = datetime.datetime(2026, 3, 1, 10, tzinfo=datetime.timezone.utc)
RUNS = 300


def lives():
    """Of each run its events (when, what); one of ten never ends, and one of fifty begins with a burst at one instant."""
    rng = random.Random(20261129)
    for run in range(RUNS):
        at = rng.uniform(0, 3600)
        steps = rng.choice([0, 1, 2, 3, 5, 8, 40])
        events = [(at, "created")]
        for step in range(steps):
            at += 0 if run % 50 == 0 and step < 3 else rng.expovariate(1 / 20)
            events.append((at, "moved"))
        if run % 10:
            events.append((at + rng.uniform(0.001, 5), "completed"))
        yield run, [(round(when, 6), what) for when, what in events]


LIVES = list(lives())
CREATED = RUNS
DONE = sum(events[-1][1] == "completed" for _, events in LIVES)
MOVED = sum(what == "moved" for _, events in LIVES for _, what in events)
FIRST = min(events[0][0] for _, events in LIVES)
LAST = max(events[-1][0] for _, events in LIVES)


def instant(seconds):
    return EPOCH + datetime.timedelta(microseconds=round(seconds * 1e6))


def nanos(seconds):
    return round((EPOCH.timestamp() * 1e6 + seconds * 1e6)) * 1000


def loadgen(*arguments):
    ended = subprocess.run([LOADGEN, "trace", *map(str, arguments)], capture_output=True, text=True)
    assert ended.returncode == 0, f"{arguments}: {ended.stdout}{ended.stderr}"
    return ended.stdout


def imported(kind, file, *arguments):
    """Imports a file; what the trace counts: created, moved, completed, open at the end, microseconds from its first event to its last."""
    out = FOLDER / f"{file.stem}-trace"
    loadgen("import", kind, file, "--out", out, *arguments)
    loadgen("verify", out)
    told = json.loads((out / "trace.json").read_text())
    assert not told["dropped"] and not told["repaired"], told
    counts = told["counts"]
    return counts["created"], counts["transition"], counts["done"], told["open"]["atEnd"], told["spanMicros"] - 1


def expect(found, created, moved, done, span):
    wanted = (created, moved, done, created - done)
    assert found[:4] == wanted, f"{found} and not {wanted}"
    # Libraries keep microseconds, or milliseconds at the least.
    assert abs(found[4] - span * 1e6) < 2_000, f"{found[4]} microseconds and not {span * 1e6}"


def otlp(snake_case):
    """Each run a trace of spans: its life is the one without a parent, a move a span in it. Of a run that never ends the moves alone
    have been exported, as it happens: a span is exported when it ends."""
    from google.protobuf.json_format import MessageToJson
    from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
    from opentelemetry.trace import set_span_in_context

    exporter = InMemorySpanExporter()
    provider = TracerProvider(resource=Resource.create({"service.name": "shop"}))
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("lives")
    for run, events in LIVES:
        life = tracer.start_span("run", start_time=nanos(events[0][0]), attributes={"order": f"o-{run}"})
        within = set_span_in_context(life)
        for when, what in events[1:]:
            if what == "moved":
                step = tracer.start_span("step", context=within, start_time=nanos(when))
                step.end(end_time=nanos(when) + 1000)
        if events[-1][1] == "completed":
            life.end(end_time=nanos(events[-1][0]))
    file = FOLDER / ("otlp_snake.json" if snake_case else "otlp.json")
    message = encode_spans(exporter.get_finished_spans())
    file.write_text(MessageToJson(message, preserving_proto_field_name=snake_case, indent=None))
    seen = [events if events[-1][1] == "completed" else events[1:] for _, events in LIVES]
    seen = [events for events in seen if events]
    moved = sum(what == "moved" for events in seen for _, what in events)
    # What a run is first seen with created it.
    begun_late = sum(events[0][1] == "moved" for events in seen)
    span = max(events[-1][0] for events in seen) - min(events[0][0] for events in seen)
    expect(imported("otlp", file), len(seen), moved - begun_late, DONE, span)


def otlp_of_the_sdk():
    otlp(False)


def otlp_with_underscores():
    otlp(True)


def cloudevents_of_the_library():
    from cloudevents.core.formats.json import JSONFormat
    from cloudevents.core.v1.event import CloudEvent

    events = [(when, run, what) for run, events in LIVES for when, what in events]
    file = FOLDER / "cloudevents.json"
    with file.open("wb") as out:
        for number, (when, run, what) in enumerate(sorted(events, key=lambda event: event[0])):
            attributes = {
                "id": str(number), "source": "/shop", "type": f"com.example.order.{what}",
                "subject": f"order/{run}", "time": instant(when), "datacontenttype": "application/json",
            }
            out.write(JSONFormat().write(CloudEvent(attributes, {"order": run})) + b"\n")
    expect(imported("cloudevents", file), CREATED, MOVED, DONE, LAST - FIRST)


def xes_of_pm4py():
    import pandas
    import pm4py

    rows = [
        {
            "case:concept:name": f"case {run}", "concept:name": what, "time:timestamp": instant(when),
            "lifecycle:transition": "complete" if what == "completed" else "start",
        }
        for run, events in LIVES
        for when, what in events
    ]
    file = FOLDER / "log.xes"
    pm4py.write_xes(pandas.DataFrame(rows), str(file))
    expect(imported("xes", file), CREATED, MOVED, DONE, LAST - FIRST)
    # By words of the activities, as for a log without life cycles; and packed, as such logs are handed on.
    packed = FOLDER / "packed.xes.gz"
    subprocess.run(["gzip", "-kc", str(file)], stdout=packed.open("wb"), check=True)
    expect(imported("xes", packed, "--done", "completed"), CREATED, MOVED, DONE, LAST - FIRST)


def main():
    passed = failed = 0
    for test in (otlp_of_the_sdk, otlp_with_underscores, cloudevents_of_the_library, xes_of_pm4py):
        try:
            test()
            passed += 1
            print(f"test {test.__name__} ... ok", flush=True)
        except Exception as error:  # Each is told, and the others run.
            failed += 1
            print(f"test {test.__name__} ... FAILED\n{type(error).__name__}: {error}", flush=True)
    print(f"test result: {'FAILED' if failed else 'ok'}. {passed} passed; {failed} failed")
    sys.exit(failed > 0)


main()
