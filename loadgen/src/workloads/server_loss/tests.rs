use super::reading::Read;
use super::witness::{Kept, MOST_KEPT};
use super::*;
use crate::instrument::record::Sample;
use crate::testing::{NO_SUCH_KEY, answering, local, missing};
use crate::workloads::body::Bodies;
use crate::workloads::small_object_put::Witness as _;
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
    local(async {
        let desk = Desk {
            mends: true,
            ..Desk::default()
        };
        let due = clock::now() + SECOND / 20;
        let witnessed = RefCell::default();
        let loss = lose(&desk, "t/1", "minio", due, &witnessed).await.unwrap();
        assert!(desk.asked.get().unwrap() >= due && desk.withdrawn.get());
        assert_eq!(loss.mended, Some(loss.made + 2_000));
    });
}

fn kept(path: &str, number: u64) -> Kept {
    Kept {
        path: path.to_owned(),
        number,
        ended: 0,
    }
}

#[test]
fn an_object_is_missed_only_where_the_store_says_so() {
    local(async {
        let bodies = Bodies::new(10, 1, "t");
        let bucket = "<Error><Code>NoSuchBucket</Code><Message>gone</Message></Error>";
        for (body, is_missed) in [
            ("404 page not found", false),
            ("", false),
            (bucket, true),
            (NO_SUCH_KEY, true),
        ] {
            let dialer = missing(body).await;
            let kept = kept(&dialer.target().object_path("k"), 1);
            let read = Reading::new(&dialer, &bodies).read_one(&kept).await;
            assert_eq!(matches!(read, Read::Missed(_)), is_missed, "{body}");
            assert_eq!(matches!(read, Read::Unknown), !is_missed, "{body}");
        }
    });
}

#[test]
fn an_object_is_whole_only_where_it_is_what_was_written() {
    local(async {
        for size in [3, 4_096] {
            let bodies = Bodies::new(size, 1, "t");
            let [one, two] = [1, 2].map(|number| bodies.body(number).parts().concat());
            let zeros = vec![0; size];
            let short = one[1..].to_vec();
            for (body, is_whole) in [(one, true), (two, false), (zeros, false), (short, false)] {
                let shown = format!("{:?} of {size}", body.get(..21));
                let dialer = answering(move |_| Some((200, body.clone()))).await;
                let kept = kept(&dialer.target().object_path("k"), 1);
                let read = Reading::new(&dialer, &bodies).read_one(&kept).await;
                assert_eq!(matches!(read, Read::Whole), is_whole, "{shown}");
                assert_eq!(matches!(read, Read::Missed(_)), !is_whole, "{shown}");
            }
        }
    });
}

#[test]
fn of_what_the_second_look_did_not_come_to_nothing_is_known() {
    local(async {
        let bodies = Bodies::new(10, 1, "t");
        let asked = Cell::new(0);
        let dialer = answering(move |_| {
            asked.set(asked.get() + 1);
            (asked.get() <= 3).then(|| (404, NO_SUCH_KEY.into()))
        })
        .await;
        let all = [1, 2, 3].map(|number| kept(&dialer.target().object_path("k"), number));
        let mut reading = Reading::new(&dialer, &bodies);
        (reading.most, reading.rest) = (Duration::from_secs(3), Duration::ZERO);
        let [misses, lost] = reading.read_back(&all).await;
        assert_eq!((misses.checked, misses.violations), (3, 3));
        assert_eq!(lost.checked - lost.uncertain, 0);
        assert_eq!(lost.violations, 0);
    });
}

/// What is read again of so many acknowledgements, one an instant, where the fault was made and heard of at these instants.
fn around(acknowledged: usize, made: usize, heard: usize) -> Vec<u64> {
    let witnessed = Rc::new(RefCell::new(Witnessed::default()));
    for number in 0..acknowledged as u64 {
        if number == heard as u64 {
            witnessed.borrow_mut().hear();
        }
        let Ended::Well(sample) = well(number, number) else {
            return Vec::new();
        };
        witnessed.acknowledged(String::new(), number, sample);
    }
    let around = witnessed.borrow_mut().around(made as u64);
    around.into_iter().map(|kept| kept.number).collect()
}

#[test]
fn what_was_acknowledged_around_the_fault_is_read_again() {
    let (half, made) = (MOST_KEPT / 2, MOST_KEPT * 6 / 5);
    let numbers = around(3 * MOST_KEPT, made, made + half);
    assert_eq!(numbers.len(), MOST_KEPT);
    let bounds = |numbers: &[u64]| {
        (
            *numbers.iter().min().unwrap(),
            *numbers.iter().max().unwrap(),
        )
    };
    let wanted = ((made - half) as u64, (made + half - 1) as u64);
    assert_eq!(bounds(&numbers), wanted);
    // The nearest to it first.
    assert_eq!(
        bounds(&numbers[..101]),
        (made as u64 - 50, made as u64 + 50)
    );
    // Where one side has fewer, the other has more.
    let numbers = around(3 * MOST_KEPT, 10, 20);
    assert_eq!(bounds(&numbers), (0, MOST_KEPT as u64 - 1));
    let numbers = around(3 * MOST_KEPT, 3 * MOST_KEPT - 10, 3 * MOST_KEPT - 5);
    assert_eq!(numbers.len(), MOST_KEPT);
    assert_eq!(around(10, 5, 7).len(), 10);
}
