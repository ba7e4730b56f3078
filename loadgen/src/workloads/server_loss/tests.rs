use super::*;
use crate::instrument::record::Sample;
use std::cell::Cell;

fn well(planned: u64, ended: u64) -> Ended {
    Ended::Well(Sample {
        member: planned,
        planned,
        sent: planned,
        ended,
        bytes: 1,
        queued: false,
    })
}

fn badly(planned: u64, ended: u64) -> Ended {
    Ended::Badly {
        planned,
        ended,
        failure: Failure::new(FailureClass::Connect, "gone".to_owned()),
    }
}

const LOSS: Loss = Loss {
    due: 5 * SECOND,
    made: 6 * SECOND,
    mended: Some(9 * SECOND),
    looked: 9 * SECOND,
};

#[test]
fn an_outage_is_the_longest_time_without_a_success_after_the_fault() {
    let second = |tenths: u64| tenths * SECOND / 10;
    let ended = [
        // A pause before it is none of its doing.
        well(second(10), second(11)),
        well(second(59), second(61)),
        badly(second(62), second(70)),
        well(second(63), second(85)),
        well(second(90), second(91)),
        badly(second(30), second(40)),
    ];
    let figures = figures(&LOSS, &ended, 4, (0, 10 * SECOND));
    assert_eq!(figures[&Figure::OutageMilliseconds], 2_400.0);
    assert_eq!(figures[&Figure::FailedDuring], 1.0);
    assert_eq!(figures[&Figure::RecoveryMilliseconds], 3_000.0);
    assert_eq!(figures[&Figure::Recovered], 1.0);
    assert_eq!(figures[&Figure::FaultDelayMilliseconds], 1_000.0);
    assert_eq!(figures[&Figure::ReadBackObjects], 4.0);
}

#[test]
fn an_outage_may_last_to_the_end_of_the_window_and_servers_may_stay_away() {
    let loss = Loss {
        mended: None,
        looked: 186 * SECOND,
        ..LOSS
    };
    let figures = figures(&loss, &[well(0, SECOND)], 1, (0, 10 * SECOND));
    assert_eq!(figures[&Figure::OutageMilliseconds], 4_000.0);
    assert_eq!(figures[&Figure::Recovered], 0.0);
    assert_eq!(figures[&Figure::RecoveryMilliseconds], 180_000.0);
}

#[test]
fn a_put_belongs_to_the_phase_in_which_it_was_due() {
    let phases = Phases {
        made: 100,
        mended: 200,
    };
    let of = |planned| phases.of(planned);
    assert_eq!(
        [of(99), of(100), of(199), of(200)],
        [
            Operation::PutBefore,
            Operation::PutDuring,
            Operation::PutDuring,
            Operation::PutAfter
        ]
    );
    let ended = [
        well(50, 1_000),
        well(150, 300),
        badly(160, 400),
        well(250, 300),
    ];
    let operations = by_phase(phases, &ended, (0, 500), true).unwrap();
    let counts = |name: &str| operations[name].count;
    assert_eq!(
        (counts("putBefore"), counts("putDuring"), counts("putAfter")),
        (1, 1, 1)
    );
    assert_eq!(operations["putDuring"].failures["connect"].count, 1);
}

#[test]
fn a_fault_is_due_at_its_share_of_the_window() {
    let fault = Fault {
        at: 25,
        kill: bakeoff_crds::spec::FaultTarget::Server,
    };
    assert_eq!(due(&fault, (1_000, 5_000)), 2_000);
}

/// Somebody who makes faults, or does not.
#[derive(Debug, Default)]
struct Desk {
    asked: Cell<Option<u64>>,
    withdrawn: Cell<bool>,
    mends: bool,
}

impl FaultDesk for Desk {
    fn ask(&self, id: &str, backend: &str) {
        assert_eq!((id, backend), ("t/1", "minio"));
        self.asked.set(Some(clock::now()));
    }

    fn seen(&self, _id: &str) -> super::super::FaultSeen {
        let made = self.asked.get().map(|asked| asked + 1_000);
        super::super::FaultSeen {
            made,
            mended: made.filter(|_| self.mends).map(|made| made + 2_000),
        }
    }

    fn withdraw(&self) {
        self.withdrawn.set(true);
    }
}

#[test]
fn a_fault_is_asked_for_when_it_is_due_and_withdrawn_when_it_is_mended() {
    crate::testing::local(async {
        let desk = Desk {
            mends: true,
            ..Desk::default()
        };
        let due = clock::now() + SECOND / 20;
        let loss = lose(&desk, "t/1", "minio", due).await.unwrap();
        assert!(desk.asked.get().unwrap() >= due && desk.withdrawn.get());
        assert_eq!(loss.mended, Some(loss.made + 2_000));
    });
}

#[test]
fn an_object_is_missed_only_where_the_store_says_so() {
    crate::testing::local(async {
        let own = "<Error><Code>NoSuchKey</Code><Message>gone</Message></Error>";
        let bucket = "<Error><Code>NoSuchBucket</Code><Message>gone</Message></Error>";
        for (body, is_missed) in [("404 page not found", false), (bucket, true), (own, true)] {
            let dialer = crate::testing::missing(body).await;
            let kept = Kept {
                path: dialer.target().object_path("k"),
                number: 1,
            };
            let read = read_one(&dialer, &kept, 10).await;
            assert_eq!(matches!(read, Read::Missed(_)), is_missed, "{body}");
            assert_eq!(matches!(read, Read::Unknown), !is_missed, "{body}");
        }
    });
}
