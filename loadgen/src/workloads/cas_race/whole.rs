//! The end of a race: its writers come to rest, the runs are read back and the histories of all generators are
//! checked as one.
//!
//! What a generator did is dated by its monotonic clock. On one machine that is the same clock for all; across
//! machines each event is moved to the clock of generator 0, and its span made longer at both ends by as much as
//! the offset between the clocks may be wrong. A longer span only ever allows more orders, so no violation is
//! reported that the clocks alone explain. Whether two attempts met is asked the other way about: it counts
//! only where no error of the clocks could have kept them apart.

use std::collections::BTreeMap;
use std::time::Duration;

use bakeoff_crds::figure::Counter;
use bakeoff_crds::spec::CasRace;

use super::journal::{compressed, generator_of};
use super::{Tally, patiently, writer};
use crate::checker::cas_history::{self, Clocks, Event, Span};
use crate::drivers::postgres::{Connector, Patient, end_sessions};
use crate::failure::Failure;
use crate::instrument::clock::{self, SECOND};
use crate::store::layout;
use crate::workloads::{Conclusion, Context, RawFile, Share, WorkloadError};

/// How long a server that is away is waited for.
const PATIENCE: u64 = 60 * SECOND;
/// How long the last connections may take to go.
const TO_REST: Duration = Duration::from_secs(10);
const TICK: Duration = Duration::from_millis(50);
/// The number of whoever reads the runs back; writers count from 1.
const READER: u32 = 0;

/// Waits until nothing of this generator's writers is under way on the server. One that stays away is left: what
/// was under way there is of unknown outcome anyhow.
pub(super) async fn come_to_rest(connector: &Connector, tally: &Tally) {
    let processes: Vec<i32> = tally.processes.borrow().iter().copied().collect();
    let patience = clock::now() + PATIENCE;
    let at_rest = async || {
        let client = connector.connect().await?;
        end_sessions(Patient::of(&client), Some(&processes), TO_REST).await
    };
    while let Err(failure) = at_rest().await {
        if clock::now() >= patience {
            tracing::warn!(%failure, "the writers could not be brought to rest");
            return;
        }
        tokio::time::sleep(TICK).await;
    }
}

async fn try_read_back(
    connector: &Connector,
    rows: &str,
    runs: impl Iterator<Item = u64>,
) -> Result<Vec<Event>, Failure> {
    let client = connector.connect().await?;
    let patience = connector.timeout();
    let read = patiently(patience, client.prepare(&writer::read_sql(rows))).await?;
    let mut events = Vec::new();
    for run in runs {
        let number = i64::try_from(run).unwrap_or(i64::MAX);
        let invoke = clock::now();
        let answer = patiently(patience, client.query_opt(&read, &[&number])).await?;
        let span = Span {
            invoke,
            complete: clock::now(),
        };
        events.push(Event::Read {
            writer: READER,
            run,
            row: writer::row(answer)?,
            span,
            read_back: true,
        });
    }
    Ok(events)
}

/// Reads every run. A server that is away is waited for; one that stays away leaves the runs unread, and what was
/// acknowledged unchecked.
async fn read_back(connector: &Connector, rows: &str, spec: &CasRace) -> Vec<Event> {
    let patience = clock::now() + PATIENCE;
    loop {
        match try_read_back(connector, rows, super::runs(spec)).await {
            Ok(events) => return events,
            Err(failure) if clock::now() >= patience => {
                tracing::warn!(%failure, "the runs could not be read back");
                return Vec::new();
            }
            Err(_) => tokio::time::sleep(TICK).await,
        }
    }
}

/// All events by the clock of generator 0, and how far each generator's may be wrong there, nanoseconds. (Pure.)
fn merged(shares: Vec<Share>) -> (Vec<Event>, Vec<u64>) {
    let mut whole = Vec::with_capacity(shares.iter().map(|share| share.events.len()).sum());
    let mut errors = Vec::new();
    for Share { events, clock } in shares {
        let error = clock.error.unsigned_abs();
        errors.push(error);
        whole.extend(events.into_iter().map(|mut event| {
            let span = event.span_mut();
            span.invoke = clock.shift(span.invoke).saturating_sub(error);
            span.complete = clock.shift(span.complete).saturating_add(error);
            event
        }));
    }
    (whole, errors)
}

/// Reads the runs back and checks what all generators did to them.
///
/// # Errors
/// When the backend is no Postgres server or the history cannot be compressed.
pub async fn conclude(
    context: &Context<'_>,
    spec: &CasRace,
    shares: Vec<Share>,
) -> Result<Conclusion, WorkloadError> {
    let generators = shares.len();
    let (mut events, errors) = merged(shares);
    let connector = context.access.postgres()?;
    events.extend(read_back(connector, &super::rows(context), spec).await);
    let report = cas_history::check_by(
        &events,
        &Clocks {
            of: &|writer| generator_of(writer, generators),
            errors: &errors,
        },
    );
    let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    Ok(Conclusion {
        checks: report.checks,
        counters: BTreeMap::from([
            (Counter::ContendedSteps, count(report.contended_steps)),
            (Counter::Steps, count(report.steps)),
            (Counter::LostRaces, count(report.lost_races)),
            (Counter::UnknownOutcomes, count(report.unknown_outcomes)),
        ]),
        artefacts: vec![RawFile {
            name: layout::HISTORY,
            of_each: false,
            bytes: compressed(&events)?,
        }],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checker::cas_history::{Outcome, Row};
    use crate::instrument::clock_offset::ClockOffset;

    fn insert(writer: u32, invoke: u64, complete: u64) -> Event {
        Event::Insert {
            writer,
            run: 1,
            incarnation: 10,
            value: 10,
            span: Span { invoke, complete },
            outcome: Outcome::Ok,
        }
    }

    fn step(writer: u32, expected: u64, value: u64, span: (u64, u64)) -> Event {
        Event::Cas {
            writer,
            run: 1,
            incarnation: 10,
            expected,
            new: expected + 1,
            value,
            span: Span {
                invoke: span.0,
                complete: span.1,
            },
            outcome: Outcome::Ok,
        }
    }

    fn violated(shares: Vec<Share>) -> (i64, u64) {
        let generators = shares.len();
        let (events, errors) = merged(shares);
        let of = move |writer| generator_of(writer, generators);
        let clocks = Clocks {
            of: &of,
            errors: &errors,
        };
        let report = cas_history::check_by(&events, &clocks);
        let violations = report.checks.iter().map(|check| check.violations).sum();
        (violations, report.contended_steps)
    }

    fn shares(ahead: i64, error: i64, second: Vec<Event>) -> Vec<Share> {
        let first = vec![
            insert(1, 1_000, 1_100),
            step(1, 0, 11, (2_000, 2_100)),
            Event::Read {
                writer: READER,
                run: 1,
                row: Some(Row {
                    incarnation: 10,
                    seq: 2,
                    value: 12,
                }),
                span: Span {
                    invoke: 9_000,
                    complete: 9_100,
                },
                read_back: true,
            },
        ];
        vec![
            Share {
                events: first,
                clock: ClockOffset::default(),
            },
            Share {
                events: second,
                clock: ClockOffset { ahead, error },
            },
        ]
    }

    #[test]
    fn the_clock_of_another_machine_is_allowed_for_and_no_more() {
        // By its own clock the second step was over before the first began; it is 5000 behind.
        let second = || vec![step(2, 1, 12, (500, 600))];
        assert_ne!(violated(shares(0, 0, second())).0, 0, "taken at its word");
        assert_eq!(violated(shares(5_000, 10, second())).0, 0);
        // As far as the offset may be wrong, nothing is held against it; beyond that it is.
        assert_eq!(violated(shares(0, 1_500, second())).0, 0);
        assert_ne!(violated(shares(0, 1_300, second())).0, 0);
    }

    #[test]
    fn two_winners_of_a_step_are_found_whatever_the_clocks_say() {
        for error in [0, 1_000_000] {
            let second = vec![
                step(2, 0, 13, (2_050, 2_150)),
                step(2, 1, 12, (3_000, 3_100)),
            ];
            assert_ne!(violated(shares(0, error, second)).0, 0, "{error}");
        }
    }

    #[test]
    fn attempts_have_met_only_where_no_error_of_the_clocks_kept_them_apart() {
        let lost = |span: (u64, u64)| {
            let Event::Cas { .. } = step(2, 0, 13, span) else {
                unreachable!()
            };
            let mut event = step(2, 0, 13, span);
            if let Event::Cas { outcome, .. } = &mut event {
                *outcome = Outcome::Lost;
            }
            event
        };
        let met = |error, span| {
            let second = vec![lost(span), step(2, 1, 12, (3_000, 3_100))];
            let (violations, contended) = violated(shares(0, error, second));
            assert_eq!(violations, 0);
            contended
        };
        // The winner of step 0 was under way from 2000 to 2100.
        assert_eq!(met(0, (2_050, 2_150)), 1);
        assert_eq!(met(40, (2_050, 2_150)), 1);
        assert_eq!(met(60, (2_050, 2_150)), 0);
        assert_eq!(met(0, (2_101, 2_150)), 0);
        assert_eq!(met(60, (2_101, 2_150)), 0);
    }
}
